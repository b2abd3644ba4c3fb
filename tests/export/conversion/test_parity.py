import numpy as np
import pytest

from headstart.export import ParityError
from headstart.export.conversion.features import Group
from headstart.export.conversion.images import probe_images, structured_images
from headstart.export.conversion.parity import TOLERANCE, compare, compare_groups

REFERENCE = np.random.default_rng(0).normal(0, 1, (8, 16)).astype(np.float32)


def test_equal_embeddings_pass():
    parity = compare(REFERENCE, REFERENCE)
    assert (parity.max_difference, parity.relative) == (0, 0)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e4])
def test_tolerance_is_relative_to_the_largest_value(size):
    reference = REFERENCE * np.float32(size)
    step = TOLERANCE * np.abs(reference).max()
    near, far = reference.copy(), reference.copy()
    near[3, 4] += 0.9 * step
    far[3, 4] += 1.1 * step
    assert compare(near, reference).relative == pytest.approx(0.9 * TOLERANCE, rel=1e-2)
    with pytest.raises(ParityError, match="differ by"):
        compare(far, reference)


@pytest.mark.parametrize(
    ("found", "reference", "expected"),
    [
        (REFERENCE * np.nan, REFERENCE, "not finite"),
        (REFERENCE, REFERENCE * np.inf, "not finite"),
        (REFERENCE * 0, REFERENCE * 0, "same for every image"),
        (REFERENCE * 0 + 3, REFERENCE * 0 + 3, "same for every image"),
        (REFERENCE * 1e-12, REFERENCE * 1e-12, "same for every image"),
        (REFERENCE[:, :8], REFERENCE, "shape"),
    ],
)
def test_embeddings_that_say_nothing_are_refused(found, reference, expected):
    with pytest.raises(ParityError, match=expected):
        compare(found.astype(np.float32), reference.astype(np.float32))


def test_a_group_of_large_values_hides_no_fault_in_another():
    groups = [Group("top", "mean", 0, 10), Group("block", "mean", 10, 6)]
    reference = REFERENCE.copy()
    reference[:, 10:] *= 1e4
    found = reference.copy()
    found[3, 4] += 1.1 * TOLERANCE * np.abs(reference[:, :10]).max()
    assert compare(found, reference).relative < 1e-6
    with pytest.raises(ParityError, match=r"^top \(mean\): ONNX and the reference differ by"):
        compare_groups(found, reference, groups)
    parity = compare_groups(reference, reference, groups)
    assert (parity.max_difference, parity.relative) == (0, 0)


def test_recorded_figures_are_rounded_up():
    near = REFERENCE.copy()
    near[0, 0] += 1.23e-4
    said = compare(near, REFERENCE).metadata()
    assert said["max_abs_difference"] == 2e-4
    assert said["relative_tolerance"] == TOLERANCE


def test_probe_images_hold_the_extremes_and_are_fixed():
    images = probe_images((40, 56))
    assert (images.shape, images.dtype) == ((8, 40, 56, 3), np.uint8)
    assert (images[0] == 0).all()
    assert (images[1] == 255).all()
    np.testing.assert_array_equal(images, probe_images((40, 56)))


def test_structured_images_differ_among_themselves_and_by_seed():
    images = structured_images(4, (32, 48))
    assert images.shape == (4, 32, 48, 3)
    assert images.min() == 0
    assert images.max() == 255
    flat = images.reshape(4, -1).astype(float)
    assert np.abs(np.corrcoef(flat) - np.eye(4)).max() < 0.9
    assert (images != structured_images(4, (32, 48), seed=1)).mean() > 0.9
