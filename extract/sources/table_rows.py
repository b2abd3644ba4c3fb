"""Images in rows of Parquet tables, read in order: a row group is decoded once, and never held whole."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import groupby
from typing import Any

from headstart.extract.errors import DecodeError, NoImageError
from headstart.extract.sources.items import Item
from headstart.extract.sources.lists.images import image_column, images_of
from headstart.extract.sources.lists.pages import CheckedFile
from headstart.extract.sources.readers import Budget, Fetch, File, Pending, ReadAhead, Reader, check_size
from headstart.extract.sources.tables import open_table
from headstart.files.errors import one_line

BYTES_AHEAD = 256 << 20
"""The budget for reading ahead."""


class _Cursor:
    """Reads the images of a table's row groups in order; going back starts the row group again.

    If a row cannot be read, the later rows of its group fail for the same reason.
    """

    def __init__(self, fetch: Fetch, size: int) -> None:
        self._file = CheckedFile(fetch, size)
        self._table = open_table(self._file)
        self._column = image_column(self._table, self._file, "the table")
        self._starts = [0]
        for group in self._file.groups:
            self._starts.append(self._starts[-1] + group.rows)
        self._group, self._first = -1, 0
        self._images: Any = ()
        self._batches: Iterator[Any] = iter(())
        self._error: DecodeError | None = None

    def image(self, row: int) -> bytes:
        if not self._starts[self._group] <= row < self._starts[self._group + 1] or row < self._first:
            self._open_group_of(row)
        if self._error:
            raise type(self._error)(str(self._error))
        try:
            while row >= self._first + len(self._images):
                self._first += len(self._images)
                self._images = next(self._batches)
        except DecodeError as error:
            self._error = error
            raise
        except Exception as error:  # pyarrow raises its own
            fault = "it ends before this row" if isinstance(error, StopIteration) else one_line(error)
            self._error = DecodeError(f"damaged table: {fault}")
            raise self._error from None
        image = self._images[row - self._first]
        if not image.is_valid:
            raise NoImageError("no image in this row")
        data: bytes = image.as_py()
        check_size(len(data))
        return data

    def _open_group_of(self, row: int) -> None:
        self._group = group = bisect_right(self._starts, row) - 1
        self._first, self._images, self._error = self._starts[group], (), None
        self._batches = self._images_of(group)

    def _images_of(self, group: int) -> Iterator[Any]:
        return images_of(self._table, self._file, self._column, group)


class RowReader:
    """Reads images in rows of tables, in one thread that goes through them in order; `files` reads everything else."""

    def __init__(self, files: Reader) -> None:
        self._files, self._budget = files, Budget(BYTES_AHEAD)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="rows")
        self._open: tuple[bytes, _Cursor] | None = None

    def fetch(self, items: Iterable[Item]) -> Iterator[Pending]:
        """Start to read each item as it is asked for."""
        for are_rows, group in groupby(items, lambda item: _is_row(item) and not item.reason):
            fetch = partial(map, self._fetch_row) if are_rows else self._files.fetch
            yield from fetch(group)

    def _fetch_row(self, item: Item) -> Pending:
        return ReadAhead(self._pool.submit(self._read_ahead, self._budget.turn(), item), 0, self._budget)

    def _read_ahead(self, turn: int, item: Item) -> list[tuple[File | DecodeError, int]]:
        file: File | DecodeError
        try:
            file = self._row(item)
        except DecodeError as error:
            file = error
        size = 0 if isinstance(file, DecodeError) else len(file[0])  # only known once the row is read
        self._budget.take(turn, size)
        return [(file, size)]

    def read(self, item: Item) -> File:
        """Read an item now."""
        return self._pool.submit(self._row, item).result() if _is_row(item) else self._files.read(item)

    def part(self, path: bytes, start: int, end: int) -> bytes:
        """Read a range of bytes of a file."""
        return self._files.part(path, start, end)

    def close(self) -> None:
        """Stop reading."""
        self._budget.end()
        self._files.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _row(self, item: Item) -> File:
        if self._open is None or self._open[0] != item.container:
            self._open = None  # lets go of the table before the next one is opened
            self._open = item.container, self._cursor(item)
        return self._open[1].image(item.start), item.size, item.mtime_ns

    def _cursor(self, item: Item) -> _Cursor:
        try:
            return _Cursor(partial(self._files.part, item.container), item.size)
        except DecodeError:
            raise
        except Exception as error:  # pyarrow raises its own
            raise DecodeError(f"damaged table: {one_line(error)}") from None


def _is_row(item: Item) -> bool:
    return item.container.lower().endswith(b".parquet")
