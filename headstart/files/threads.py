"""Run a function on several threads, with results in order; and let few of many threads work at a time."""

import threading
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


class Places:
    """Lets so many threads into a ``with`` block at a time, in the order in which they came.

    A thread that leaves a `threading.Semaphore` and comes back at once overtakes those that wait: under load, a few
    requests would wait for seconds.
    """

    def __init__(self, count: int) -> None:
        self._free, self._lock = count, threading.Lock()
        self._waiting: deque[threading.Lock] = deque()

    def __enter__(self) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        try:
            turn.acquire()  # until another thread hands its place over
        except BaseException:  # Ctrl-C
            with self._lock:
                has_place = turn not in self._waiting
                if not has_place:
                    self._waiting.remove(turn)
            if has_place:
                self.__exit__()
            raise

    def __exit__(self, *_exception: object) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1
