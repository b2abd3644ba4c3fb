"""Thumbnails: small, upright, of the very file that was asked for, and never an error."""

import hashlib
import io
import os

import numpy as np
import pytest
from PIL import Image

from headstart.extract.thumbnails import thumbnail


@pytest.fixture
def saved(tmp_path):
    """Save an image below tmp_path, and give its path as a store has it."""

    def save(name: str, image: Image.Image, **options: object) -> bytes:
        image.save(tmp_path / name, **options)
        return os.fsencode(name)

    return save


def opened(data: bytes | None) -> Image.Image:
    assert data is not None
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize(("size", "expected"), [((400, 200), (96, 48)), ((30, 600), (5, 96)), ((5000, 1), (96, 1))])
def test_the_longer_side_has_the_size_asked_for(saved, tmp_path, size, expected):
    small = opened(thumbnail(tmp_path, saved("a.png", Image.new("RGB", size, "teal"))))
    assert (small.format, small.mode, small.size) == ("JPEG", "RGB", expected)


def test_a_small_image_is_not_blown_up(saved, tmp_path):
    assert opened(thumbnail(tmp_path, saved("a.png", Image.new("RGB", (20, 10))))).size == (20, 10)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_it_is_upright_and_keeps_its_shape(saved, tmp_path, form, orientation):
    stored = np.zeros((60, 120, 3), np.uint8)
    stored[:30] = 255  # the upper half is white, as stored
    exif = Image.Exif()
    exif[0x0112] = orientation
    small = opened(thumbnail(tmp_path, saved(f"a.{form.lower()}", Image.fromarray(stored), format=form, exif=exif), 40))
    assert small.size == ((40, 20) if orientation in (1, 3) else (20, 40))
    grey = np.asarray(small.convert("L")).astype(float)
    brightest = {1: grey[:5], 3: grey[-5:], 6: grey[:, -5:], 8: grey[:, :5]}[orientation]
    assert brightest.mean() > 230


def test_transparent_parts_are_white(saved, tmp_path):
    small = opened(thumbnail(tmp_path, saved("a.png", Image.new("RGBA", (50, 50), (0, 0, 0, 0)))))
    assert np.asarray(small).min() > 250


def test_it_carries_no_metadata(saved, tmp_path):
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    assert b"where I live" not in (thumbnail(tmp_path, saved("a.jpg", Image.new("RGB", (50, 50)), exif=exif)) or b"")


@pytest.mark.parametrize("content", [b"", b"no image", b"\xff\xd8\xff\xe0 cut off"])
def test_what_is_no_image_has_none(tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(content)
    assert thumbnail(tmp_path, b"a.jpg") is None


def test_what_is_not_there_or_no_file_has_none(tmp_path):
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    assert [thumbnail(tmp_path, path) for path in (b"gone.jpg", b"folder.jpg", b"pipe.jpg", b"a\0b.jpg")] == [None] * 4


def test_it_does_not_leave_the_folder(saved, tmp_path):
    saved("outside.png", Image.new("RGB", (9, 9)))
    root = tmp_path / "photos"
    root.mkdir()
    (root / "link.png").symlink_to(tmp_path / "outside.png")
    assert thumbnail(root, b"link.png") is None
    assert thumbnail(root, b"../outside.png") is None


def test_a_photo_that_was_replaced_is_not_shown_for_the_old_one(saved, tmp_path):
    path = saved("a.png", Image.new("RGB", (9, 9), "teal"))
    digest = hashlib.sha256((tmp_path / "a.png").read_bytes()).digest()
    assert thumbnail(tmp_path, path, sha256=digest) is not None
    saved("a.png", Image.new("RGB", (9, 9), "red"))
    assert thumbnail(tmp_path, path, sha256=digest) is None


def test_a_name_of_any_bytes_will_do(tmp_path):
    name = b"\xff \n.png"
    Image.new("RGB", (9, 9)).save(io_file := io.BytesIO(), "PNG")
    with open(os.path.join(os.fsencode(tmp_path), name), "wb") as file:
        file.write(io_file.getvalue())
    assert thumbnail(tmp_path, name) is not None
