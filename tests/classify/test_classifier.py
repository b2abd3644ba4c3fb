"""`headstart.load`: whatever holds images goes in, and names, probabilities or records come out."""

import io
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import headstart
from headstart.classify import Classifier
from headstart.classify.errors import ClassifierError
from headstart.extract import EngineOptions, SourceOptions, embed, open_store
from headstart.extract.errors import ImagesError, SourceError
from headstart.files.errors import HeadstartError, MissingExtraError, OptionError


@pytest.fixture(scope="module")
def classifier(tiny_classifier):
    with headstart.load(tiny_classifier, options=EngineOptions(workers=2)) as classifier:
        yield classifier


@pytest.fixture(scope="module")
def good(tiny_photos, tmp_path_factory) -> Path:
    """The photos without the broken one."""
    folder = tmp_path_factory.mktemp("good") / "photos"
    shutil.copytree(tiny_photos, folder)
    (folder / "ash" / "broken.png").unlink()
    return folder


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.png"))


def labels(folder: Path) -> list[str]:
    return [path.parent.name for path in files(folder)]


def as_table(folder: Path) -> Path:
    """Write a list beside the photos."""
    to = folder.with_name("list.csv")
    to.write_text("path\n" + "".join(f"{path}\n" for path in files(folder)))
    return to


def as_archive(folder: Path, to: Path) -> str:
    return shutil.make_archive(str(to / "photos"), "tar", folder)


def as_store(folder: Path, to: Path, backbone: Path) -> Path:
    embed(folder, backbone, to / "photos.h5", dtype="float32")
    return to / "photos.h5"


SEVERAL = {
    "paths": lambda folder, *_: files(folder),
    "tuple of texts": lambda folder, *_: tuple(map(str, files(folder))),
    "array of texts": lambda folder, *_: np.array([str(path) for path in files(folder)]),
    "generator": lambda folder, *_: (path for path in files(folder)),
    "bytes": lambda folder, *_: [path.read_bytes() for path in files(folder)],
    "Pillow": lambda folder, *_: [Image.open(path) for path in files(folder)],
    "arrays": lambda folder, *_: [np.asarray(Image.open(path)) for path in files(folder)],
    "one array": lambda folder, *_: np.stack([np.asarray(Image.open(path)) for path in files(folder)]),
    "mixed": lambda folder, *_: [path if n % 2 else Image.open(path) for n, path in enumerate(files(folder))],
    "folder": lambda folder, *_: folder,
    "text of a folder": lambda folder, *_: f"{folder}/",
    "list": lambda folder, *_: as_table(folder),
    "archive": lambda folder, to, _: as_archive(folder, to),
    "path of a store": lambda folder, to, backbone: as_store(folder, to, backbone),
    "store": lambda folder, to, backbone: open_store(as_store(folder, to, backbone)),
}


@pytest.mark.parametrize("form", SEVERAL)
def test_several_images_are_classified_in_order(classifier, good, tiny_backbone, tmp_path, form):
    images = SEVERAL[form](good, tmp_path, tiny_backbone)
    names = classifier.predict(images)
    assert names.tolist() == labels(good)


@pytest.mark.parametrize("form", SEVERAL)
def test_probabilities_depend_on_the_image_alone(classifier, good, tiny_backbone, tmp_path, form):
    found = classifier.predict_proba(SEVERAL[form](good, tmp_path, tiny_backbone))
    assert (found.shape, found.dtype) == ((60, 3), np.float32)
    np.testing.assert_allclose(found, classifier.predict_proba(good), atol=1e-4)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


ONE = {
    "path": lambda path: path,
    "text": str,
    "bytes": Path.read_bytes,
    "Pillow": Image.open,
    "array": lambda path: np.asarray(Image.open(path)),
    "list of one": lambda path: [path],
    "no suffix": lambda path: path.with_suffix(""),
}


@pytest.mark.parametrize("form", ONE)
def test_one_image_needs_no_list(classifier, good, tmp_path, form):
    path = Path(shutil.copy(files(good)[0], tmp_path))
    shutil.copy(path, path.with_suffix(""))
    assert classifier.predict(ONE[form](path)).tolist() == ["ash"]


