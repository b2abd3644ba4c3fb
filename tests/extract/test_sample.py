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


@pytest.mark.parametrize(
    ("count", "numbers"),
    [(1, [0]), (2, [0, 10]), (4, [0, 5, 10, 15]), (3, [0, 6, 13]), (20, [*range(20)]), (99, [*range(20)])],
)
def test_a_sample_is_spread_over_the_whole(greys, count, numbers):
    assert seen(decode_sample(greys, RULE, count)) == numbers


def test_an_image_is_decoded_as_for_embedding(photos):
    (pixels,) = decode_sample(photos, RULE, 1)
    np.testing.assert_array_equal(pixels, decode((photos / "cat/00.png").read_bytes(), RULE))


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
