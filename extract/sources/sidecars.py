"""Files that belong to an image: labels in `.cls` files, and other sidecar files, which are no images of their own.

The rules are the same in folders, at URLs and in archives. Names pair by their whole stem: `cam3.0001.cls` labels
`cam3.0001.jpg`. Otherwise they pair as in WebDataset, where what precedes the first dot is the key of a sample: `8.cls`
labels `8.left.jpg` and `8.right.jpg`, and `7.json` and `7.seg.png` are sidecar files of `7.jpg`.
"""

import json
import os
import unicodedata
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from os.path import splitext

from headstart.extract.errors import DecodeError, SourceError
from headstart.extract.sources.items import Item, shown
from headstart.extract.sources.labels import class_name
from headstart.extract.sources.lists.values import label_in, number_in_cell
from headstart.extract.sources.names import is_image_name
from headstart.extract.sources.readers import Pending

LABEL_SUFFIX, MAX_LABEL = b".cls", 256
"""The suffix, in any letter case, of a file that contains a label, and the most bytes that such a file may have."""
AT_ONCE = 1024
"""Label files that are asked for before the first one is used."""


@dataclass
class Pairs:
    """Which files belong to which image.

    Attributes
    ----------
    sidecars
        Files that are no images of their own; label files are among them.
    label_files
        Image -> the file that contains its label.
    """

    sidecars: set[bytes] = field(default_factory=set)
    label_files: dict[bytes, bytes] = field(default_factory=dict)


def without_sidecars(
    items: Sequence[Item], fetch: Callable[[Iterable[Item]], Iterator[Pending]], where: str
) -> list[Item]:
    """Return the items that are no sidecar files, with the labels of their label files.

    `fetch` starts to read items, as that of a `Reader`. Raises `SourceError` as `paired`, and if a label file holds no
    label.
    """
    pairs = paired([item.path for item in items], where)
    if not pairs.sidecars:
        return list(items)
    wanted = set(pairs.label_files.values())
    labels = dict(_labels([item for item in items if item.path in wanted], fetch, where))

    def labelled(item: Item) -> Item:
        label = labels.get(pairs.label_files.get(item.path, b""))
        return replace(item, label=label) if label else item

    return [labelled(item) for item in items if item.path not in pairs.sidecars]


def images_left_out(before: Iterable[Item], after: Iterable[Item]) -> list[bytes]:
    """Return the images that are sidecar files of others."""
    kept = {item.path for item in after}
    return [item.path for item in before if item.path not in kept and is_image_name(item.path)]


def notes_on_sidecars(left_out: Sequence[bytes]) -> list[str]:
    """Tell how many images are sidecar files of others, which a user may not expect."""
    count = "1 image is a sidecar file of another" if len(left_out) == 1 else f"{len(left_out):,} images are sidecars"
    return [f"{count}, and not embedded: {shown(min(left_out))}"] if left_out else []


def paired(names: Sequence[bytes], where: str) -> Pairs:
    """Pair the files of a folder or archive by their names.

    Raises `SourceError` if an image has two labels, or a label is that of two images of its stem.
    """
    keys = {_key(name) for name in names if not is_image_name(name) or _key(name) != _stem(name)}
    samples = defaultdict[bytes, list[bytes]](list)
    for name in names:
        if (key := _key(name)) in keys:
            samples[key].append(name)
    pairs = Pairs()
    for sample in samples.values():
        images = [name for name in sample if is_image_name(name)]
        others = [name for name in sample if not is_image_name(name) and _is_field(splitext(name)[1][1:])]
        if images and (others or len(images) > 1):
            _pair(images, others, pairs, where)
    return pairs


def _pair(images: list[bytes], others: list[bytes], pairs: Pairs, where: str) -> None:
    """Pair the files that have one key, the name up to the first dot."""
    pairs.sidecars.update(others)
    stems = {_stem(image) for image in images}
    labels = defaultdict[bytes, list[bytes]](list)
    for name in others:
        if name.lower().endswith(LABEL_SUFFIX):
            labels[_stem(name)].append(name)
    has_own = not stems.isdisjoint(labels)  # then `cam3.0002.cls` is that of another image, not one of the sample's
    in_fields = [] if has_own else [name for name in others if name.lower().endswith(LABEL_SUFFIX) and _has_field(name)]
    images_of = defaultdict[bytes, list[bytes]](list)
    for image in images:
        above = list(_above(_stem(image)))
        if _stem(image) not in labels and any(stem in stems and _is_field(rest) for stem, rest in above[1:]):
            pairs.sidecars.add(image)
            continue
        files = next((labels[stem] for stem, _ in above if stem in labels), in_fields)
        if len(files) > 1:
            raise SourceError(
                f"{where}: found two labels for {shown(image)!r}: {_both(files)}; keep one of these files"
            )
        for file in files:
            images_of[file].append(image)
            pairs.label_files[image] = file
    for file, mine in images_of.items():
        if len(mine) > 1 and _stem(file) in map(_stem, mine):
            raise SourceError(
                f"{where}: found two images for the label {shown(file)!r}: {_both(mine)}; give each image a label file "
                "of its own, or remove one"
            )


def _key(name: bytes) -> bytes:
    folder, slash, base = name.rpartition(b"/")
    return folder + slash + base.partition(b".")[0]


def _stem(name: bytes) -> bytes:
    return splitext(name)[0]


def _above(stem: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Give a stem, and the shorter ones before each of its dots, with what follows: `a.b`, then `a` and `b`."""
    key = _key(stem)
    yield stem, b""
    end = stem.rfind(b".", len(key))
    while end >= 0:
        yield stem[:end], stem[end + 1 :]
        end = stem.rfind(b".", len(key), end)


def _is_field(text: bytes) -> bool:
    """Tell the name of a field, as in `7.seg.png` and `7.json`, from a part of the stem, as in `cam3.0001.jpg`."""
    return text[:1].isalpha()


def _has_field(name: bytes) -> bool:
    return _is_field(_stem(name)[len(_key(name)) + 1 :])


def _both(names: Sequence[bytes]) -> str:
    return " and ".join(repr(shown(name)) for name in names[:2])


def _labels(
    files: Sequence[Item], fetch: Callable[[Iterable[Item]], Iterator[Pending]], where: str
) -> Iterator[tuple[bytes, str | None]]:
    for start in range(0, len(files), AT_ONCE):
        some = files[start : start + AT_ONCE]
        for file, pending in zip(some, list(fetch(some)), strict=True):
            try:
                if file.reason or file.size > MAX_LABEL:
                    raise ValueError(file.reason or f"{file.size:,} bytes")
                yield file.path, _label_in(pending()[0])
            except (DecodeError, ValueError) as fault:
                raise SourceError(
                    f"{where}: expected the name of a class, of at most {MAX_LABEL} bytes of UTF-8 text, in "
                    f"{shown(file.path)!r}, found {fault}; correct or remove this file"
                ) from None


def _label_in(data: bytes) -> str | None:
    """Read a label, also with a byte order mark or as a JSON string; raises `ValueError` that says what was found."""
    try:
        text = data.decode("utf-16" if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig").strip()
    except UnicodeDecodeError:
        raise ValueError(f"other bytes ({data[:12]!r})") from None
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    text = value.strip() if isinstance(value, str) else number_in_cell(text)
    if isinstance(value, list | dict) or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text):
        raise ValueError(f"something else ({data[:40]!r})")
    label = label_in(text, "the file")
    return label and class_name(os.fsdecode(label.encode()))  # as class folders, whatever the locale's encoding