def test_urls_are_read(classifier, good):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.put(str(good), "/bucket/photos", recursive=True)
    try:
        assert classifier.predict("memory://bucket/photos").tolist() == labels(good)
        one = [f"memory://bucket/photos/{path.relative_to(good)}" for path in files(good)[::20]]
        assert classifier.predict(one).tolist() == ["ash", "birch", "cedar"]
        assert classifier.predict(one[2]).tolist() == ["cedar"]
    finally:
        memory.rm("/bucket", recursive=True)


@pytest.mark.parametrize("nothing", [[], (), np.array([], str), np.zeros((0, 8, 8, 3), np.uint8)])
def test_no_images_give_empty_arrays(classifier, nothing):
    assert classifier.predict(nothing).shape == (0,)
    assert classifier.predict_proba(nothing).shape == (0, 3)
    assert len(classifier.predictions(nothing)) == 0


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_an_image_that_fails_is_named_and_never_guessed(classifier, good, method):
    images = [files(good)[0], "gone.jpg", b"", np.zeros((2, 2))]
    with pytest.raises(ImagesError, match="3 of 4 images") as caught:
        getattr(classifier, method)(images)
    for part in ("gone.jpg: no such file", "image[2]: empty file", "image[3]: expected an array"):
        assert part in str(caught.value)


def test_of_many_failures_a_few_are_named(classifier):
    with pytest.raises(ImagesError, match=r"image\[4\]: empty file; and 15 more"):
        classifier.predict([b""] * 20)


@pytest.mark.parametrize("kind", ["folder", "store"])
def test_records_include_what_failed(classifier, tiny_photos, tiny_store, kind):
    images = {"folder": tiny_photos, "store": open_store(tiny_store)}[kind]
    found = classifier.predictions(images, top=2)
    assert [one.path for one in found] == open_store(tiny_store).paths
    failed = {one.path: one.reason for one in found if one.reason}
    assert failed == open_store(tiny_store).failures
    assert found.failed == 1
    for one, probabilities in zip(found, found.probabilities, strict=True):
        if one.reason:
            assert (one.top, one.unknown, one.distance) == ([], None, None)
            assert np.isnan(probabilities).all()
        else:
            assert one.top[0] == (one.path.partition("/")[0], pytest.approx(probabilities.max()))
            assert len(one.top) == 2
            assert one.top[0][1] >= one.top[1][1]
            assert one.unknown in (True, False)
            assert np.isfinite(one.distance)


def test_records_are_those_that_score_writes(classifier, tiny_photos, tiny_classifier, tmp_path):
    import json

    headstart.score(tiny_photos, tiny_classifier, tmp_path / "scored.jsonl", top=3)
    written = [json.loads(line) for line in (tmp_path / "scored.jsonl").read_text().splitlines()]
    for row, one in zip(written, classifier.predictions(tiny_photos), strict=True):
        expected = one.to_row(3, with_unknown=True)
        numbers = {name for name, value in expected.items() if isinstance(value, float)}
        assert {name: row[name] for name in row if name not in numbers} == {
            name: value for name, value in expected.items() if name not in numbers
        }
        assert all(row[name] == pytest.approx(expected[name], abs=1e-4) for name in numbers)


def test_predictions_are_a_sequence_and_a_table(classifier, tiny_photos):
    pandas = pytest.importorskip("pandas")
    found = classifier.predictions(tiny_photos)
    assert [one.path for one in found[:3]] == [found[number].path for number in range(3)]
    assert found[-1] == list(found)[-1]
    frame = found.to_pandas()
    assert list(frame.columns[:3]) == ["path", "label", "probability"]
    assert len(frame) == len(found) == 61
    failed = frame[frame.reason != ""]
    assert failed.path.tolist() == ["ash/broken.png"]
    assert failed.unknown.isna().all()
    assert failed.probability.isna().all()
    assert frame.unknown.dtype == pandas.BooleanDtype()


