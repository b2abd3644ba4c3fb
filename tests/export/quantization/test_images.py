import io

import numpy as np
import pytest
from PIL import Image

from headstart.export.errors import QuantizationError
from headstart.export.quantization.images import LEAST_CALIBRATION, varied

SIZE = 96
RNG = np.random.default_rng(5)


def photos(count: int) -> np.ndarray:
    """Draw smooth random pictures with grain, which differ as photos do."""
    coarse = RNG.integers(0, 256, (count, 6, 6, 3)).astype(np.uint8)
    large = np.stack(
        [np.asarray(Image.fromarray(one).resize((SIZE, SIZE), Image.Resampling.BICUBIC)) for one in coarse]
    )
    return np.clip(large + RNG.normal(0, 3, large.shape), 0, 255).astype(np.uint8)


def single_colours(count: int) -> np.ndarray:
    return np.broadcast_to(RNG.integers(0, 256, (count, 1, 1, 3)), (count, SIZE, SIZE, 3)).astype(np.uint8)


def gradients(count: int) -> np.ndarray:
    ends = RNG.uniform(0, 60, (count, 1, 1, 3))
    return np.broadcast_to(ends * np.linspace(0, 1, SIZE)[:, None, None], (count, SIZE, SIZE, 3)).astype(np.uint8)


def copies(count: int) -> np.ndarray:
    return photos(3)[np.arange(count) % 3]


def encoded_copies(count: int) -> np.ndarray:
    """Save one picture as JPEG at several qualities."""
    result = []
    for number in range(count):
        file = io.BytesIO()
        Image.fromarray(photo).save(file, "JPEG", quality=90 + number % 8)
        result.append(np.asarray(Image.open(file)))
    return np.stack(result)


photo = photos(1)[0]


def test_different_pictures_are_all_kept():
    images = photos(60)
    np.testing.assert_array_equal(varied(images), images)


@pytest.mark.parametrize("make", [single_colours, gradients, copies, encoded_copies])
def test_pictures_without_variety_are_refused(make):
    with pytest.raises(QuantizationError, match="needs at least 30 different images"):
        varied(make(150))


@pytest.mark.parametrize("make", [single_colours, gradients, copies])
def test_pictures_without_variety_are_left_out(make):
    images = photos(LEAST_CALIBRATION)
    kept = varied(np.concatenate([make(20), images]))
    assert LEAST_CALIBRATION <= len(kept) <= LEAST_CALIBRATION + 3
    np.testing.assert_array_equal(kept[-LEAST_CALIBRATION:], images)


def test_the_message_counts_what_is_left_out():
    images = np.concatenate([single_colours(7), photos(3), copies(9)])
    with pytest.raises(QuantizationError, match=r"found 6 \(7 without detail and 6 copies are left out\): give more"):
        varied(images)
