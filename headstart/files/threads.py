"""Run a function on several threads, with results in order."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

Argument = TypeVar("Argument")
Result = TypeVar("Result")


def in_order(
    function: Callable[[Argument], Result], arguments: Iterable[Argument], workers: int, ahead: int
) -> Generator[Result]:
    """Call a function on every argument, on several threads, and yield the results in the order of the arguments.

    Parameters
    ----------
    workers
        Number of threads.
    ahead
        Maximum number of calls that are running or finished beyond the next result.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="headstart") as pool:
        yield from in_order_on(pool, function, arguments, ahead)


def in_order_on(
    pool: ThreadPoolExecutor,
    function: Callable[[Argument], Result],
    arguments: Iterable[Argument],
    ahead: int,
    stop: Callable[[], object] = lambda: None,
) -> Generator[Result]:
    """Do the same on threads that others may use as well, and that go on afterwards.

    Parameters
    ----------
    stop
        Called at the end, also after an error, before the calls that still run are waited for; it must release what
        they wait for.
    """
    running: deque[Future[Result]] = deque()
    try:
        for argument in arguments:
            running.append(pool.submit(function, argument))
            if len(running) > ahead:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        left = [future for future in running if not future.cancel()]
        stop()
        wait(left)
