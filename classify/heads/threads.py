"""How many threads the matrix products of small work get."""

from collections.abc import Iterator
from contextlib import contextmanager

SMALL_ROWS = 10_000


@contextmanager
def blas_threads(rows: int) -> Iterator[None]:
    """Keep the block's linear algebra to one thread where it has at most `SMALL_ROWS` rows.

    Its products are then so short that a second thread waits, spinning, longer than it helps: 2,500 rows took longer
    with two threads than with one, and twice the processor time.
    """
    if rows > SMALL_ROWS:
        yield
        return
    import scipy.linalg  # noqa: F401  its BLAS is another one than NumPy's, and must be there to be limited
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield
