import numpy as np
import pytest
from PIL import Image

from headstart.extract.decoding.decode import decode
from headstart.extract.errors import SourceError
from headstart.extract.sample import decode_sample
from headstart.files.resize import ResizeRule

RULE = ResizeRule(6, 8)


@pytest.fixture
def greys(tmp_path):
    """Give a folder of 20 pictures, each one of its own grey: 0, 10, 20, ... in the order of their names."""
    for number in range(20):
        path = tmp_path / "greys" / ("dark" if number < 10 else "light") / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (9, 9), 10 * number).save(path)
    return tmp_path / "greys"


def seen(pixels: np.ndarray) -> list[int]:
    assert (pixels.dtype, pixels.shape[1:]) == (np.uint8, RULE.shape)
    assert (pixels == pixels[:, :1, :1, :1]).all()
    return (pixels[:, 0, 0, 0] // 10).tolist()


@pytest.mark.parametrize("count", [1, 4, 20, 99])
def test_a_sample_is_drawn_from_the_whole(greys, count):
    numbers = seen(decode_sample(greys, RULE, count))
    assert numbers == sorted(set(numbers))
    assert len(numbers) == min(count, 20)
    assert seen(decode_sample(greys, RULE, count)) == numbers
    if count == 4:
        assert min(numbers) < 10 <= max(numbers)


def test_files_that_repeat_at_a_fixed_distance_leave_no_gap(greys):
    """Every second file is a sidecar: each that is drawn is replaced by an image."""
    for path in sorted(greys.rglob("*.png")):
        path.with_name(f"{path.stem}.png.json").write_text("{}")
    assert len(seen(decode_sample(greys, RULE, 10))) == 10
    assert len(seen(decode_sample(greys, RULE, 40))) == 20


def test_an_image_is_decoded_as_for_embedding(photos):
    pixels = decode_sample(photos / "cat", RULE, 99)
    np.testing.assert_array_equal(pixels[0], decode((photos / "cat/00.png").read_bytes(), RULE))


def test_what_cannot_be_decoded_or_read_is_passed_over(greys):
    (greys / "dark" / "05.png").write_bytes(b"no image")
    (greys / "dark" / "00.png").unlink()
    (greys / "dark" / "00.png").symlink_to("nowhere")
    assert seen(decode_sample(greys, RULE, 99)) == [*range(1, 5), *range(6, 20)]


def test_a_manifest_is_sampled_too(greys):
    (greys / "some.csv").write_text("path\nlight/12.png\ngone.png\ndark/03.png\n")
    assert seen(decode_sample(greys / "some.csv", RULE, 9)) == [3, 12]


def test_a_folder_of_nothing_that_can_be_decoded_gives_none(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no image")
    assert decode_sample(tmp_path, RULE, 5).shape == (0, 6, 8, 3)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(SourceError, match="no such folder or manifest"):
        decode_sample(tmp_path / "gone", RULE, 5)