def test_a_table_without_pandas_says_what_to_install(classifier, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(MissingExtraError, match="pip install pandas"):
        classifier.predictions([]).to_pandas()


def test_a_notebook_shows_predictions_escaped(classifier, good, tmp_path):
    path = tmp_path / "<script>alert(1).png"
    shutil.copy(files(good)[0], path)
    shown = classifier.predictions([path, b""])._repr_html_()
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert "empty file" in shown
    assert "color" not in shown


def test_notes_on_odd_images_are_passed_on(classifier):
    dark = Image.fromarray(np.full((8, 8), 3000, np.uint16))
    (note,) = classifier.predictions([dark, dark]).notes
    assert note.count == 2


@pytest.mark.parametrize(
    ("images", "error", "text"),
    [
        ("no such folder", SourceError, "no such folder"),
        ("no.csv", SourceError, "no such folder or manifest"),
        ("memory://nowhere/at/all", HeadstartError, "memory://nowhere/at/all"),
    ],
)
def test_what_holds_no_images_is_an_error(classifier, images, error, text):
    with pytest.raises(error, match=text):
        classifier.predictions(images)


def test_a_store_of_another_backbone_is_refused(classifier, make_backbone, tiny_photos, tmp_path):
    make_backbone(tmp_path / "other.onnx", seed=9)
    store, _ = embed(tiny_photos, tmp_path / "other.onnx", tmp_path / "other.h5")
    with pytest.raises(ClassifierError, match=r"other\.h5: its embeddings come from backbone"):
        classifier.predict(store)


def test_top_must_be_positive(classifier):
    with pytest.raises(OptionError, match="at least 1, found 0"):
        classifier.predictions([], top=0)


def test_a_backbone_is_no_classifier(tiny_backbone):
    with pytest.raises(ClassifierError, match="expected a classifier, found a backbone"):
        headstart.load(tiny_backbone)


def test_it_says_what_it_is(classifier, tiny_classifier):
    assert classifier.classes_.tolist() == ["ash", "birch", "cedar"]
    assert repr(classifier) == f"<Classifier {tiny_classifier}: ash, birch, cedar>"
    assert "ash, birch, cedar" in classifier._repr_html_()


def test_a_list_may_name_files_below_another_folder(classifier, good, tmp_path):
    (tmp_path / "list.csv").write_text("path\nash/000.png\ncedar/000.png\n")
    found = classifier.predictions(tmp_path / "list.csv", source_options=SourceOptions(root=good))
    assert [one.top[0][0] for one in found] == ["ash", "cedar"]


def test_a_store_needs_neither_model_nor_processes(tiny_classifier, tiny_store):
    with headstart.load(tiny_classifier) as classifier:
        classifier.predictions(tiny_store)
        assert classifier._engine is None


def test_it_opens_again_after_it_was_closed(tiny_classifier, good):
    classifier = headstart.load(tiny_classifier)
    for _ in range(2):
        assert classifier.predict(files(good)[0]).tolist() == ["ash"]
        classifier.close()
    classifier.close()


def test_many_threads_may_ask_at_once_also_for_the_first_time(tiny_classifier, good):
    images = [(path, path.read_bytes()) for path in files(good)]
    start = threading.Barrier(6)

    def ask(number: int) -> list[str]:
        start.wait()
        return [str(name) for pair in images[number::6] for name in classifier.predict(pair)]

    with headstart.load(tiny_classifier) as classifier, ThreadPoolExecutor(6) as pool:
        for number, found in enumerate(pool.map(ask, range(6))):
            assert found == [path.parent.name for path, _ in images[number::6] for _ in range(2)]


def test_the_names_of_the_classes_may_be_any_text(tiny_backbone, draw_photos, tmp_path):
    folder = draw_photos(tmp_path / "photos", {"naïve": 8, "日本": 8})
    store, _ = embed(folder, tiny_backbone, tmp_path / "photos.h5")
    headstart.train(store, tmp_path / "c.onnx")
    with headstart.load(tmp_path / "c.onnx") as classifier:
        assert isinstance(classifier, Classifier)
        assert classifier.predict(folder).tolist() == ["naïve"] * 8 + ["日本"] * 8
        data = io.BytesIO((folder / "日本" / "000.png").read_bytes())
        assert classifier.predict(Image.open(data)).tolist() == ["日本"]
