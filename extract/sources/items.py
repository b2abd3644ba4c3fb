"""A folder of images, as a sorted list of items: path, size, time, label, split.

The folders at the top are the classes; deeper folders belong to their class (see `names`). Names that begin with a dot,
and files that desktops leave behind, are ignored; files that are plainly no images are counted.
"""

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

SPLITS = ("", "train", "val", "test")
UNLISTED = "folder cannot be listed"
"""Begins the reason of what could not be listed; stores contain it."""
NOT_FOLLOWED = "not followed without --follow-links"


@dataclass(frozen=True, slots=True)
class Item:
    """One input: an image to read, or a path that cannot be read.

    Attributes
    ----------
    path
        Bytes relative to the source's root, with ``/`` between the parts; any bytes that a file name can hold.
    size, mtime_ns
        Bytes, and nanoseconds since the epoch, as listed; -1 and 0 if there is no such file.
    label
        The class name, or None.
    split
        ``""``, ``"train"``, ``"val"`` or ``"test"``.
    reason
        Why it cannot be read (empty for a readable file).
    container, start
        For an image in an archive or table (see `packed`): the path of that file, and the byte or row at which the
        image begins. The time is that file's, and for a row the size too.
    """

    path: bytes
    size: int
    mtime_ns: int
    label: str | None = None
    split: str = ""
    reason: str = ""
    container: bytes = b""
    start: int = 0


@dataclass(frozen=True)
class Source:
    """The items of a folder or manifest.

    Attributes
    ----------
    root
        The folder, or as text the URL, that the items' paths are relative to.
    items
        Sorted by the bytes of their paths, which are unique.
    notes
        What a user should know about how they were found, in words.
    """

    root: Path | str
    items: list[Item] = field(repr=False)
    notes: list[str] = field(default_factory=list)

    @property
    def location(self) -> str:
        """The absolute root."""
        return self.root if isinstance(self.root, str) else os.path.abspath(self.root)

    @property
    def classes(self) -> list[str]:
        """Class names, sorted."""
        return sorted({item.label for item in self.items if item.label is not None})


def regular_item(root: Path, path: bytes, label: str | None = None, split: str = "", *, follows: bool = False) -> Item:
    """Look at a path below `root` without opening it; a link to a file is followed if it stays there, or `follows`."""

    def failed(reason: str) -> Item:
        return Item(path, -1, 0, label, split, reason)

    full = os.path.join(os.fsencode(root), path)
    try:
        status = os.lstat(full)
        if stat.S_ISLNK(status.st_mode):
            if not follows and not leads_below(root, path):
                return failed(f"link that leads out of the folder; {NOT_FOLLOWED}")
            status = os.stat(full)
            if stat.S_ISDIR(status.st_mode):
                return failed("link to a folder that it lies in" if follows else f"link to a folder; {NOT_FOLLOWED}")
    except FileNotFoundError:
        return failed("no such file")
    except (OSError, ValueError) as error:
        return failed(f"cannot be looked at: {plain(error)}")
    if not stat.S_ISREG(status.st_mode):
        return failed(f"not a regular file but a {_KINDS.get(stat.S_IFMT(status.st_mode), 'folder')}")
    return Item(path, status.st_size, time_ns(status), label, split)


def time_ns(status: os.stat_result) -> int:
    """Return the time of a file's last change (ns since the epoch); before 1677 or after 2262 the nearest in int64."""
    return max(-(1 << 63), min(status.st_mtime_ns, (1 << 63) - 1))


def leads_below(root: Path, path: bytes) -> bool:
    """Tell whether a path still lies below `root` once every link in it is followed."""
    top = os.path.realpath(os.fsencode(root))
    return os.path.realpath(os.path.join(top, path)).startswith(top.rstrip(b"/") + b"/")


def plain(error: Exception) -> str:
    """Return a system error as lower-case words."""
    return (getattr(error, "strerror", None) or str(error)).lower()


def shown(path: bytes) -> str:
    """Return a path as text for a message."""
    return path.decode("utf-8", "backslashreplace")


_KINDS = {stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}
