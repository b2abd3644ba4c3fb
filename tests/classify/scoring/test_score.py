import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from headstart.classify.artifact.write import write_classifier
from headstart.classify.classifier import load
from headstart.classify.errors import ClassifierError, PredictionError
from headstart.classify.scoring.predictions import SINKS
from headstart.classify.scoring.score import score
from headstart.classify.training import train
from headstart.extract import Share, embed
from headstart.extract.errors import ExtractError, SourceError, StoreError
from headstart.extract.pipeline import EngineOptions
from headstart.extract.store.store import open_store
from headstart.files.errors import OptionError, OutputError

KILLED_AFTER_80_ROWS = """
import os, signal, sys
import headstart.extract.store.writer
from headstart.classify import score

headstart.extract.store.writer.ROWS_A_SHARD = 16
score(*sys.argv[1:], progress=lambda state: state.done >= 80 and os.kill(os.getpid(), signal.SIGKILL))
"""


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def table(path: Path) -> list[dict]:
    """Read predictions of any format."""
    if path.suffix == ".parquet":
        return pyarrow.parquet.read_table(path).to_pylist()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return rows(path)


@pytest.fixture
def scored(tiny_photos, tiny_classifier, tmp_path):
    return score(tiny_photos, tiny_classifier, tmp_path / "predictions.csv")


def test_a_folder_is_scored_and_counted(scored, tiny_photos):
    assert (scored.inputs, scored.scored, scored.failed) == (61, 60, 1)
    assert scored.counts == {"ash": 20, "birch": 20, "cedar": 20}
    assert (scored.labelled, scored.agreeing) == (60, 60)
    assert scored.provider == "CPUExecutionProvider"
    found = rows(scored.output)
    paths = [os.fspath(path.relative_to(tiny_photos)) for path in tiny_photos.rglob("*.png")]
    assert [row["path"] for row in found] == sorted(paths)
    assert {row["label"] for row in found if row["path"].startswith("ash/0")} == {"ash"}


def test_an_image_that_fails_is_a_row_with_its_reason(scored):
    (failed,) = [row for row in rows(scored.output) if row["status"] == "failed"]
    assert failed["path"] == "ash/broken.png"
    assert failed["reason"].startswith("not an image but a text file")
    assert failed["label"] == failed["probability"] == failed["label_3"] == ""


def test_probabilities_fall_and_sum_to_one(scored):
    for row in rows(scored.output):
        if row["status"] == "ok":
            found = [float(row[f"probability{place}"]) for place in ("", "_2", "_3")]
            assert found == sorted(found, reverse=True)
            assert sum(found) == pytest.approx(1, abs=1e-6)
            assert {row[f"label{place}"] for place in ("", "_2", "_3")} == {"ash", "birch", "cedar"}


def test_a_store_scores_like_its_photos(scored, tiny_store, tiny_classifier, tmp_path):
    stored = score(tiny_store, tiny_classifier, tmp_path / "stored.csv")
    assert stored.provider is None
    assert (stored.inputs, stored.failed, stored.counts) == (scored.inputs, scored.failed, scored.counts)
    for row, other in zip(rows(scored.output), rows(stored.output), strict=True):
        assert [row[name] for name in ("path", "status", "label", "reason")] == [
            other[name] for name in ("path", "status", "label", "reason")
        ]
        if row["status"] == "ok":
            assert float(row["probability"]) == pytest.approx(float(other["probability"]), abs=2e-3)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@pytest.mark.parametrize("options", [EngineOptions(workers=1, batch_size=1), EngineOptions("cpu", 3, 64)])
def test_how_the_machine_is_used_changes_nothing(
    tiny_photos, tiny_classifier, assert_same_predictions, tmp_path, options, suffix
):
    reference, other = (tmp_path / f"{name}{suffix}" for name in ("reference", "other"))
    score(tiny_photos, tiny_classifier, reference)
    score(tiny_photos, tiny_classifier, other, options=options)
    assert_same_predictions(table(other), table(reference))


def test_a_store_may_be_a_folder_of_shards(tiny_photos, tiny_backbone, tiny_classifier, tmp_path):
    from headstart.extract import embed

    embed(tiny_photos, tiny_backbone, tmp_path / "photos.emb")
    assert score(tmp_path / "photos.emb", tiny_classifier, tmp_path / "p.csv").provider is None


