"""Run a function on several threads, with results in order."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Argument = TypeVar("Argument")
Result = TypeVar("Result")


def in_order(
    function: Callable[[Argument], Result],
    arguments: Iterable[Argument],
    workers: int,
    ahead: int,
    stop: Callable[[], object] = lambda: None,
) -> Generator[Result]:
    """Call a function on every argument, on several threads, and yield the results in the order of the arguments.

    Parameters
    ----------
    workers
        Number of threads.
    ahead
        Maximum number of calls that are running or finished beyond the next result.
    stop
        Called at the end, also after an error, before the threads are joined; it must release what they wait for.
    """
    running: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="headstart") as pool:
        try:
            for argument in arguments:
                running.append(pool.submit(function, argument))
                if len(running) > ahead:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()
            stop()
