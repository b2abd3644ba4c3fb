"""Notes on images that are embedded all the same, from the decoder to the summary of a run."""

import pytest

from headstart.extract import EngineOptions, Note, embed
from headstart.extract.decoding import decode
from headstart.extract.notes import NoteCounter


def test_notes_are_counted_per_kind_with_an_example():
    counter = NoteCounter()
    for texts, path in (
        ((), b"0"),
        (("blue",), b"1"),
        (("red", "blue"), b"2"),
        (("red",), b"r\xf6t"),
        (("red",), b"3"),
    ):
        counter.add(texts, path)
    assert counter.notes() == [Note("red", 3, "2"), Note("blue", 2, "1")]
    assert list(map(str, counter.notes())) == ["red (3 images, for example 2)", "blue (2 images, for example 1)"]


def test_one_image_is_named_alone():
    assert str(Note("no end", 1, "rose/1.jpg")) == "no end (1 image: rose/1.jpg)"


@pytest.fixture
def noted(monkeypatch):
    """Let every picture have a note that tells whether it lies down."""
    fit = decode._fit

    def fit_and_note(image, rule, notes):
        notes.append("wide" if image.width > image.height else "high")
        return fit(image, rule, notes)

    monkeypatch.setattr(decode, "_fit", fit_and_note)


def test_a_run_counts_the_notes_of_what_it_embeds(noted, backbone, picture, tmp_path):
    for name, size in {"a/1.png": (40, 30), "a/2.png": (30, 40), "b/3.png": (60, 20)}.items():
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(picture(len(name), size=size))
    (tmp_path / "photos/b/4.png").write_bytes(picture(4)[:90])
    options = EngineOptions(isolate=False)
    _, summary = embed(tmp_path / "photos", backbone, tmp_path / "a.h5", options=options)
    assert summary.notes == [Note("wide", 2, "a/1.png"), Note("high", 1, "a/2.png")]
    _, again = embed(tmp_path / "photos", backbone, tmp_path / "a.h5", options=options)
    assert again.notes == []