def test_a_manifest_is_scored_with_its_missing_files_as_failures(tiny_photos, tiny_classifier, tmp_path):
    shutil.copytree(tiny_photos, tmp_path / "photos")
    (tmp_path / "photos" / "some.csv").write_text("path,label\nash/000.png,birch\ncedar/001.png,fir\ngone.png,ash\n")
    summary = score(tmp_path / "photos" / "some.csv", tiny_classifier, tmp_path / "p.csv")
    assert (summary.inputs, summary.scored, summary.failed) == (3, 2, 1)
    assert (summary.labelled, summary.agreeing) == (1, 0)  # a fir is no class that could be agreed on
    assert [(row["path"], row["reason"]) for row in rows(summary.output)][2] == ("gone.png", "no such file")


def test_photos_without_labels_are_scored(draw_photos, tiny_classifier, tmp_path):
    folder = draw_photos(tmp_path / "photos", {"ash": 3}) / "ash"
    summary = score(folder, tiny_classifier, tmp_path / "p.csv")
    assert (summary.scored, summary.labelled, summary.agreeing) == (3, 0, 0)


@pytest.mark.parametrize(("top", "places"), [(1, 1), (2, 2), (3, 3), (99, 3)])
def test_no_more_classes_are_written_than_there_are(tiny_store, tiny_classifier, tmp_path, top, places):
    summary = score(tiny_store, tiny_classifier, tmp_path / "p.csv", top=top)
    assert sum(name.startswith("label") for name in rows(summary.output)[0]) == places


def test_names_of_any_bytes_are_scored(draw_photos, tiny_classifier, tmp_path):
    folder = os.fsencode(draw_photos(tmp_path / "photos", {"ash": 1}))
    for name in (b"caf\xe9.png", b"a\nb.png", b'c,"d".png'):
        shutil.copy(folder + b"/ash/000.png", folder + b"/ash/" + name)
    summary = score(tmp_path / "photos", tiny_classifier, tmp_path / "p.csv")
    assert [row["path"] for row in rows(summary.output)] == [
        "ash/000.png",
        "ash/a\nb.png",
        'ash/c,"d".png',
        "ash/caf\\xe9.png",
    ]


def test_nothing_else_is_left_behind(tiny_photos, tiny_classifier, tmp_path, contents_of):
    score(tiny_photos, tiny_classifier, tmp_path / "predictions.csv")
    assert list(contents_of(tmp_path)) == ["predictions.csv"]
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_a_killed_run_goes_on_and_ends_with_the_same_rows(
    draw_photos, tiny_classifier, assert_same_predictions, tmp_path, contents_of
):
    photos = draw_photos(tmp_path / "photos", {"ash": 100, "birch": 100})
    output, whole = tmp_path / "out" / "predictions.csv", tmp_path / "whole.csv"
    output.parent.mkdir()
    command = [sys.executable, "-c", KILLED_AFTER_80_ROWS, photos, tiny_classifier, output]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert not output.exists()
    assert len(list(output.with_name("predictions.csv.parts").glob("part-*.h5"))) == 5
    score(photos, tiny_classifier, whole)
    seen: list[int] = []
    summary = score(photos, tiny_classifier, output, progress=lambda state: seen.append(state.done))
    assert (seen[0], seen[-1], summary.inputs) == (81, 200, 200)
    assert_same_predictions(table(output), table(whole))
    assert list(contents_of(output.parent)) == ["predictions.csv"]


def test_what_was_left_by_another_classifier_is_refused(draw_photos, tiny_classifier, clustered, tmp_path):
    photos = draw_photos(tmp_path / "photos", {"ash": 50, "birch": 50})
    output = tmp_path / "predictions.csv"
    subprocess.run([sys.executable, "-c", KILLED_AFTER_80_ROWS, photos, tiny_classifier, output], check=False)
    other = train(clustered(), tmp_path / "other.onnx").path
    with pytest.raises(StoreError, match=r"predictions\.csv\.parts: holds rows of another model"):
        score(photos, other, output)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"top": 0}, OptionError, "must be at least 1, found 0"),
        ({"output": "p.txt"}, PredictionError, r"p\.txt: expected a name that ends in one of"),
        ({"output": "gone/p.csv"}, OutputError, "its folder .*gone does not exist"),
        ({"output": "folder.csv"}, OutputError, r"folder\.csv: expected the name of a file to write, found a folder"),
        ({"images": "gone"}, SourceError, "gone: no such folder or manifest"),
        ({"images": "gone.h5"}, StoreError, r"gone\.h5: no such store"),
        ({"images": "folder.csv"}, SourceError, "found no files at all"),
        ({"options": EngineOptions("abacus")}, ExtractError, "unknown provider 'abacus'; expected auto or one of"),
    ],
)
def test_what_cannot_be_used_is_said_before_anything_is_written(
    tiny_photos, tiny_classifier, tmp_path, contents_of, changed, error, message
):
    (tmp_path / "folder.csv").mkdir()
    chosen = {"images": tiny_photos, "output": tmp_path / "p.csv"} | changed
    chosen |= {name: tmp_path / chosen[name] for name in ("images", "output")}
    with pytest.raises(error, match=message):
        score(classifier=tiny_classifier, **chosen)
    assert contents_of(tmp_path) == {}


