"""A few decoded images of a source, for calibrating a model on realistic inputs."""

import contextlib
import os

import numpy as np
from numpy.typing import NDArray

from headstart.extract.engines.decoders import open_decoder
from headstart.extract.errors import DecodeError
from headstart.extract.sources.find import find_images
from headstart.extract.sources.open import open_reader
from headstart.files.resize import ResizeRule


def decode_sample(images: str | os.PathLike[str], rule: ResizeRule, count: int) -> NDArray[np.uint8]:
    """Decode at most `count` images of a source, drawn at random; those that fail are replaced by others.

    Parameters
    ----------
    images
        As in `headstart.extract.sources.find.find_images`, which also says what is raised.

    Returns
    -------
    uint8, (n, H, W, 3), RGB, 0-255, in the source's order, the same images each time; n is smaller than `count` only
    if fewer can be decoded.
    """
    source = find_images(images)
    items = [item for item in source.items if not item.reason]
    pixels: dict[int, NDArray[np.uint8]] = {}
    reader, decoder = open_reader(source.root), open_decoder(rule, isolate=os.name == "posix")
    try:
        for number in np.random.default_rng(0).permutation(len(items)).tolist():
            if len(pixels) == count:
                break
            with contextlib.suppress(DecodeError):
                data, _, _ = reader.read(items[number])
                pixels[number] = decoder.decode(data).copy()
    finally:
        decoder.close()
        reader.close()
    return np.array([pixels[number] for number in sorted(pixels)], np.uint8).reshape(-1, *rule.shape)
