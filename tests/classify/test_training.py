import json
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest

from classify.classifier import read_classifier
from classify.errors import ClassifierError, HeadError, LabelError
from classify.heads import HEADS, HeadOptions
from classify.splitting import digest_of_rows
from classify.training import train
from extract.errors import OutputError, StoreError
from extract.store import open_store

TRAIN_AND_EVALUATE = """
import sys
from classify.evaluation import evaluate
from classify.training import train

evaluate(sys.argv[1], train(*sys.argv[1:]).path)
print(*sorted({"onnxruntime", "PIL", "tensorflow"} & set(sys.modules)))
"""


@pytest.mark.parametrize("head", HEADS)
def test_a_store_becomes_a_classifier(tiny_store, tmp_path, head):
    result = train(tiny_store, tmp_path / "classifier.onnx", head=head)
    assert result.path == tmp_path / "classifier.onnx"
    assert result.classifier.classes == read_classifier(result.path).classes == ["ash", "birch", "cedar"]
    assert result.trained_images + result.evaluation.images == 60
    assert result.judged_on == "a hold-out of 20% by content"
    assert result.evaluation.accuracy == 1
    assert result.is_backbone_trained
    assert result.head.predict_proba(open_store(tiny_store).embeddings(np.arange(1, 3))).shape == (2, 3)


def test_an_open_store_serves_like_its_path(tiny_store, tmp_path):
    for name, store in (("path.onnx", tiny_store), ("text.onnx", os.fspath(tiny_store)), ("open.onnx", None)):
        train(store or open_store(tiny_store), tmp_path / name)
    assert len({path.read_bytes() for path in tmp_path.glob("*.onnx")}) == 1


def test_the_rows_judged_are_not_trained_on(clustered, tmp_path, monkeypatch):
    import classify.training

    fitted = []
    fit = classify.training.fit_head
    monkeypatch.setattr(classify.training, "fit_head", lambda head, x, *rest: fitted.append(x) or fit(head, x, *rest))
    store = clustered(90, splits=["train"] * 60 + ["val"] * 30)
    result = train(store, tmp_path / "classifier.onnx")
    assert np.array_equal(fitted[0], store.embeddings(np.arange(60)))
    assert (result.trained_images, result.evaluation.images) == (60, 30)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_the_share_held_out_can_be_chosen(clustered, tmp_path, share):
    result = train(clustered(600), tmp_path / "classifier.onnx", holdout=share)
    assert result.evaluation.images == 600 * share
    assert result.classifier.model.metadata["trained_on"]["holdout"] == share


@pytest.mark.parametrize("share", [-0.1, 0, 1, 1.5, float("nan")])
def test_a_share_out_of_range_is_refused(clustered, tmp_path, share):
    with pytest.raises(LabelError, match="the share to hold out must lie between 0 and 1"):
        train(clustered(), tmp_path / "classifier.onnx", holdout=share)


def test_where_it_came_from_is_written_down(tiny_store, tmp_path):
    options = HeadOptions(c=0.5, seed=3, class_weight="balanced")
    result = train(tiny_store, tmp_path / "classifier.onnx", options=options)
    said = json.loads(onnx.load(result.path).metadata_props[0].value)
    assert said["head"] == {"name": "logreg", "c": 0.5, "hidden": [256], "class_weight": "balanced", "seed": 3}
    assert said["trained_on"]["store"] == "photos.h5"
    assert said["trained_on"]["rows_sha256"] == digest_of_rows(open_store(tiny_store))
    assert said["trained_on"]["holdout"] == 0.2
    assert said["trained_on"]["images"] == result.trained_images
    assert said["trained_on"]["judged_on"] == result.judged_on
    assert set(said["trained_on"]["versions"]) == {"headstart", "scikit-learn", "numpy", "onnx"}
    assert said["measured"]["accuracy"] == result.evaluation.accuracy
    assert said["measured"]["log_loss"] == result.evaluation.log_loss