@pytest.mark.parametrize("read", ["manifest", "classifier"])
@pytest.mark.parametrize("is_link", [False, True])
def test_what_is_read_is_not_written_over(draw_photos, tiny_classifier, tmp_path, contents_of, read, is_link):
    photos = draw_photos(tmp_path / "photos", {"ash": 1})
    given = {"manifest": photos / "all.csv", "classifier": tmp_path / "classifier.csv"}
    given["manifest"].write_text("path\nash/000.png\n")
    shutil.copy(tiny_classifier, given["classifier"])
    output = given[read]
    if is_link:
        output = tmp_path / "link.csv"
        output.symlink_to(given[read])
    before = contents_of(tmp_path)
    with pytest.raises(
        PredictionError, match=rf"{given[read].name}: is also an input; write the predictions to another file"
    ):
        score(given["manifest"], given["classifier"], output)
    assert contents_of(tmp_path) == before


def test_what_a_killed_run_left_of_its_table_is_removed(tiny_photos, tiny_classifier, tmp_path, contents_of):
    for name in ("p.csv", "my-p.csv"):
        (tmp_path / f".tmp-4194304-{name}").write_bytes(b"path,status")
    score(tiny_photos, tiny_classifier, tmp_path / "p.csv")
    assert sorted(contents_of(tmp_path)) == [".tmp-4194304-my-p.csv", "p.csv"]


def test_a_backbone_cannot_score(tiny_photos, tiny_backbone, tmp_path):
    with pytest.raises(ClassifierError, match="expected a classifier, found a backbone"):
        score(tiny_photos, tiny_backbone, tmp_path / "p.csv")


def test_a_store_of_another_backbone_is_refused(make_backbone, tiny_photos, tiny_classifier, tmp_path, contents_of):
    from headstart.extract import embed

    embed(tiny_photos, make_backbone(tmp_path / "other.onnx", seed=1), tmp_path / "other.h5")
    before = contents_of(tmp_path)
    with pytest.raises(ClassifierError, match=r"other\.h5: its embeddings come from backbone"):
        score(tmp_path / "other.h5", tiny_classifier, tmp_path / "p.csv")
    assert contents_of(tmp_path) == before


def test_stored_rows_score_as_the_head_does(tiny_store, tiny_classifier, tmp_path):
    from headstart.classify.artifact.classifier import read_classifier

    score(tiny_store, tiny_classifier, tmp_path / "p.csv")
    store, model = open_store(tiny_store), read_classifier(tiny_classifier)
    expected = model.probabilities(store.embeddings(store.is_embedded)).max(axis=1)
    found = [float(row["probability"]) for row in rows(tmp_path / "p.csv") if row["status"] == "ok"]
    assert np.allclose(found, expected, atol=1e-6)


# None of these.


@pytest.fixture
def with_strangers(tiny_photos, tmp_path) -> Path:
    """The photos, and three that are none of their classes: noise."""
    folder = shutil.copytree(tiny_photos, tmp_path / "mixed")
    (folder / "zzz").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "zzz" / f"{number}.png")
    return folder


@pytest.mark.parametrize("suffix", SINKS)
def test_strangers_are_marked_in_every_format(with_strangers, tiny_classifier, tmp_path, suffix):
    summary = score(with_strangers, tiny_classifier, tmp_path / f"p{suffix}", top=1)
    found = table(summary.output)
    assert list(found[0]) == ["path", "status", "label", "probability", "unknown", "distance", "reason"]
    marked = [row["path"] for row in found if row["unknown"] == "yes"]
    assert marked[-3:] == ["zzz/0.png", "zzz/1.png", "zzz/2.png"]
    assert len(marked) == summary.unknown <= 3 + 6
    assert {row["unknown"] for row in found if row["status"] == "ok"} == {"yes", "no"}
    assert [row["unknown"] or None for row in found if row["status"] == "failed"] == [None]
    far = [float(row["distance"]) for row in found if row["path"].startswith("zzz")]
    assert min(far) > max(float(row["distance"]) for row in found if row["unknown"] == "no")


