from dataclasses import FrozenInstanceError
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from headstart.demo.pictures import BROKEN, KINDS, PictureSet, draw_flower, draw_pictures

SIZE = (96, 72)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names(folder)}


def opens(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            image.load()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> PictureSet:
    return draw_pictures(tmp_path_factory.mktemp("drawn") / "flowers", per_class=3, size=SIZE)


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> PictureSet:
    return draw_pictures(tmp_path_factory.mktemp("plain"), per_class=3, size=SIZE, broken=False)


def test_a_plain_set_is_numbered_jpegs_in_class_folders(plain):
    assert names(plain.folder) == [f"{kind}/{kind}_{number:04}.jpg" for kind in KINDS for number in (1, 2, 3)]
    for name in names(plain.folder):
        with Image.open(plain.folder / name) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", SIZE)


def test_the_record_counts_what_opens_and_what_does_not(drawn, plain):
    verdicts = [opens(drawn.folder / name) for name in names(drawn.folder)]
    assert (drawn.images, drawn.broken) == (verdicts.count(True), verdicts.count(False)) == (15, 4)
    assert (plain.images, plain.broken, plain.kinds) == (15, 0, KINDS)
    with pytest.raises(FrozenInstanceError):
        plain.images = 1


def test_the_files_that_do_not_open_are_the_listed_ones(drawn):
    assert {name for name in names(drawn.folder) if not opens(drawn.folder / name)} == {"/".join(at) for at in BROKEN}


def test_each_broken_file_is_broken_in_its_own_way(drawn):
    held = contents(drawn.folder)
    assert held["daisy/daisy_empty.jpg"] == b""
    assert held["dandelion/dandelion_0001.jpg"].startswith(held["dandelion/dandelion_truncated.jpg"])
    with Image.open(drawn.folder / "dandelion/dandelion_truncated.jpg") as image:
        assert image.size == SIZE
    assert b"<html>" in held["rose/rose_not_found.jpg"]
    assert held["sunflower/sunflower_notes.png"].decode("ascii").startswith("Sunflowers")


@pytest.mark.parametrize(
    ("name", "form", "mode"),
    [
        ("daisy/daisy_0002.png", "PNG", "RGBA"),
        ("rose/rose_0002.jpg", "JPEG", "L"),
        ("sunflower/sunflower_0002.jpg", "WEBP", "RGB"),
        ("tulip/tulip_0002.jpg", "JPEG", "RGB"),
    ],
)
def test_an_odd_file_shows_the_same_picture_as_the_plain_one(drawn, plain, name, form, mode):
    with Image.open(drawn.folder / name) as odd, Image.open(plain.folder / Path(name).with_suffix(".jpg")) as usual:
        assert (odd.format, odd.mode) == (form, mode)
        seen = "L" if mode == "L" else "RGB"
        shown, expected = ImageOps.exif_transpose(odd).convert(seen), usual.convert(seen)
    assert shown.size == SIZE
    assert np.abs(np.asarray(shown, dtype=float) - np.asarray(expected, dtype=float)).mean() < 6


def test_the_png_has_clear_corners_and_a_solid_middle(drawn):
    with Image.open(drawn.folder / "daisy/daisy_0002.png") as image:
        alpha = np.asarray(image)[..., 3]
    assert alpha[0, 0] == 0
    assert alpha[SIZE[1] // 2, SIZE[0] // 2] == 255


def test_the_turned_jpeg_is_stored_on_its_side(drawn):
    with Image.open(drawn.folder / "tulip/tulip_0002.jpg") as image:
        assert image.getexif()[0x0112] == 6
        assert image.size == SIZE[::-1]


def test_a_seed_gives_the_same_files_and_another_seed_others(tmp_path, drawn):
    again = draw_pictures(tmp_path / "again", per_class=3, size=SIZE)
    other = draw_pictures(tmp_path / "other", per_class=3, size=SIZE, seed=1, broken=False)
    assert contents(again.folder) == contents(drawn.folder)
    assert not set(contents(other.folder).values()) & set(contents(drawn.folder).values())


def test_a_larger_set_begins_with_the_smaller_one(tmp_path, plain):
    small = draw_pictures(tmp_path, per_class=1, size=SIZE, broken=False)
    assert contents(small.folder).items() <= contents(plain.folder).items()


def test_no_two_pictures_are_alike(plain):
    pictures = [Image.open(BytesIO(jpeg)) for jpeg in contents(plain.folder).values()]
    small = [np.asarray(picture.resize((8, 6)), dtype=float) for picture in pictures]
    gaps = [np.abs(a - b).mean() for i, a in enumerate(small) for b in small[:i]]
    assert min(gaps) > 3


@pytest.mark.parametrize("size", [(1, 1), (40, 90), (1200, 300)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_flower_is_an_rgb_image_of_the_asked_size(kind, size):
    picture = draw_flower(kind, np.random.default_rng(0), size)
    assert (picture.mode, picture.size) == ("RGB", size)


def test_a_file_is_as_large_as_a_photo_of_its_size(tmp_path):
    draw_pictures(tmp_path, per_class=2, broken=False)
    sizes = [len(jpeg) for jpeg in contents(tmp_path).values()]
    assert min(sizes) > 10_000
    assert 20_000 < np.median(sizes) < 60_000
    assert max(sizes) < 120_000


def test_a_set_of_nothing_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="per_class is 0"):
        draw_pictures(tmp_path / "none", per_class=0)
    assert not (tmp_path / "none").exists()