@pytest.mark.parametrize("column", ["labels", "contents", "splits", "paths"])
def test_the_digest_of_the_data_changes_with_each_column(make_store, tmp_path, column):
    labels = ["ash", "birch"] * 10
    changed = {
        "labels": ["birch", "ash"] * 10,
        "contents": [f"new {row}" for row in range(20)],
        "splits": ["train"] * 20,
        "paths": [f"new-{row:02}.jpg" for row in range(20)],
    }
    digests = []
    for name, columns in (("old.h5", {"labels": labels}), ("new.h5", {"labels": labels, column: changed[column]})):
        made = train(make_store(name=name, **columns), tmp_path / f"{name}.onnx", options=HeadOptions(c=1e-4))
        digests.append(made.classifier.model.metadata["trained_on"]["rows_sha256"])
    assert digests[0] != digests[1]


def test_class_weights_reach_the_head(clustered, clusters, make_store, tmp_path):
    vectors, codes = clusters(400, 2, spread=4.0)
    kept = np.flatnonzero((codes == 0) | (np.arange(400) % 16 == 1))
    store = make_store([("ash", "birch")[code] for code in codes[kept]], vectors[kept])
    recall = [
        train(store, tmp_path / f"{weight}.onnx", options=HeadOptions(class_weight=weight)).head.predict(vectors[kept])
        for weight in ("none", "balanced")
    ]
    assert (recall[1] == 1).sum() > (recall[0] == 1).sum()


@pytest.mark.parametrize("head", HEADS)
def test_a_seed_decides_hold_out_and_head(clustered, tmp_path, head):
    store = clustered(90)
    made = [
        train(store, tmp_path / f"{number}.onnx", head=head, options=HeadOptions(seed=seed)).path.read_bytes()
        for number, seed in enumerate((0, 0, 1))
    ]
    assert made[0] == made[1] != made[2]


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"head": "forest"}, HeadError, "unknown head 'forest'; expected one of logreg, mlp"),
        ({"options": HeadOptions(c=-1)}, HeadError, "C must be above 0"),
        ({"options": HeadOptions(seed=2**40)}, HeadError, "seed must lie between"),
        ({"output": "folder.onnx"}, OutputError, r"folder\.onnx: expected the name of a file to write, found a folder"),
        ({"output": "gone/c.onnx"}, OutputError, r"gone/c\.onnx: its folder .*gone does not exist"),
        ({"output": "c.bin"}, ClassifierError, r"c\.bin: expected a name that ends in \.onnx"),
        ({"store": "gone.h5"}, StoreError, r"gone\.h5: no such store"),
    ],
)
def test_what_cannot_be_used_is_said_and_nothing_is_written(tiny_store, tmp_path, contents_of, changed, error, message):
    (tmp_path / "folder.onnx").mkdir()
    chosen = {"store": tiny_store, "output": "c.onnx"} | changed
    chosen |= {name: tmp_path / chosen[name] for name in ("store", "output")}
    with pytest.raises(error, match=message):
        train(**chosen)
    assert contents_of(tmp_path) == {}


def test_a_folder_that_may_not_be_written_is_said_first(tiny_store, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(OutputError, match=r"c\.onnx: cannot be written \(permission denied\)"):
        train(tiny_store, tmp_path / "c.onnx")


def test_a_baseline_says_that_it_is_one(make_backbone, tiny_photos, tmp_path):
    from extract import embed

    weights = {"source": "random", "file": None, "sha256": None, "seed": 0, "trained": False}
    store, _ = embed(tiny_photos, make_backbone(tmp_path / "b.onnx", weights=weights), tmp_path / "photos.h5")
    assert not train(store, tmp_path / "c.onnx").is_backbone_trained


def test_neither_onnxruntime_nor_pillow_is_loaded(tiny_store, tmp_path):
    command = [sys.executable, "-c", TRAIN_AND_EVALUATE, tiny_store, tmp_path / "c.onnx"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