def test_images_and_their_store_are_marked_alike(with_strangers, tiny_backbone, tiny_classifier, tmp_path):
    from headstart.extract import embed

    embed(with_strangers, tiny_backbone, tmp_path / "s.h5", dtype="float32")
    of_images, of_store = (
        score(given, tiny_classifier, tmp_path / f"{name}.csv")
        for name, given in (("images", with_strangers), ("store", tmp_path / "s.h5"))
    )
    assert of_images.unknown == of_store.unknown > 0
    for one, other in zip(rows(of_images.output), rows(of_store.output), strict=True):
        assert (one["path"], one["label"], one["unknown"]) == (other["path"], other["label"], other["unknown"])
        distances = (float(row["distance"] or "nan") for row in (one, other))
        assert next(distances) == pytest.approx(next(distances), rel=1e-4, abs=1e-3, nan_ok=True)


def test_a_classifier_that_knows_no_unknown_has_no_such_columns(tiny_photos, tiny_store, tmp_path):
    path = train(tiny_store, tmp_path / "c.onnx", false_alarms=0).path
    for given in (tiny_photos, tiny_store):
        summary = score(given, path, tmp_path / "p.csv")
        assert summary.unknown is None
        assert not {"unknown", "distance"} & set(rows(summary.output)[0])


def test_a_classifier_with_class_thresholds_alone_marks_unknown_without_a_distance(tiny_photos, tiny_store, tmp_path):
    result = train(tiny_store, tmp_path / "c.onnx", false_alarms=0, precision={"all": 0.5})
    thresholds = {name: replace(one, probability=0.99999) for name, one in result.thresholds.items()}
    path = tmp_path / "strict.onnx"
    write_classifier(path, result.fitted_head, open_store(tiny_store), thresholds=thresholds)
    for given in (tiny_photos, tiny_store):
        summary = score(given, path, tmp_path / "p.csv")
        found = [row for row in rows(summary.output) if row["status"] == "ok"]
        assert summary.unknown == sum(row["unknown"] == "yes" for row in found) > 0
        assert {row["distance"] for row in found} == {""}
        assert {row["unknown"] for row in found if float(row["probability"]) < 0.9999} == {"yes"}
        with load(path) as model:
            answered = model.predictions(given)
        assert [one.unknown for one in answered if not one.reason] == [row["unknown"] == "yes" for row in found]
        assert {one.distance for one in answered} == {None}


def test_images_are_scored_in_the_views_that_were_trained_on(tiny_backbone, with_views, tiny_photos, tmp_path):
    from headstart.extract import embed

    store, _ = embed(tiny_photos, with_views(tiny_backbone, 2), tmp_path / "s.h5", dtype="float32")
    path = train(store, tmp_path / "c.onnx").path
    of_images, of_store = (score(given, path, tmp_path / "p.csv", top=1) for given in (tiny_photos, tmp_path / "s.h5"))
    assert (of_images.scored, of_images.agreeing, of_images.unknown) == (60, 60, of_store.unknown)


@pytest.mark.parametrize("what", ["tiny_photos", "tiny_store"])
def test_the_tables_of_all_shares_are_that_of_one_run(
    request, what, tiny_classifier, assert_same_predictions, tmp_path
):
    images = request.getfixturevalue(what)
    score(images, tiny_classifier, tmp_path / "whole.csv")
    parts = [tmp_path / f"{number}.csv" for number in (1, 2, 3)]
    runs = [score(images, tiny_classifier, part, share=Share(i, 3)) for i, part in enumerate(parts, start=1)]
    assert sum(run.inputs for run in runs) == 61 > max(run.inputs for run in runs)
    found = [row for part in parts for row in rows(part)]
    assert_same_predictions(sorted(found, key=lambda row: row["path"]), rows(tmp_path / "whole.csv"))


def test_a_share_takes_no_rows_from_a_run_of_another_that_was_cut_off(tiny_photos, tiny_classifier, tmp_path):
    def stop(state):
        if state.done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score(tiny_photos, tiny_classifier, tmp_path / "p.csv", share=Share(1, 2), progress=stop)
    score(tiny_photos, tiny_classifier, tmp_path / "p.csv", share=Share(2, 2))
    assert rows(tmp_path / "p.csv")
    assert all(Share(2, 2).holds(os.fsencode(row["path"])) for row in rows(tmp_path / "p.csv"))
    assert not (tmp_path / "p.csv.parts").exists()


def test_a_share_leaves_the_rows_of_others_alone_when_images_disappear(
    tiny_photos, tiny_classifier, tmp_path, monkeypatch
):
    photos = shutil.copytree(tiny_photos, tmp_path / "photos")

    def stop(state):
        if state.done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score(photos, tiny_classifier, tmp_path / "p.csv", share=Share(1, 2), progress=stop)
    before = open_store(tmp_path / "p.csv.parts").paths
    (photos / before[0]).unlink()
    monkeypatch.setattr("headstart.classify.scoring.score.write_predictions", stop_before_writing)
    with pytest.raises(KeyboardInterrupt):
        score(photos, tiny_classifier, tmp_path / "p.csv", share=Share(2, 2))
    assert set(before) < set(open_store(tmp_path / "p.csv.parts").paths)


