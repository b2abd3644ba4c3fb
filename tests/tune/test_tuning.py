"""The whole way: tensors, a tuned tail, a backbone like any other."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from headstart.classify import evaluate, read_classifier, score, train
from headstart.classify.errors import LabelError
from headstart.classify.heads.options import HeadOptions
from headstart.classify.heads.registry import HEADS
from headstart.classify.heads.tuned import is_tuned_on
from headstart.cli import app
from headstart.extract import embed, open_store, read_model
from headstart.extract.errors import BusyError, StoreError
from headstart.extract.store.writer import lock_of
from headstart.files.errors import OptionError, OutputError
from headstart.files.progress import Progress
from headstart.tune import Recipe, tune_backbone
from headstart.tune.batches import Rows
from headstart.tune.checkpoint import Epoch, State, load_state, save_state

QUICK = Recipe(epochs=3, learning_rate=3e-3)
HOLD = """
import sys, time
from pathlib import Path
from headstart.extract.store.lock import locked

with locked(*map(Path, sys.argv[1:])):
    print("held", flush=True)
    time.sleep(60)
"""

EMBED_AND_WAIT = """
import sys, time
from headstart.extract.store.writer import StoreWriter
from headstart.tune import tune_backbone

def wait(writer, gone):
    writer.commit()
    print("embedded", flush=True)
    time.sleep(60)

