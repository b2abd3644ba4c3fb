"""A folder of images, as a sorted list of items: path, size, time, label, split.

A folder is read like this: the folders at its top are the classes, whatever lies deeper belongs to them. Where all of
them are called `train`, `val` or `test` (or a usual synonym) and hold folders, they are splits and the classes lie
below. Files at the top have no label. Names that begin with a dot, and what desktops leave behind, are passed over.
"""

import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from extract.errors import SourceError

SPLITS = ("", "train", "val", "test")
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
UNLISTED = "folder cannot be listed"
LEFT_BY_DESKTOPS = frozenset({b"Thumbs.db", b"desktop.ini", b"__MACOSX"})


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
        Of an image inside another file (see `extract.packed`): that file's path, and the byte or row at which the
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
    def place(self) -> str:
        """The root in full, whatever folder a reader of it works in."""
        return self.root if isinstance(self.root, str) else os.path.abspath(self.root)

    @property
    def classes(self) -> list[str]:
        """Class names, sorted."""
        return sorted({item.label for item in self.items if item.label is not None})


def find_images(images: str | os.PathLike[str]) -> Source:
    """List a folder of images, what lies below a URL, or what a manifest (.csv, .jsonl, .parquet) names.

    Images packed in tar archives or Parquet tables are listed one by one (see `extract.packed`).

    Raises
    ------
    SourceError
        Where there is no such folder or manifest, or it names no file.
    """
    from extract.manifest import MANIFESTS, names_files, read_manifest
    from extract.packed import is_packed, unpacked
    from extract.remote import find_remote_images, is_url, without_scheme

    images = without_scheme(os.fspath(images))
    if is_url(images):
        return unpacked(find_remote_images(images))
    place = Path(images)
    if os.path.isdir(place):
        source = unpacked(Source(place, list(_folder_items(place))))
    elif is_packed(os.fsencode(place)) and os.path.isfile(place) and not names_files(place):
        source = unpacked(Source(place.parent, [regular_item(place.parent, os.fsencode(place.name))]))
    elif place.suffix.lower() in MANIFESTS and os.path.isfile(place):
        source = read_manifest(place)
    elif os.path.exists(place):
        raise SourceError(
            f"{place}: expected a folder of images or a manifest ({', '.join(MANIFESTS)}) or a .tar archive, "
            "found another kind of file"
        )
    else:
        raise SourceError(f"{place}: no such folder or manifest; give the folder that holds your images")
    if not source.items:
        raise SourceError(f"{place}: expected images, found no files at all; give the folder that holds your images")
    return source


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
        return Item(path, -1, 0, label, split, f"cannot be looked at: {_plain(error)}")
    if not stat.S_ISREG(found.st_mode):
        return Item(path, -1, 0, label, split, f"not a regular file but a {_kind(found.st_mode)}")
    return Item(path, found.st_size, found.st_mtime_ns, label, split)


def leads_below(root: Path, path: bytes) -> bool:
    """Tell whether a path below `root` still leads there once every link in it is followed."""
    top = os.path.realpath(os.fsencode(root))
    return os.path.realpath(os.path.join(top, path)).startswith(top.rstrip(b"/") + b"/")


def _folder_items(root: Path) -> Iterator[Item]:
    top = os.fsencode(root)
    try:
        has_splits = _has_splits(top)
    except OSError as error:
        raise SourceError(f"{root}: cannot be listed: {_plain(error)}; give a folder that you may read") from None
    paths: list[bytes] = []
    unreadable: list[Item] = []
    _walk(top, b"", paths, unreadable)
    items = [regular_item(root, path, *place_of(path, has_splits)) for path in paths]
    yield from sorted(items + unreadable, key=lambda item: item.path)


def _walk(folder: bytes, prefix: bytes, paths: list[bytes], unreadable: list[Item]) -> None:
    pending = [(folder, prefix)]
    while pending:
        folder, prefix = pending.pop()
        try:
            entries = _entries(folder)
        except OSError as error:
            unreadable.append(Item(prefix.rstrip(b"/"), -1, 0, None, "", f"{UNLISTED}: {_plain(error)}"))
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                pending.append((entry.path, prefix + entry.name + b"/"))
            else:
                paths.append(prefix + entry.name)


def _entries(folder: bytes) -> list[os.DirEntry[bytes]]:
    with os.scandir(folder) as entries:
        return [entry for entry in entries if not is_hidden(entry.name)]


def _has_splits(top: bytes) -> bool:
    folders = {e.name: e.path for e in _entries(top) if e.is_dir(follow_symlinks=False)}
    return _are_splits(os.fsdecode(top), list(folders), lambda name: _holds_folder(folders[name]))


def has_splits_at(where: str, paths: Sequence[bytes]) -> bool:
    """Tell of a list of files whether the folders at its top are splits that hold classes."""
    parts = [path.split(b"/", 2) for path in paths]
    holding = {part[0] for part in parts if len(part) > 2}
    return _are_splits(where, sorted({part[0] for part in parts if len(part) > 1}), holding.__contains__)


def _are_splits(where: str, folders: list[bytes], holds_folder: Callable[[bytes], bool]) -> bool:
    splits = [name for name in folders if os.fsdecode(name).lower() in SPLIT_NAMES]
    if not any(holds_folder(name) for name in splits):
        return False
    others = [os.fsdecode(name) for name in folders if name not in splits]
    if others and len(splits) > 1:
        names = ", ".join(os.fsdecode(name) for name in splits)
        raise SourceError(
            f"{where}: holds the splits {names}, but also the folder {others[0]!r}, which is none; "
            "move it elsewhere, or rename the splits if they are classes"
        )
    return not others


def _holds_folder(folder: bytes) -> bool:
    try:
        return any(e.is_dir(follow_symlinks=False) for e in _entries(folder))
    except OSError:
        return False


def place_of(path: bytes, has_splits: bool) -> tuple[str | None, str]:
    """Give the label and the split that a path says."""
    parts = path.split(b"/")
    split = ""
    if has_splits and len(parts) > 1:
        split = SPLIT_NAMES[os.fsdecode(parts.pop(0)).lower()]
    # One text for all images of a class: there may be millions.
    return (sys.intern(os.fsdecode(parts[0])) if len(parts) > 1 else None), split


def is_hidden(name: bytes) -> bool:
    """Tell whether files and folders of this name are passed over."""
    return name.startswith(b".") or name in LEFT_BY_DESKTOPS


def _kind(mode: int) -> str:
    kinds = {stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}
    return kinds.get(stat.S_IFMT(mode), "folder")


def _plain(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()