def stop_before_writing(*_, **__):
    raise KeyboardInterrupt


def test_progress_of_scoring_says_so(tiny_photos, tiny_classifier, tmp_path):
    seen = []
    score(tiny_photos, tiny_classifier, tmp_path / "p.csv", progress=seen.append)
    assert {state.stage for state in seen} == {"scoring"}
    assert (seen[-1].done, seen[-1].total, seen[-1].failed) == (61, 61, 1)


@pytest.fixture
def dated(tiny_photos, tmp_path) -> Path:
    """Give 4 photos of which one states its time, camera and position, and one that fails."""
    exif = Image.Exif()
    exif[0x110] = "=EOS"
    exif.get_ifd(0x8769)[0x9003] = "2024:05:01 12:30:00"
    exif.get_ifd(0x8825).update({1: "S", 2: (33.0, 30.0, 0.0), 3: "E", 4: (18.0, 0.0, 0.0)})
    (tmp_path / "dated").mkdir()
    for name, given in (("a", exif.tobytes()), ("b", b""), ("c", b"")):
        Image.open(tiny_photos / "ash" / "001.png").save(tmp_path / "dated" / f"{name}.jpg", exif=given)
    (tmp_path / "dated" / "d.jpg").write_bytes(b"no image")
    return tmp_path / "dated"


METADATA = ["taken", "camera", "latitude", "longitude"]
STATED = {"taken": "2024-05-01T12:30:00", "camera": "=EOS", "latitude": -33.5, "longitude": 18.0}


@pytest.mark.parametrize("suffix", SINKS)
def test_metadata_are_passed_on(dated, tiny_backbone, tiny_classifier, tmp_path, suffix):
    store, output = tmp_path / "dated.h5", tmp_path / f"predictions{suffix}"
    embed(dated, tiny_backbone, store, metadata=True)
    for images, asked in ((store, False), (store, True), (dated, True)):
        score(images, tiny_classifier, output, metadata=asked)
        first, *others = table(output)
        assert list(first)[-4:] == METADATA
        stated = STATED | {"camera": "'=EOS"} if suffix == ".csv" else STATED
        assert {name: first[name] for name in METADATA} == {
            name: str(value) if suffix == ".csv" else value for name, value in stated.items()
        }
        assert [{row[name] for name in METADATA} for row in others] == [{"" if suffix == ".csv" else None}] * 3
    score(dated, tiny_classifier, output)
    assert not set(METADATA) & set(table(output)[0])


def test_photos_show_no_metadata_that_an_interrupted_run_has_read(dated, tiny_classifier, tmp_path):
    def stop(progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score(dated, tiny_classifier, tmp_path / "predictions.csv", metadata=True, progress=stop)
    score(dated, tiny_classifier, tmp_path / "predictions.csv")
    assert not set(METADATA) & set(rows(tmp_path / "predictions.csv")[0])


def test_a_store_without_metadata_cannot_pass_them_on(tiny_store, tiny_classifier, tmp_path):
    with pytest.raises(StoreError, match="again with --metadata"):
        score(tiny_store, tiny_classifier, tmp_path / "predictions.csv", metadata=True)
    assert not (tmp_path / "predictions.csv").exists()


def test_predictions_in_python_carry_metadata(dated, tiny_backbone, tiny_classifier, tmp_path):
    pandas = pytest.importorskip("pandas")
    store, _ = embed(dated, tiny_backbone, tmp_path / "dated.h5", metadata=True)
    with load(tiny_classifier) as classifier:
        for images in (store, dated, [dated / "a.jpg", dated / "b.jpg"]):
            found = classifier.predictions(images, metadata=True)
            assert (found[0].metadata.taken, found[0].metadata.latitude) == (STATED["taken"], -33.5)
            frame = found.to_pandas()
            assert frame["taken"].tolist()[:2] == [pandas.Timestamp(STATED["taken"]), pandas.NaT]
            assert frame["longitude"][0] == 18.0
        assert classifier.predictions(dated)[0].metadata is None
        assert "taken" not in classifier.predictions(dated).to_pandas()
        without, _ = embed(dated, tiny_backbone, tmp_path / "without.h5")
        with pytest.raises(StoreError, match="again with --metadata"):
            classifier.predictions(without, metadata=True)
