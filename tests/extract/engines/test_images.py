"""Images of every kind through one engine that stays open: each is a vector or a reason, in order, from any thread."""

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.extract import EngineOptions, embed, find_images, open_store, read_model
from headstart.extract.decoding.isolated import IsolatedDecoder, _send
from headstart.extract.decoding.worker import DECODE, REQUEST
from headstart.extract.engines.images import ImageEngine
from headstart.extract.store.reuse import ReusableRows
from headstart.files.errors import OptionError


@pytest.fixture(scope="module")
def engine(backbone):
    with ImageEngine(read_model(backbone), options=EngineOptions(workers=2)) as engine:
        yield engine


def vectors(engine, *images) -> np.ndarray:
    found = list(engine.outcomes(images))
    assert [outcome.reason for outcome in found] == [""] * len(images)
    return np.array([outcome.vector for outcome in found])


def as_path(data: bytes, folder: Path):
    (folder / "one.png").write_bytes(data)
    return folder / "one.png"


FORMS = {
    "path": as_path,
    "text": lambda data, folder: str(as_path(data, folder)),
    "file url": lambda data, folder: f"file://{as_path(data, folder)}",
    "link": lambda data, folder: linked(as_path(data, folder)),
    "bytes": lambda data, _: data,
    "bytearray": lambda data, _: bytearray(data),
    "memoryview": lambda data, _: memoryview(data),
    "opened": lambda data, _: Image.open(io.BytesIO(data)),
    "loaded": lambda data, _: Image.open(io.BytesIO(data)).copy(),
    "rgba": lambda data, _: Image.open(io.BytesIO(data)).convert("RGBA"),
    "array": lambda data, _: np.asarray(Image.open(io.BytesIO(data))),
    "strided": lambda data, _: np.asarray(Image.open(io.BytesIO(data)).transpose(0))[:, ::-1],
}


def linked(path: Path) -> Path:
    path.with_name("link").symlink_to(path)
    return path.with_name("link")


@pytest.mark.parametrize("form", FORMS)
def test_an_image_has_one_vector_in_whatever_form_it_comes(engine, picture, tmp_path, form):
    image = FORMS[form](picture(3), tmp_path)
    np.testing.assert_allclose(vectors(engine, image), vectors(engine, picture(3)), atol=1e-6)


