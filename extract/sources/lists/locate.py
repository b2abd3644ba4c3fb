"""The file that a path in a list means, as systems differ in how they write paths."""

import os
import re
from collections import defaultdict
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path, PurePath
from unicodedata import normalize

from headstart.extract.sources.items import NOT_FOLLOWED, Item, leads_below, regular_item
from headstart.extract.sources.names import is_image_name

URL, DRIVE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://"), re.compile(r"[A-Za-z]:[\\/]")


def located_item(root: Path, name: str, label: str | None, split: str, *, follows: bool = False) -> Item:
    """Look for the file that a list names, relative to `root` or absolute below it; `follows` links that lead out.

    If there is no file of exactly this name, one is taken whose name differs only in surrounding space, backslashes,
    Unicode's normal form, a missing suffix, or letter case if no other file is meant.
    """
    if URL.match(name):
        return Item(_stored(name), -1, 0, label, split, "a URL in a list; download the file and list its local path")
    relative = _relative(root, name)
    if not os.path.lexists(os.path.join(root, relative.replace("\0", "?"))):
        relative = next((other for other in _spellings(root, name) if _is_file(root, other)), relative)
    path = _stored(relative)
    if "\0" in relative:
        return Item(path, -1, 0, label, split, "a name with the zero character, which no file has; correct the list")
    if _leads_out(relative):
        reason = "outside the manifest's folder; not read; name a folder that holds all files with --root"
        return Item(path, -1, 0, label, split, reason)
    if not follows and not leads_below(root, path):
        reason = f"outside the manifest's folder, behind a link; {NOT_FOLLOWED}"
        return Item(path, -1, 0, label, split, reason)
    item = regular_item(root, path, label, split, follows=follows)
    if item.reason == "no such file" and DRIVE.match(name):
        reason = "no such file: a path of a Windows drive; list paths relative to the list's folder"
        return Item(path, -1, 0, label, split, reason)
    return item


def listed_path(root: Path, name: str) -> bytes:
    """Return the path of the file of exactly this name, whether there is one or not."""
    return _stored(name if URL.match(name) else _relative(root, name))


def _spellings(root: Path, name: str) -> list[str]:
    """Return other ways to write a path, the likeliest first."""
    plain = [name, name.strip(), name.strip().replace("\\", "/")]
    forms = [_relative(root, normalize(form, each)) for each in plain for form in ("NFC", "NFD")]
    last = forms[-1]
    folder, file = os.path.split(last)
    if not _leads_out(last):
        for key, wanted in ((_stem, file), (str.lower, file.lower())):
            found = _names_by(key, os.path.join(root, folder), _changed(os.path.join(root, folder))).get(wanted, [])
            found = [name for name in found if is_image_name(os.fsencode(name))] or found
            forms += [os.path.join(folder, name) for name in found if len(found) == 1]
    return [*dict.fromkeys(forms)]


def _relative(root: Path, name: str) -> str:
    if not os.path.isabs(name):
        return os.path.normpath(name)
    from_root, from_target = (os.path.relpath(name, base) for base in _bases(root))
    return from_root if _leads_out(from_target) else from_target


@lru_cache(maxsize=8)
def _bases(root: Path) -> tuple[str, str]:
    return os.path.abspath(root), os.path.realpath(root)


def _leads_out(relative: str) -> bool:
    return relative == ".." or relative.startswith("../")


def _is_file(root: Path, relative: str) -> bool:
    return "\0" not in relative and not _leads_out(relative) and os.path.isfile(os.path.join(root, relative))


def _stored(path: str) -> bytes:
    return os.fsencode(path.replace("\0", "?"))


def _stem(name: str) -> str:
    return PurePath(name).stem


def _changed(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns
    except (OSError, ValueError):
        return 0


@lru_cache(maxsize=64)
def _names_by(key: Callable[[str], str], folder: str, _changed_ns: int) -> dict[str, list[str]]:
    names: dict[str, list[str]] = defaultdict(list)
    try:
        for name in os.listdir(folder):
            names[key(name)].append(name)
    except (OSError, ValueError):
        pass
    return names
