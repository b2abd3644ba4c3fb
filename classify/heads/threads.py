"""The number of threads for linear algebra, and jobs that run side by side with one thread each."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from threading import current_thread
from typing import Any

from headstart.files.cores import cores

SMALL_ROWS = 10_000
_POOL = "headstart-parallel"


@contextmanager
def blas_threads(rows: int) -> Iterator[None]:
    """Limit linear algebra within the block to one thread if there are at most `SMALL_ROWS` rows.

    The products are then so short that a second thread spins for longer than it helps: 2,500 rows took longer with two
    threads than with one, and twice the processor time.
    """
    if rows > SMALL_ROWS:
        yield
        return
    import scipy.linalg  # noqa: F401  it has a BLAS of its own, which can only be limited once it is loaded
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield


def in_parallel(jobs: Sequence[Callable[[], Any]]) -> Iterator[Any]:
    """Return the results of jobs in their order, one thread per core; NumPy does its work without the interpreter.

    Jobs of a job are done one after the other: its thread would wait for one that may be waiting too.
    """
    if min(_cores(), len(jobs)) < 2 or current_thread().name.startswith(_POOL):
        yield from (job() for job in jobs)
        return
    yield from _pool().map(lambda job: job(), jobs)


@cache  # to start threads takes longer than a part of 2,500 rows
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_cores(), _POOL)


@cache
def _cores() -> int:
    return cores()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork
