"""What names mean: labels and splits of folders, archives and tables, and which files are passed over."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from os.path import splitext

from headstart.extract.errors import SourceError
from headstart.extract.sources.labels import class_name

SPLIT_NAMES = dict.fromkeys(("train", "training"), "train")
SPLIT_NAMES |= dict.fromkeys(("val", "valid", "validation", "dev", "eval"), "val")
SPLIT_NAMES |= dict.fromkeys(("test", "testing"), "test")
_SPLIT = f"({'|'.join(sorted(SPLIT_NAMES, key=len, reverse=True))})"
SPLIT_FOLDER = re.compile(_SPLIT + r"(?:[-_ ]?set)?([-_ ]?\d{1,4})?", re.IGNORECASE)
SPLIT_SHARD = re.compile(_SPLIT + r"(?:[-_.]\d+)?(?:-of-\d+)?\.(?:parquet|tar)", re.IGNORECASE)
"""As dataset hubs name their files: `train-00000-of-00001.parquet`."""

LEFT_BY_SYSTEMS = frozenset(
    b"thumbs.db|ehthumbs.db|desktop.ini|__macosx|@eadir|#recycle|#snapshot|@recycle|@recently-snapshot|lost+found|"
    b"$recycle.bin|recycler|system volume information|network trash folder|icon\r".split(b"|")
)
"""Files and folders of desktops and network drives, in small letters."""
NO_IMAGES = frozenset(
    b".txt .md .rst .csv .tsv .json .jsonl .xml .yaml .yml .toml .ini .cfg .log .html .htm .pdf .doc .docx .xls .xlsx "
    b".py .ipynb .sh .m .mat .npy .npz .pkl .h5 .hdf5 .zip .7z .rar .gz .tgz .bz2 .tbz2 .xz .txz .zst "
    b".mp4 .mov .avi .mkv .webm .m4v .3gp .mp3 .wav .aae .xmp .thm .db .lnk .url .md5 .sha256 .cls".split()
)
"""Suffixes of files that lie among photos and are none; they are counted, and not read."""
NO_IMAGE_NAMES = frozenset({b"readme", b"license", b"licence", b"copying", b"changelog", b"manifest"})
TAR, TABLE = b".tar", b".parquet"
COMPRESSED = (b".tgz", b".tbz2", b".txz", b".tar.gz", b".tar.bz2", b".tar.xz", b".tar.zst", b".zip", b".7z", b".rar")
IMAGE_SUFFIXES = frozenset(
    b".apng .avif .avifs .bmp .dib .gif .ico .j2c .j2k .jfif .jp2 .jpc .jpe .jpeg .jpf .jpg .jpx .mpo .pbm .pfm .pgm "
    b".png .pnm .ppm .tif .tiff .webp".split()
)
OTHER_IMAGES = frozenset(
    b".3fr .arw .cr2 .cr3 .dng .eps .exr .hdr .heic .heics .heif .hif .jxl .jxr .nef .orf .pef .psb .psd .raf .raw "
    b".rw2 .rwl .srw .svg .tga .wdp .x3f .xcf".split()
)
"""Image formats that are not accepted: they become failure rows, and are never sidecar files of an image."""


@dataclass(frozen=True)
class Layout:
    """Where in a tree the classes lie.

    Attributes
    ----------
    top
        The folder that wraps everything, with ``/``; empty if there is none.
    has_splits
        Whether the folders below `top` are splits, which hold the classes.
    """

    top: bytes = b""
    has_splits: bool = False

    def label_and_split(self, path: bytes) -> tuple[str | None, str]:
        """Return the label and split of a path; None and ``""`` if it lies beside the classes."""
        if not path.startswith(self.top):
            return None, ""
        parts, split = path[len(self.top) :].split(b"/"), ""
        if self.has_splits:
            split = split_of(parts.pop(0)) if len(parts) > 1 else ""
            if not split:
                return None, ""
        return (class_name(os.fsdecode(parts[0])) if len(parts) > 1 else None), split

    @property
    def notes(self) -> list[str]:
        """What a user should know about it."""
        top = os.fsdecode(self.top.rstrip(b"/"))
        return [f"the folder {top!r} holds everything, so the folders inside it are the classes"] * bool(top)


def layout_of(where: str, paths: Iterable[bytes]) -> Layout:
    """Find the classes among the paths of images, relative to one folder.

    A folder that holds everything is no class if it holds several folders or splits. Folders named after splits are
    splits if there are no others.

    Raises
    ------
    SourceError
        If splits lie next to other folders. (One folder named like a split, with images right in it, may be a class.)
    """
    paths = list(paths)
    images = [path for path in paths if is_image_name(path)]
    deciding = images or [path for path in paths if not is_no_image(path)]
    folders = {path.rpartition(b"/")[0] for path in deciding}
    top = b""
    while len(inner := {_first(folder[len(top) :]) for folder in folders}) == 1 and (name := inner.pop()):
        if split_of(name) or top + name in folders:
            break
        top += name + b"/"
    below = {_first(folder[len(top) :]) for folder in folders} - {b""}
    if len(below) < 2 and not _splits(below):
        return Layout()
    return Layout(top, _has_splits(where, below, {folder[len(top) :] for folder in folders}))


def _has_splits(where: str, names: set[bytes], folders: set[bytes]) -> bool:
    splits = _splits(names)
    others = sorted(names - splits)
    if not splits or not others:
        return bool(splits)
    if len(splits) == 1 and splits & folders:
        return False
    listed = ", ".join(os.fsdecode(name) for name in sorted(splits))
    what = f"splits {listed}" if len(splits) > 1 else f"split {listed}"
    raise SourceError(
        f"{where}: holds the {what}, but also the folder {os.fsdecode(others[0])!r}, which is no split; "
        "move it elsewhere, or rename the splits if they are classes"
    )


def _splits(names: set[bytes]) -> set[bytes]:
    """Return the names of splits; numbered ones (`test1`, `train2017`) only count next to another split."""
    splits = {name: split_of(name) for name in names if split_of(name)}
    is_plain = any(os.fsdecode(name)[-1].isalpha() for name in splits)
    return set(splits) if is_plain or len(set(splits.values())) > 1 else set()


def _first(path: bytes) -> bytes:
    return path.partition(b"/")[0]


def split_of(name: bytes) -> str:
    """Return the split that a folder is named after, or ``""``."""
    match = SPLIT_FOLDER.fullmatch(os.fsdecode(name))
    return SPLIT_NAMES[match[1].lower()] if match else ""


def split_of_shard(path: bytes) -> str:
    """Return the split that an archive or table is named after, or ``""``."""
    match = SPLIT_SHARD.fullmatch(os.fsdecode(path.rpartition(b"/")[2]))
    return SPLIT_NAMES[match[1].lower()] if match else ""


def is_hidden(name: bytes) -> bool:
    """Tell whether files and folders of this name are ignored."""
    return name.startswith(b".") or name.lower() in LEFT_BY_SYSTEMS


def is_no_image(path: bytes) -> bool:
    """Tell by its name whether a file is plainly no image; an archive that is compressed is none either."""
    name = path.rpartition(b"/")[2].lower()
    return name in NO_IMAGE_NAMES or splitext(name)[1] in NO_IMAGES


def is_packed(path: bytes) -> bool:
    """Tell by its name whether a file holds many images."""
    return path.lower().endswith((TAR, TABLE, *COMPRESSED))


def is_image_name(name: bytes) -> bool:
    """Tell whether a name ends as those of images do."""
    suffix = splitext(name)[1].lower()
    return suffix in IMAGE_SUFFIXES or suffix in OTHER_IMAGES
