"""A few decoded images of a source, for calibrating a model on realistic inputs."""

import os

import numpy as np
from numpy.typing import NDArray

from headstart.extract.engines.local import open_decoder
from headstart.extract.errors import DecodeError
from headstart.extract.sources.find import find_images
from headstart.extract.sources.open import open_reader
from headstart.files.resize import ResizeRule


def decode_sample(images: str | os.PathLike[str], rule: ResizeRule, count: int) -> NDArray[np.uint8]:
    """Decode at most `count` images spread evenly over a source, skipping images that fail.

    Parameters
    ----------
    images
        As in `headstart.extract.sources.find.find_images`, which also says what is raised.

    Returns
    -------
    uint8, (n, H, W, 3), RGB, 0-255; n may be smaller than `count`.
    """
    source = find_images(images)
    items = [item for item in source.items if not item.reason]
    step = max(1.0, len(items) / count)
    pixels = []
    reader, decoder = open_reader(source.root), open_decoder(rule, isolate=os.name == "posix")
    try:
        for number in range(min(count, len(items))):
            try:
                data, _, _ = reader.read(items[int(number * step)])
                pixels.append(decoder.decode(data).copy())
            except DecodeError:
                continue
    finally:
        decoder.close()
        reader.close()
    return np.array(pixels, np.uint8).reshape(-1, *rule.shape)
