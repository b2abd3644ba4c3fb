"""What names mean: labels and splits of folders, hidden files, archives and tables."""

import os
import sys
from collections.abc import Sequence
from os.path import splitext

from headstart.extract.errors import SourceError

SPLIT_NAMES = dict.fromkeys(("train", "training"), "train")
SPLIT_NAMES |= dict.fromkeys(("val", "valid", "validation"), "val") | dict.fromkeys(("test", "testing"), "test")
LEFT_BY_DESKTOPS = frozenset({b"Thumbs.db", b"desktop.ini", b"__MACOSX"})
TAR, TABLE = b".tar", b".parquet"
COMPRESSED = (b".tgz", b".tbz2", b".txz", b".tar.gz", b".tar.bz2", b".tar.xz", b".tar.zst", b".zip", b".7z", b".rar")
IMAGE_SUFFIXES = frozenset(
    b".apng .avif .avifs .bmp .dib .gif .ico .j2c .j2k .jfif .jp2 .jpc .jpe .jpeg .jpf .jpg .jpx .mpo .pbm .pfm .pgm "
    b".png .pnm .ppm .tif .tiff .webp".split()
)
OTHER_IMAGES = frozenset(b".arw .cr2 .cr3 .dng .heic .heif .jxl .nef .orf .psd .raf .rw2 .svg .tga".split())
"""Image formats that are not accepted: they become failure rows, and are never sidecar files of an image."""


def has_splits_at(where: str, paths: Sequence[bytes]) -> bool:
    """Tell whether the top folders of a list of files are splits that hold classes.

    Raises `SourceError` if other folders lie next to several splits.
    """
    parts = [path.split(b"/", 2) for path in paths]
    folders = sorted({part[0] for part in parts if len(part) > 1})
    splits = [name for name in folders if os.fsdecode(name).lower() in SPLIT_NAMES]
    if not {part[0] for part in parts if len(part) > 2} & set(splits):
        return False
    others = [os.fsdecode(name) for name in folders if name not in splits]
    if others and len(splits) > 1:
        names = ", ".join(os.fsdecode(name) for name in splits)
        raise SourceError(
            f"{where}: holds the splits {names}, but also the folder {others[0]!r}, which is no split; "
            "move it elsewhere, or rename the splits if they are classes"
        )
    return not others


def label_and_split_of(path: bytes, has_splits: bool) -> tuple[str | None, str]:
    """Return the label and split of a path."""
    parts = path.split(b"/")
    split = ""
    if has_splits and len(parts) > 1:
        split = SPLIT_NAMES[os.fsdecode(parts.pop(0)).lower()]
    # All images of a class share one string: there may be millions.
    return (sys.intern(os.fsdecode(parts[0])) if len(parts) > 1 else None), split


def is_hidden(name: bytes) -> bool:
    """Tell whether files and folders of this name are ignored."""
    return name.startswith(b".") or name in LEFT_BY_DESKTOPS


def is_packed(path: bytes) -> bool:
    """Tell by its name whether a file holds many images."""
    return path.lower().endswith((TAR, TABLE, *COMPRESSED))


def is_image_name(name: bytes) -> bool:
    """Tell whether a name ends as those of images do."""
    suffix = splitext(name)[1].lower()
    return suffix in IMAGE_SUFFIXES or suffix in OTHER_IMAGES
