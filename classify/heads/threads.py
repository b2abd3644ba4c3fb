"""The number of threads for the matrix products of small jobs."""

from collections.abc import Iterator
from contextlib import contextmanager

SMALL_ROWS = 10_000


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