StoreWriter.finish = wait
tune_backbone(*sys.argv[1:])
"""


def test_a_tuned_backbone_is_one_like_any_other(tuned, tensors, photos, tmp_path):
    model = read_model(tuned.path)
    said = model.metadata["tuned"]
    assert model.outputs == {"embedding": (16,)}
    assert (said["block"], said["images"], said["held_out"]) == ("block_1", tuned.images, tuned.held_out)
    assert [epoch["epoch"] for epoch in said["epochs"]] == [1, 2, 3]
    embedded, _ = embed(tensors[2], tuned.path, tmp_path / "embedded.h5")
    again, _ = embed(photos, tuned.path, tmp_path / "photos.h5")
    assert embedded.header.model_sha256 == again.header.model_sha256
    assert np.abs(embedded.embeddings() - again.embeddings()).max() < 2e-3 * np.abs(again.embeddings()).max()
    result = train(embedded, tmp_path / "classifier.onnx")
    assert read_classifier(result.path).classes == ["ash", "birch", "cedar"]
    assert evaluate(again, result.path).images == result.evaluation.images
    assert score(photos, result.path, tmp_path / "predictions.csv").scored == 120


def test_the_best_epoch_is_kept(tuned):
    assert tuned.best.log_loss == min(epoch.log_loss for epoch in tuned.history)
    assert len(tuned.history) == 3
    assert f"only {tuned.held_out} images chose the epoch, so that the choice is uncertain" in tuned.warnings


def test_tuning_learns_what_a_head_cannot(photos_of_both, cut_backbone, frameworks, tmp_path):
    """Whether red goes with stripes is no matter of how much of either there is."""
    embed(photos_of_both, cut_backbone, tmp_path / "tensors.h5")
    recipe = Recipe(epochs=40, patience=40, learning_rate=1e-2, mixup=0.0, label_smoothing=0.0, batch_size=16)
    made = tune_backbone(tmp_path / "tensors.h5", tmp_path / "tuned.onnx", recipe=recipe)
    assert made.best.accuracy > made.frozen[1] + 0.1
    before, _ = embed(tmp_path / "tensors.h5", cut_backbone, tmp_path / "before.h5")
    after, _ = embed(tmp_path / "tensors.h5", made.path, tmp_path / "after.h5")
    poor, good = (train(store, tmp_path / "classifier.onnx").evaluation for store in (before, after))
    assert good.accuracy > poor.accuracy + 0.1
    assert good.log_loss < poor.log_loss


def test_nobody_is_judged_on_what_the_tail_was_tuned_on(tuned, tensors, tmp_path):
    store, _ = embed(tensors[2], tuned.path, tmp_path / "tuned.h5")
    known = is_tuned_on(store)
    assert known.sum() == tuned.images
    result = train(store, tmp_path / "classifier.onnx")
    assert not known[result.split.test].any()
    judged = result.search.rows.folds >= 0
    assert not known[result.split.train[result.search.images[judged]]].any()
    assert known[result.split.train].sum() == tuned.images
    seen = np.isin(np.arange(len(store)), result.split.train[result.search.images[judged]])
    groups = result.duplicates.group_of_rows(len(store))
    rest = [row for row in result.split.train if not (seen[row] or known[row])]
    assert all(known[groups == groups[row]].any() for row in rest), "only duplicates of tuned images are left out"
    assert not is_tuned_on(open_store(tensors[2])).any()


def test_the_head_that_was_tuned_with_the_tail_is_taken(tuned, tensors, tmp_path):
    store, _ = embed(tensors[2], tuned.path, tmp_path / "tuned.h5")
    result = train(store, tmp_path / "classifier.onnx")
    assert result.search.reason.startswith("logreg as it was tuned with the tail")
    assert result.learning_curve.points == []
    again = train(store, tmp_path / "again.onnx", options=HeadOptions(c=0.01))
    assert "tuned" not in again.search.reason
    assert not np.allclose(result.head[-1].coef_, again.head[-1].coef_)
    renamed = replace(store, header=replace(store.header, classes=("oak", "birch", "cedar")))
    assert "tuned" not in train(renamed, tmp_path / "renamed.onnx").search.reason


def test_auto_compares_the_tuned_head_with_heads_fitted_anew(tuned, tensors, tmp_path):
    store, _ = embed(tensors[2], tuned.path, tmp_path / "tuned.h5")
    result, alone = (train(store, tmp_path / f"{head}.onnx", head=head) for head in ("auto", "logreg"))
    assert result.search.candidates[0] == alone.search.chosen
    assert result.search.candidates[0].c is None
    assert {candidate.head for candidate in result.search.candidates[1:]} == set(HEADS)
    assert result.heads[0].log_loss == min(head.log_loss for head in result.heads)
    is_tuned = result.search.chosen == result.search.candidates[0]
    assert result.trained_images == (tuned.images if is_tuned else len(result.split.train))


def test_a_head_tuned_without_class_weights_is_fitted_anew_with_them(tuned, tensors, tmp_path):
    store, _ = embed(tensors[2], tuned.path, tmp_path / "tuned.h5")
    result = train(store, tmp_path / "balanced.onnx", options=HeadOptions(class_weight="balanced"))
    assert "tuned" not in result.search.reason
    assert result.classifier.model.metadata["head"]["class_weight"] == "balanced"
    assert result.trained_images == len(result.split.train)
    header = store.header
    recipe = header.model["tuned"]["recipe"] | {"class_weight": "balanced"}
    model = header.model | {"tuned": header.model["tuned"] | {"recipe": recipe}}
    weighted = replace(store, header=replace(header, model=model))
    for weight in ("none", "balanced"):
        kept = train(weighted, tmp_path / f"{weight}.onnx", options=HeadOptions(class_weight=weight))
        assert kept.search.reason.startswith("logreg as it was tuned with the tail")
        assert kept.classifier.model.metadata["head"]["class_weight"] == "balanced"
        assert kept.trained_images == tuned.images


def test_users_splits_are_kept(tensors, frameworks, tmp_path):
    from headstart.extract.sources.items import SPLITS

    store = open_store(tensors[1])
    split = np.where(np.arange(len(store)) % 4 == 0, SPLITS.index("test"), SPLITS.index("train")).astype(np.int8)
    store = replace(store, rows=replace(store.rows, split=split))
    made = tune_backbone(store, tmp_path / "tuned.onnx", recipe=replace(QUICK, epochs=1))
    embedded, _ = embed(store, made.path, tmp_path / "tuned.h5")
    assert not (is_tuned_on(embedded) & (embedded.splits == "test")).any()
    assert train(embedded, tmp_path / "c.onnx").evaluation.images == (split == SPLITS.index("test")).sum()


def test_classes_with_too_few_photos_are_left_out_as_in_training(tensors, frameworks, tmp_path):
    store = open_store(tensors[1])
    label = np.where(np.arange(len(store)) == np.flatnonzero(store.labels == 0)[0], 3, store.labels).astype(np.int32)
    store = replace(
        store,
        rows=replace(store.rows, label=label),
        header=replace(store.header, classes=[*store.header.classes, "rare"]),
    )
    with pytest.raises(LabelError, match="at least 1, found 0"):
        tune_backbone(store, tmp_path / "tuned.onnx", min_photos=0)
    made = tune_backbone(store, tmp_path / "tuned.onnx", recipe=replace(QUICK, epochs=1), min_photos=2)
    assert "not learned, for want of training images: 'rare'; 1 images" in made.warnings[-1]
    embedded, _ = embed(store, made.path, tmp_path / "tuned.h5")
    result = train(embedded, tmp_path / "c.onnx", min_photos=2)
    assert "rare" not in result.classifier.classes
    assert (result.trained_images, len(result.classifier.classes)) == (made.images, 3)


def test_the_same_seed_gives_the_same_tail(tuned, tensors, tmp_path):
    again = tune_backbone(tensors[2], tmp_path / "again.onnx", recipe=QUICK)
    one, other = (read_model(made.path) for made in (tuned, again))
    assert [epoch.log_loss for epoch in again.history] == pytest.approx([e.log_loss for e in tuned.history], rel=1e-3)
    assert one.metadata["trunk_sha256"] == other.metadata["trunk_sha256"]


def test_a_run_that_was_killed_goes_on_from_its_last_epoch(tuned, tensors, tmp_path):
    output = tmp_path / "tuned.onnx"
    code = (
        "import sys, time; from headstart.tune import Recipe, tune_backbone\n"
        f"tune_backbone({str(tensors[2])!r}, {str(output)!r}, recipe=Recipe(epochs=3, learning_rate=3e-3),"
        " progress=lambda p: p.done and (print(p.done, flush=True), time.sleep(60)))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "1\n"
        run.send_signal(signal.SIGKILL)
    assert not output.exists()
    seen: list[Progress] = []
    made = tune_backbone(tensors[2], output, recipe=QUICK, progress=seen.append)
    assert [state.done for state in seen if state.note] == [1, 2, 3]
    assert [e.log_loss for e in made.history] == pytest.approx([e.log_loss for e in tuned.history], rel=1e-3)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".tuned.onnx.lock", "tuned.onnx"]


def test_remnants_of_a_run_killed_while_embedding_are_deleted_by_the_next(tensors, frameworks, tmp_path):
    output = tmp_path / "tuned.onnx"
    with subprocess.Popen(
        [sys.executable, "-c", EMBED_AND_WAIT, tensors[1], output], stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "embedded\n"
        run.send_signal(signal.SIGKILL)
    assert list(tmp_path.rglob("part-*.h5")), "the kill came while rows were embedded"
    for unfinished in (f".tmp-{run.pid}-tuned.onnx", f".tmp-{run.pid}-tuned.onnx.tuning"):
        (tmp_path / unfinished).write_bytes(b"cut off")
    tune_backbone(tensors[1], output, recipe=replace(QUICK, epochs=1))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".tuned.onnx.lock", "tuned.onnx"]


def test_a_folder_that_cannot_be_made_anew_is_named(tensors, frameworks, tmp_path):
    (tmp_path / ".tuned.onnx.frozen").write_bytes(b"a file of somebody's")
    with pytest.raises(OutputError, match=r"\.tuned\.onnx\.frozen: cannot be created: .*; delete it"):
        tune_backbone(tensors[1], tmp_path / "tuned.onnx", recipe=QUICK)
    assert (tmp_path / ".tuned.onnx.frozen").read_bytes() == b"a file of somebody's"


def test_a_second_run_of_one_output_is_told_at_once_and_touches_nothing(tensors, tmp_path):
    output = tmp_path / "tuned.onnx"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, lock_of(output), output], stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        said: list[Progress] = []
        with pytest.raises(BusyError, match=rf"tuned\.onnx: being written by process {first.pid} on "):
            tune_backbone(tensors[1], output, recipe=QUICK, progress=said.append)
        first.kill()
    assert said == []
    assert [path.name for path in tmp_path.iterdir()] == [".tuned.onnx.lock"]


def test_a_run_holds_the_lock_of_its_output_to_the_end(tensors, frameworks, tmp_path):
    output, refused = tmp_path / "tuned.onnx", []

    def try_beside(state: Progress) -> None:
        with pytest.raises(BusyError, match=rf"by process {os.getpid()} on "):
            tune_backbone(tensors[1], output, recipe=QUICK)
        refused.append(state.stage)

    tune_backbone(tensors[1], output, recipe=replace(QUICK, epochs=1), progress=try_beside)
    assert refused == ["embedding with the untuned tail", "tuning", "tuning", "writing"]
    tune_backbone(tensors[1], output, recipe=replace(QUICK, epochs=1))


def test_a_state_of_another_run_or_a_damaged_one_is_not_gone_on_from(tmp_path):
    place = tmp_path / "tuned.onnx.tuning"
    arrays = [np.arange(6, dtype=np.float32).reshape(2, 3), np.float32(4)]
    shapes = {"now": [(2, 3), ()], "optimizer": [(2, 3), ()]}
    state = State([Epoch(1, 0.5, 0.4, 0.9, 1.0, 2.0)], arrays, arrays, arrays)
    assert load_state(place, "this", shapes) is None
    save_state(place, state, "this")
    found = load_state(place, "this", shapes)
    assert found is not None
    assert found.history == state.history
    for one, other in zip([*found.now, *found.optimizer, *found.best], arrays * 3, strict=True):
        np.testing.assert_array_equal(one, other)
    assert load_state(place, "that", shapes) is None
    data = bytearray(place.read_bytes())
    data[-5] ^= 1
    place.write_bytes(bytes(data))
    assert load_state(place, "this", shapes) is None


def test_what_cannot_be_tuned_is_refused(tensors, tuned, tiny_store, frameworks, tmp_path):
    with pytest.raises(StoreError, match="expected a store of tensors"):
        tune_backbone(tiny_store, tmp_path / "tuned.onnx")
    with pytest.raises(OutputError, match=r"ends in .onnx"):
        tune_backbone(tensors[1], tmp_path / "tuned.h5")
    with pytest.raises(OptionError, match=r"mixup must lie between 0 and 100, found -1"):
        Recipe(mixup=-1)
    with pytest.raises(OptionError, match="class_weight must be none or balanced"):
        Recipe(class_weight="some")


@pytest.mark.parametrize("views", [1, 2])
def test_an_epoch_has_every_row_once_in_an_order_of_its_own(tensors, views):
    store = open_store(tensors[views])
    rows = Rows(store, np.flatnonzero(store.is_embedded)[::2])
    plain = replace(QUICK, mixup=0.0, batch_size=7)
    weights = np.array([1, 2, 3], np.float32)
    first, same, next_ = (list(rows.epoch(number, plain, weights)) for number in (1, 1, 2))
    for (one, truth), (other, again) in zip(first, same, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(truth, again)
    assert not np.array_equal(first[0][0], next_[0][0])
    assert len(first) == len(rows) // 7
    known = {tensor.tobytes() for tensor in store.embeddings(rows.numbers).reshape(-1, 15, 15, 16)}
    given = [tensor.tobytes() for tensors_, _ in first for tensor in tensors_]
    assert set(given) <= known
    assert len(set(given)) == len(given)
    for _, truth in first:
        assert set(truth.sum(axis=1).tolist()) <= {1.0, 2.0, 3.0}
        assert ((truth > 0).sum(axis=1) == 1).all()


def test_mixing_keeps_the_weight_of_an_image(tensors):
    rows = Rows(store := open_store(tensors[1]), np.flatnonzero(store.is_embedded))
    mixed = [truth for _, truth in rows.epoch(1, replace(QUICK, mixup=1.0), np.ones(3, np.float32))]
    assert all(np.allclose(truth.sum(axis=1), 1) for truth in mixed)
    assert any(((truth > 0).sum(axis=1) == 2).any() for truth in mixed)


def test_the_rate_rises_and_falls():
    rates = [Recipe(learning_rate=1.0, warmup=0.2).rate_at(step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.05)
    assert max(rates) == rates[19] == pytest.approx(1.0)
    assert rates[-1] < 1e-3
    assert all(a > b for a, b in pairwise(rates[20:]))


def test_the_command_says_what_it_did(tensors, headstart_run, frameworks, own_signals, tmp_path):
    done = headstart_run(
        "tune", tensors[1], "-o", tmp_path / "tuned.onnx", "--epochs", 2, check=True, warnings="default"
    )
    assert "layers after block_1 tuned on" in done.stdout
    assert "epoch 2/2: training loss" in done.stderr
    # In this process, which has TensorFlow already.
    said = CliRunner().invoke(
        app, ["tune", str(tensors[1]), "-o", str(tmp_path / "tuned.onnx"), "--epochs=1", "--json"]
    )
    assert said.exit_code == 0
    assert json.loads(said.stdout)["block"] == "block_1"
    with h5py.File(tensors[1]) as file:
        assert file["tensor"].shape[1:] == (15, 15, 16)
