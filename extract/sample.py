"""A few decoded images of a source, for calibrating a model on what it will see."""

import os

import numpy as np
from numpy.typing import NDArray

from headstart.extract.engines.local import open_decoder
from headstart.extract.errors import DecodeError
from headstart.extract.sources.find import find_images
from headstart.extract.sources.items import Item
from headstart.extract.sources.open import open_reader
from headstart.files.resize import ResizeRule


def decode_sample(images: str | os.PathLike[str], rule: ResizeRule, count: int) -> NDArray[np.uint8]:
    """Decode images spread evenly over a folder or manifest; those that cannot be decoded are passed over.

    Parameters
    ----------
    images
        As `headstart.extract.sources.find.find_images` takes them.
    count
        How many at most.

    Returns
    -------
    uint8, (n, H, W, 3), RGB, 0-255; n may be smaller than `count`.

    Raises
    ------
    SourceError
        Where there is no such folder or manifest.
    """
    source = find_images(images)
    chosen = [item for item in source.items if not item.reason]
    pixels = np.empty((min(count, len(chosen)), rule.height, rule.width, 3), np.uint8)
    filled = 0
    reader, decoder = open_reader(source.root), open_decoder(rule, isolate=os.name == "posix")
    try:
        for item in _spread(chosen, count):
            try:
                data, _, _ = reader.read(item)
                pixels[filled] = decoder.decode(data)
            except DecodeError:
                continue
            filled += 1
    finally:
        decoder.close()
        reader.close()
    return pixels[:filled]


def _spread(items: list[Item], count: int) -> list[Item]:
    step = max(1.0, len(items) / count)
    return [items[int(number * step)] for number in range(min(count, len(items)))]
