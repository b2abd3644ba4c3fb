"""Work on several threads at once, with its results in order."""

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
        Threads.
    ahead
        How many calls may be under way or done beyond the one whose result comes next.
    stop
        Called at the end, also after an error, before the threads are waited for: it must release what they wait for.
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