def test_grey_arrays_count_as_grey_pictures(engine, picture):
    grey = Image.open(io.BytesIO(picture(3))).convert("L")
    in_colour = vectors(engine, np.asarray(grey.convert("RGB")))
    np.testing.assert_allclose(vectors(engine, np.asarray(grey)), in_colour, atol=1e-6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_of_pillow_is_turned_upright_as_its_file_is(engine, picture, orientation):
    """mflux-community/mflux#495: opened images went into the model sideways."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = picture(3, exif=exif)
    opened = Image.open(io.BytesIO(data))
    np.testing.assert_allclose(vectors(engine, opened), vectors(engine, data), atol=1e-6)
    assert (opened.size, opened.getexif().get(0x0112)) == ((40, 30), orientation)


def test_an_opened_jpeg_keeps_its_size(engine, picture):
    opened = Image.open(io.BytesIO(picture(3, "JPEG", (640, 480))))
    before = np.asarray(Image.open(io.BytesIO(picture(3, "JPEG", (640, 480)))))
    vectors(engine, opened, opened)
    np.testing.assert_array_equal(np.asarray(opened), before)


BAD = {
    "missing": ("nope.png", "no such file"),
    "empty name": ("", "folder"),
    "folder": (".", "folder"),
    "no name of a file": ("a\0b.png", "null"),
    "no text of a name": ("\ud800.png", "surrogates"),
    "nowhere": ("memory://bucket/nope.png", "no such file"),
    "no file system": ("nothing://bucket/nope.png", "cannot be opened"),
    "no bytes": (b"", "empty file"),
    "another file": (b"%PDF-1.7 and more", "PDF"),
    "nothing": (None, "found NoneType"),
    "number": (3, "found int"),
    "floats": (np.zeros((3, 3, 3)), "found float64"),
    "four channels": (np.zeros((3, 3, 4), np.uint8), "(3, 3, 4)"),
    "one number": (np.uint8(3), "found uint8"),
    "no pixels": (np.zeros((0, 3, 3), np.uint8), "pixels"),
    "no pixels in Pillow": (Image.new("RGB", (0, 4)), "pixels"),
    "floats in Pillow": (Image.new("F", (4, 4)), "floating-point"),
    "closed": (Image.open(io.BytesIO(b"P5 2 2 255 ")), "Pillow cannot load it"),
}


@pytest.mark.parametrize("case", BAD)
def test_an_image_that_cannot_be_used_has_a_reason(engine, picture, case):
    image, reason = BAD[case]
    before, bad, after = engine.outcomes([picture(1), image, picture(2)])
    assert bad.vector is None
    assert reason in bad.reason
    np.testing.assert_allclose([before.vector, after.vector], vectors(engine, picture(1), picture(2)), atol=1e-6)


def test_a_picture_in_memory_may_not_be_larger_than_one_in_a_file(engine, monkeypatch):
    monkeypatch.setattr("headstart.extract.decoding.decode.MAX_PIXELS", 99)
    (outcome,) = engine.outcomes([np.zeros((10, 10), np.uint8)])
    assert outcome.reason == "10 x 10 is more than 99 pixels"


def test_images_are_called_by_their_path_or_position(engine, picture, tmp_path):
    path = as_path(picture(), tmp_path)
    names = [outcome.item.path for outcome in engine.outcomes([picture(), path, np.zeros((4, 4), np.uint8), "no.png"])]
    assert names == [b"image[0]", bytes(path), b"image[2]", b"no.png"]


def test_what_is_odd_about_an_image_is_noted(engine):
    dark = Image.fromarray(np.full((8, 8), 3000, np.uint16))
    (outcome,) = engine.outcomes([dark])
    assert "lower 12" in outcome.notes[0]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 9, 40])
def test_outcomes_come_in_the_order_of_the_images(engine, picture, count):
    images = [picture(seed) if seed % 5 else b"" for seed in range(count)]
    found = list(engine.outcomes(images))
    assert [outcome.vector is None for outcome in found] == [not image for image in images]
    for image, outcome in zip(images, found, strict=True):
        if image:
            np.testing.assert_allclose(outcome.vector, vectors(engine, image)[0], atol=1e-6)


def test_many_threads_get_their_own_answers(engine, picture):
    images = [picture(seed) for seed in range(8)]
    expected = vectors(engine, *images)
    start = threading.Barrier(8)

    def ask(number: int) -> np.ndarray:
        start.wait()
        return np.array([vectors(engine, images[number], images[-number])[0] for _ in range(10)])

    with ThreadPoolExecutor(8) as pool:
        for number, found in enumerate(pool.map(ask, range(8))):
            np.testing.assert_allclose(found, np.tile(expected[number], (10, 1)), atol=1e-6)


def test_a_decoder_that_is_killed_costs_at_most_one_image(backbone, picture):
    with ImageEngine(read_model(backbone), options=EngineOptions(workers=1)) as engine:
        vectors(engine, picture(1))
        (bench,) = engine._embedder._benches
        pid = bench.decoder.pid
        bench.decoder._process._popen.kill()
        vectors(engine, picture(2), picture(3))
        assert bench.decoder.pid not in (pid, None)


def test_processes_are_kept_until_the_end(backbone, picture):
    """seveas/python-prctl#14: a process that dies with its parent dies with the thread that started it."""
    engine = ImageEngine(read_model(backbone), options=EngineOptions(workers=1))
    vectors(engine, picture(1))
    (bench,) = engine._embedder._benches
    process = bench.decoder._process._popen
    vectors(engine, picture(2))
    assert bench.decoder.pid == process.pid
    engine.close()
    assert process.returncode is not None


def test_processes_end_with_the_last_reference(backbone, picture):
    engine = ImageEngine(read_model(backbone), options=EngineOptions(workers=1))
    vectors(engine, picture(1))
    (bench,) = engine._embedder._benches
    process = bench.decoder._process._popen
    del engine, bench
    process.wait(timeout=20)


def test_a_source_has_an_outcome_for_each_item_in_order(engine, backbone, photos, tmp_path):
    store, _ = embed(photos, backbone, tmp_path / "photos.h5", dtype="float32")
    found = engine.source_outcomes(find_images(photos))
    assert [outcome.item.path for outcome in found] == store.rows.path.tolist()
    expected = store.embeddings()
    for outcome, vector, is_embedded in zip(found, expected, store.is_embedded, strict=True):
        assert (outcome.vector is not None) == is_embedded
        if is_embedded:
            np.testing.assert_allclose(outcome.vector, vector, atol=1e-6)
    assert {outcome.item.path.decode(): outcome.reason for outcome in found if outcome.reason} == store.failures


def test_stored_content_is_not_computed_again(engine, backbone, photos, tmp_path):
    embed(photos, backbone, tmp_path / "photos.h5")
    store = open_store(tmp_path / "photos.h5")
    reusable = ReusableRows(store, replace(store.header, root="elsewhere"))
    files = [photos / "stray.png", photos / "dog" / "empty.png"]
    found = list(engine.outcomes([*files, files[0].read_bytes(), np.zeros((4, 4), np.uint8)], reusable.by_content))
    assert [outcome.computed for outcome in found] == [False, True, False, True]


def test_another_engine_is_refused(backbone):
    with pytest.raises(OptionError, match="'ray'"):
        ImageEngine(read_model(backbone), options=EngineOptions(engine="ray"))


def test_a_decoder_outlives_the_thread_that_asked_first(backbone, picture):
    """seveas/python-prctl#14: the kernel would end it with that thread."""
    with ImageEngine(read_model(backbone), options=EngineOptions(workers=1)) as engine:
        asking = threading.Thread(target=vectors, args=(engine, picture(1)))
        asking.start()
        asking.join()
        (bench,) = engine._embedder._benches
        process = bench.decoder._process._popen
        vectors(engine, picture(2))
        assert bench.decoder.pid == process.pid


def test_after_an_interrupt_no_image_gets_the_answer_of_another(engine, picture, monkeypatch):
    """An interrupted request leaves its reply in the pipe, where the next would find it."""
    expected = vectors(engine, picture(5))
    decode = IsolatedDecoder.decode

    def interrupted(decoder, data, notes=None):
        decoder._process and _send(decoder._process._connection, REQUEST.pack(DECODE, len(data)), data)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(IsolatedDecoder, "decode", interrupted)
        with pytest.raises(KeyboardInterrupt):
            vectors(engine, picture(4))
    assert IsolatedDecoder.decode is decode
    np.testing.assert_allclose(vectors(engine, picture(5)), expected, atol=1e-6)
