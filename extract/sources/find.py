"""Lists the images of a folder, URL, manifest, archive or table."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from os.path import splitext
from pathlib import Path

from headstart.extract.errors import SourceError
from headstart.extract.options import SourceOptions
from headstart.extract.sources.folders import find_folder_images
from headstart.extract.sources.items import Source, regular_item, shown
from headstart.extract.sources.labels import notes_on_classes
from headstart.extract.sources.lists.formats import MANIFESTS
from headstart.extract.sources.manifests import names_files, read_manifest
from headstart.extract.sources.names import TABLE, is_image_name, is_no_image, is_packed
from headstart.extract.sources.packed import unpacked
from headstart.extract.sources.remote import find_remote_images
from headstart.files.errors import OptionError
from headstart.files.kinds import kind_of
from headstart.files.urls import is_url, without_scheme

Images = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""A folder, URL, manifest, archive, table or image; or several image files."""

OPTIONS = {
    "label_column": "--label-column names a column of a list or table",
    "root": "--root is the folder that the paths in a list start from",
    "follow_links": "--follow-links is for links in a local folder or list",
}
"""What each of `SourceOptions` is for, as messages say it."""


def find_images(images: Images, options: SourceOptions | None = None) -> Source:
    """List the images in a folder, below a URL, or named by a manifest; or take image files.

    Image files have no label: the folder they lie in is their root. Images in tar archives or Parquet tables are
    listed one by one (see `headstart.extract.sources.packed`).

    Raises
    ------
    SourceError
        If there is no such folder or manifest, or it names no file.
    OptionError
        If an option has no meaning for this kind of source.
    LocationError, MissingExtraError
        If a URL cannot be listed, or its package is not installed.
    """
    if not isinstance(images, str | os.PathLike):
        source = _named(images)
        _require_use(options or SourceOptions(), "several image files", source, f"{source.root}")
        return source
    options = options or SourceOptions()
    images = without_scheme(os.fspath(images))
    if is_url(images):
        if splitext(images)[1].lower() in MANIFESTS and not is_packed(os.fsencode(images)):
            raise SourceError(f"{images}: a list at a URL is not read; download it, and the files that it names")
        source = unpacked(find_remote_images(images), options.label_column)
        _require_use(options, "a URL", source, images)
        return _checked(source, images)
    require_images(images)
    path, kind = Path(images), "an image file"
    if os.path.isdir(path):
        kind = "a folder"
        source = unpacked(find_folder_images(path, options.follow_links), options.label_column)
    elif is_packed(os.fsencode(path)) and os.path.isfile(path) and not names_files(path):
        kind = "an archive or table"
        container = regular_item(path.parent, os.fsencode(path.name), follows=True)
        source = unpacked(Source(path.parent, [container]), options.label_column)
    elif path.suffix.lower() in MANIFESTS and os.path.isfile(path):
        kind = "a list"
        source = read_manifest(path, options)
    else:
        source = _named([path])
    _require_use(options, kind, source, images)
    return _checked(source, path, names_all=path.suffix.lower() in MANIFESTS and not os.path.isdir(path))


def require_images(images: str | os.PathLike[str]) -> None:
    """Refuse a local path where no images can be, before anything is fetched for them.

    Raises
    ------
    SourceError
        If there is nothing, or a file of another kind.
    """
    path = Path(images)
    is_known = path.suffix.lower() in MANIFESTS or is_packed(os.fsencode(path)) or is_image_name(os.fsencode(path))
    if os.path.isdir(path) or (is_known and os.path.isfile(path)):
        return
    if os.path.exists(path):
        raise SourceError(
            f"{path}: expected a folder of images or a manifest ({', '.join(MANIFESTS)}) or a .tar archive, "
            f"found {kind_of(path)}; give the folder that holds your images"
        )
    raise SourceError(f"{path}: no such folder or manifest; give the folder that holds your images")


def is_one_image(images: str | os.PathLike[str]) -> bool:
    """Tell an image file, which may be missing, from what holds several: a folder, list, archive, table or URL."""
    text = without_scheme(os.fspath(images))
    name = text.encode("utf-8", "replace")
    if is_packed(name) or os.path.isdir(text) or splitext(text)[1].lower() in MANIFESTS:
        return False
    return is_image_name(name) or (not is_url(text) and os.path.isfile(text))


def _require_use(options: SourceOptions, kind: str, source: Source, where: str) -> None:
    """Raise `OptionError` for an option that would do nothing."""
    used = {"a list": {"root", "label_column", "follow_links"}, "a folder": {"follow_links"}}.get(kind, set())
    containers = (item.container or (item.path if item.reason else b"") for item in source.items)
    if "label_column" not in used and any(container.lower().endswith(TABLE) for container in containers):
        used = used | {"label_column"}
    for name, meaning in OPTIONS.items():
        if name not in used and getattr(options, name):
            raise OptionError(f"{where}: {meaning}, but this is {kind}; leave the option out")


def _named(images: Sequence[str | os.PathLike[str]]) -> Source:
    """Take image files by name, wherever they lie; the folder that all of them are in is the root."""
    files = sorted({os.fsencode(os.path.abspath(without_scheme(os.fspath(image)))) for image in images})
    for file, image in ((os.fsencode(image), image) for image in images):
        if is_url(image) or os.path.isdir(file) or is_packed(file):
            raise SourceError(
                f"{image}: expected an image file beside others; give one folder, archive or URL by itself"
            )
    if not files:
        raise SourceError("expected at least one image file, found none; name a folder, list, archive or image")
    folder = os.path.commonpath([os.path.dirname(file) for file in files])
    root = Path(os.fsdecode(folder))
    return Source(root, [regular_item(root, os.path.relpath(file, folder), follows=True) for file in files])


def _checked(source: Source, where: str | Path, names_all: bool = False) -> Source:
    """Pass over what is plainly no image, unless a list names it, and note what a user should know."""
    others = [] if names_all else [item.path for item in source.items if is_no_image(item.path)]
    passed_over = set(others)
    items = [item for item in source.items if item.path not in passed_over]
    source = replace(source, items=items)
    suffixes = Counter(splitext(shown(path).rpartition("/")[2])[1].lower() or "no suffix" for path in others)
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common(5))
    if not items:
        found = f"only other files ({kinds})" if others else "no files at all"
        raise SourceError(f"{where}: expected images, found {found}; give the folder that holds your images, unpacked")
    notes = [*source.notes, *notes_on_classes(source.classes)]
    if others:
        notes.append(f"passed over {len(others):,} files that are no images: {kinds}")
    lists = [path for path in others if os.fsdecode(splitext(path)[1].lower()) in MANIFESTS]
    if lists and not source.classes:
        notes.append(f"{shown(lists[0])} may be a list of the images and their labels: give it instead of the folder")
    return replace(source, notes=notes)
