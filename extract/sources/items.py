"""A folder of images, as a sorted list of items: path, size, time, label, split.

A folder is read like this: the folders at its top are the classes, whatever lies deeper belongs to them. Where all of
them are called `train`, `val` or `test` (or a usual synonym) and hold folders, they are splits and the classes lie
below. Files at the top have no label. Names that begin with a dot, and what desktops leave behind, are passed over.
"""

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

SPLITS = ("", "train", "val", "test")
UNLISTED = "folder cannot be listed"


@dataclass(frozen=True, slots=True)
class Item:
    """One input: an image that is to be read, or a path that is known not to be readable.

    Attributes
    ----------
    path
        Bytes relative to the source's root, with ``/`` between the parts; any bytes that a file name can hold.
    size, mtime_ns
        Bytes, and nanoseconds since the epoch, when the source was listed; -1 and 0 where there is no such file.
    label
        The class name, or None.
    split
        ``""``, ``"train"``, ``"val"`` or ``"test"``.
    reason
        Why there is nothing to read (empty for a readable file).
    container, start
        For an image in a container (see `packed`): the container's path, and the byte or row at which the
        image begins. Its time is then that file's, and of a row the size too.
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
    """The items of a folder or manifest, sorted by path.

    Attributes
    ----------
    root
        The folder, or as text the URL, that the items' paths are relative to.
    items
        Sorted by the bytes of their paths; no path stands twice.
    """

    root: Path | str
    items: list[Item] = field(repr=False)

    @property
    def location(self) -> str:
        """The root in full, whatever folder a reader of it works in."""
        return self.root if isinstance(self.root, str) else os.path.abspath(self.root)

    @property
    def classes(self) -> list[str]:
        """Class names, sorted."""
        return sorted({item.label for item in self.items if item.label is not None})


def regular_item(root: Path, path: bytes, label: str | None = None, split: str = "") -> Item:
    """Look at one path below `root` without opening it; a link is followed only while it stays below `root`."""
    full = os.path.join(os.fsencode(root), path)
    try:
        found = os.lstat(full)
        if stat.S_ISLNK(found.st_mode):
            if not leads_below(root, path):
                return Item(path, -1, 0, label, split, "link that leads out of the folder; not followed")
            found = os.stat(full)
            if stat.S_ISDIR(found.st_mode):
                return Item(path, -1, 0, label, split, "link to a folder; not followed")
    except FileNotFoundError:
        return Item(path, -1, 0, label, split, "no such file")
    except (OSError, ValueError) as error:
        return Item(path, -1, 0, label, split, f"cannot be looked at: {plain(error)}")
    if not stat.S_ISREG(found.st_mode):
        return Item(path, -1, 0, label, split, f"not a regular file but a {_kind(found.st_mode)}")
    return Item(path, found.st_size, found.st_mtime_ns, label, split)


def leads_below(root: Path, path: bytes) -> bool:
    """Tell whether a path below `root` still leads there once every link in it is followed."""
    top = os.path.realpath(os.fsencode(root))
    return os.path.realpath(os.path.join(top, path)).startswith(top.rstrip(b"/") + b"/")


def _kind(mode: int) -> str:
    kinds = {stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}
    return kinds.get(stat.S_IFMT(mode), "folder")


def plain(error: Exception) -> str:
    """Give a system error as lower-case words."""
    return (getattr(error, "strerror", None) or str(error)).lower()
