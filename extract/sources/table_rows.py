"""Images in rows of Parquet tables, read in order: a row group is decoded once, and never held whole."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count, groupby
from typing import Any

from headstart.extract.errors import DecodeError, NoImageError
from headstart.extract.sources.items import Item
from headstart.extract.sources.readers import Begun, Budget, File, Reader, check_size
from headstart.extract.sources.tables import image_column, open_table
from headstart.extract.sources.tars import Fetch
from headstart.files.errors import one_line

BYTES_AHEAD, BATCH_BYTES = 256 << 20, 16 << 20
"""Read ahead of what is being embedded, and decoded at once."""


class _Cursor:
    """Goes through the images of a table's row groups, forward, and from a group's beginning to go back.

    A row that cannot be read leaves those after it in its group unread as well, for the same reason.
    """

    def __init__(self, fetch: Fetch, size: int) -> None:
        self._table = open_table(fetch, size)
        self._column = image_column(self._table.schema_arrow, "the table")
        self._starts = [0]
        for group in range(self._table.num_row_groups):
            self._starts.append(self._starts[-1] + self._table.metadata.row_group(group).num_rows)
        self._group, self._first = -1, 0
        self._images: Any = ()
        self._images_at_once: Iterator[Any] = iter(())
        self._error: DecodeError | None = None

    def close(self) -> None:
        self._table.close()

    def image(self, row: int) -> bytes:
        if not self._starts[self._group] <= row < self._starts[self._group + 1] or row < self._first:
            self._open_group_of(row)
        if self._error:
            raise type(self._error)(str(self._error))
        try:
            while row >= self._first + len(self._images):
                self._first += len(self._images)
                self._images = next(self._images_at_once)
        except DecodeError as error:
            self._error = error
            raise
        except Exception as error:  # pyarrow raises its own
            said = "it ends before this row" if isinstance(error, StopIteration) else one_line(error)
            self._error = DecodeError(f"damaged table: {said}")
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
        self._images_at_once = self._images_of(group)

    def _images_of(self, group: int) -> Iterator[Any]:
        rows = self._table.metadata.row_group(group)
        sizes = [rows.column(number).total_uncompressed_size for number in range(rows.num_columns)]
        at_once = max(1, min(rows.num_rows, BATCH_BYTES * rows.num_rows // max(1, sum(sizes))))
        batches = self._table.iter_batches(at_once, row_groups=[group], columns=[self._column], use_threads=False)
        for batch in batches:
            column = batch.column(0)
            yield column if self._column in batch.schema.names else column.flatten()[0]


class RowReader:
    """Reads images in rows of tables, in one thread that goes through them in order; all else it leaves to another.

    Parameters
    ----------
    files
        What reads files, and parts of them.
    """

    def __init__(self, files: Reader) -> None:
        self._files, self._budget, self._numbers = files, Budget(BYTES_AHEAD), count()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="rows")
        self._held: dict[bytes, int] = {}
        self._open: tuple[bytes, _Cursor] | None = None

    def begin(self, items: Iterable[Item]) -> Iterator[Begun | None]:
        """Begin to read items, as far as they are asked for."""
        for are_rows, some in groupby(items, _is_row):
            begin = self._begin_rows if are_rows else self._files.begin
            yield from begin(some)

    def read(self, item: Item) -> File:
        """Read an item now."""
        if not _is_row(item):
            return self._files.read(item)
        return self._pool.submit(self._row, item).result()

    def part(self, path: bytes, start: int, end: int) -> bytes:
        """Read some bytes of a file."""
        return self._files.part(path, start, end)

    def taken(self, item: Item) -> None:
        """Note that what was begun for an item is used."""
        if _is_row(item):
            self._budget.give(self._held.pop(item.path, 0))
        else:
            self._files.taken(item)

    def close(self) -> None:
        """End the thread, and close what is open."""
        self._budget.end()
        self._pool.shutdown(cancel_futures=True)
        if self._open:
            self._open[1].close()
        self._files.close()

    def _begin_rows(self, items: Iterable[Item]) -> Iterator[Begun]:
        return (self._pool.submit(self._read_ahead, next(self._numbers), item).result for item in items)

    def _read_ahead(self, number: int, item: Item) -> File:
        file: File | None = None
        try:
            file = self._row(item)
            return file
        finally:
            self._held[item.path] = len(file[0]) if file else 0
            self._budget.take(number, self._held[item.path])

    def _row(self, item: Item) -> File:
        if self._open is None or self._open[0] != item.container:
            if self._open:
                self._open[1].close()
            self._open = None
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
