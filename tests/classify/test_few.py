"""Training on one to five photos per class."""

import json
import warnings

import numpy as np
import onnx
import pytest

from headstart.classify.classifier import load
from headstart.classify.errors import LabelError
from headstart.classify.evaluation.evaluate import evaluate
from headstart.classify.heads.options import HeadOptions
from headstart.classify.heads.registry import HEADS
from headstart.classify.training import train

PER_CLASS = [1, 2, 3, 4]


@pytest.mark.parametrize("per_class", PER_CLASS)
@pytest.mark.parametrize("head", [*HEADS, "auto"])
def test_all_are_trained_on_and_judged_in_turn(clustered, tmp_path, per_class, head):
    result = train(clustered(3 * per_class), tmp_path / "c.onnx", head=head, report=_report(tmp_path))
    assert result.trained_images == 3 * per_class
    judged = 3 * per_class if per_class > 1 else 0
    assert (result.evaluation.images, len(result.split.test)) == (judged, 0)
    assert result.is_refitted == (per_class > 1)
    assert ("cross-validation" in result.judged_on) == (per_class > 1)
    assert result.calibration is None
    assert result.classifier.probabilities(np.zeros((1, 16), np.float32)).sum() == pytest.approx(1)
    metadata = json.loads(onnx.load(result.path).metadata_props[0].value, parse_constant=pytest.fail)
    assert metadata["measured"]["images"] == judged
    assert metadata["trained_on"]["judged_on"] == result.judged_on
    assert (metadata["measured"]["accuracy"] is None) == (per_class == 1)
    json.dumps(result.evaluation.to_json(), allow_nan=False)
    assert "nan" not in result._repr_html_()
    assert "nan" not in load(result.path)._repr_html_().lower()


def _report(tmp_path):
    pytest.importorskip("jinja2")
    pytest.importorskip("cleanlab")
    return tmp_path / "report.html"


def test_a_report_without_figures_shows_the_photos(clustered, tmp_path):
    train(clustered(3), tmp_path / "c.onnx", report=_report(tmp_path))
    page = (tmp_path / "report.html").read_text()
    assert "Not evaluated: every class has a single photo" in page
    assert 'id="map"' in page
    assert 'id="confusion"' not in page
    assert "nan%" not in page


@pytest.mark.parametrize("per_class", PER_CLASS)
def test_other_photos_evaluate_it_and_its_own_do_not(clustered, clusters, make_store, tmp_path, per_class):
    made = train(clustered(3 * per_class), tmp_path / "c.onnx").path
    with pytest.raises(LabelError, match=r"to evaluate on that .*c\.onnx was not trained on"):
        evaluate(clustered(3 * per_class), made)
    vectors, codes = clusters(60, 3)
    labels = [["ash", "birch", "cedar"][code] for code in codes]
    others = make_store(labels, vectors, contents=[f"other {row}" for row in range(60)], name="others.h5")
    assert evaluate(others, made).accuracy > 0.6


def test_figures_out_of_fold_are_of_heads_that_have_not_seen_the_photo(clustered, make_store, tmp_path):
    store = clustered(12)
    vectors, labels = store.embeddings(), [store.classes[code] for code in store.labels]
    vectors[0] = -9 * vectors[1:].mean(axis=0)  # no head but one that was fitted to it gives it its class
    other = make_store(labels, vectors, name="other.h5")
    found = train(other, tmp_path / "c.onnx").evaluation
    assert found.probabilities[found.rows.tolist().index(0), other.labels[0]] < 0.5


def test_the_only_photo_of_a_class_is_trained_on_and_said_not_to_be_judged(clusters, make_store, tmp_path):
    vectors, codes = clusters(60, 3)
    kept = np.flatnonzero((codes < 2) | (np.arange(60) == 2))
    store = make_store([["ash", "birch", "cedar"][code] for code in codes[kept]], vectors[kept])
    result = train(store, tmp_path / "c.onnx")
    assert result.classifier.classes == ["ash", "birch", "cedar"]
    assert result.evaluation.classes[2].images == 0
    assert any(text.startswith("'cedar': trained on a single image per class") for text in result.warnings)
    assert len(result.search.candidates) > 1
    without = train(store, tmp_path / "two.onnx", min_photos=2)
    assert without.classifier.classes == ["ash", "birch"]


def test_one_class_alone_beside_single_photos_is_not_searched_on(clusters, make_store, tmp_path):
    vectors, codes = clusters(300, 3)
    kept = np.flatnonzero((codes == 0) | (np.arange(300) < 3))
    store = make_store([["ash", "birch", "cedar"][code] for code in codes[kept]], vectors[kept])
    assert train(store, tmp_path / "c.onnx").search.with_prior


def test_a_share_to_hold_out_that_was_asked_for_is_held_out(clustered, tmp_path):
    result = train(clustered(9), tmp_path / "c.onnx", holdout=0.4)
    assert (result.trained_images, result.evaluation.images) == (6, 3)


def test_the_users_own_split_is_judged_on(clustered, tmp_path):
    result = train(clustered(33, splits=["train"] * 3 + ["val"] * 30), tmp_path / "c.onnx")
    assert (result.trained_images, result.evaluation.images) == (3, 30)
    assert result.search.with_prior


def test_without_photos_to_judge_on_nothing_is_compared(clustered, make_store, tmp_path):
    store = clustered(3)
    with pytest.raises(LabelError, match=r"every class has a single image, .* so none is left to compare heads on"):
        train(store, tmp_path / "c.onnx", compare=[store])
    compared = train(clustered(9, name="nine.h5"), tmp_path / "nine.onnx", compare=[clustered(9, name="same.h5")])
    assert [one.images for one in compared.baselines] == [9, 9, 9]
    assert compared.baselines[1].log_loss == pytest.approx(compared.baselines[0].log_loss)


def test_a_c_of_the_users_is_kept(clustered, tmp_path):
    own = train(clustered(6), tmp_path / "c.onnx", options=HeadOptions(c=0.01))
    assert own.fitted_head.pipeline[-1].C == 0.01


@pytest.mark.parametrize("scale", [1e-3, 1, 1e3])
def test_the_prior_does_not_depend_on_the_unit_of_the_embeddings(clustered, make_store, tmp_path, scale):
    store = clustered(6)
    labels = [store.classes[code] for code in store.labels]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same = train(make_store(labels, store.embeddings() * np.float32(scale), name="scaled.h5"), tmp_path / "s.onnx")
    own = train(store, tmp_path / "c.onnx")
    assert same.evaluation.probabilities == pytest.approx(own.evaluation.probabilities, abs=1e-3)


def test_it_is_not_surer_than_the_photos_allow(clusters, make_store, tmp_path):
    """Where photos vary, the mean probability of the likeliest class is not far from how often it is right."""
    sure, right = [], []
    for seed in range(6):
        vectors, codes = clusters(203, 3, seed=seed, spread=3.0)
        labels = [["ash", "birch", "cedar"][code] for code in codes]
        splits = ["train"] * 6 + ["val"] * 197
        found = train(
            make_store(labels, vectors, splits=splits, name=f"{seed}.h5"), tmp_path / f"{seed}.onnx"
        ).evaluation
        sure.append(found.probabilities.max(axis=1).mean())
        right.append(found.accuracy)
    assert np.mean(sure) == pytest.approx(np.mean(right), abs=0.12)


@pytest.mark.parametrize("per_class", [1, 2, 4])
def test_a_refit_changes_nothing_as_all_are_trained_on(clustered, tmp_path, per_class):
    store = clustered(3 * per_class)
    train(store, tmp_path / "c.onnx")
    found = train(store, tmp_path / "again.onnx", refit=True)
    assert found.trained_images == 3 * per_class
    rows = store.embeddings()
    assert found.classifier.probabilities(rows) == pytest.approx(load(tmp_path / "c.onnx").file.probabilities(rows))


def test_a_precision_that_nothing_can_show_is_refused(clustered, tmp_path):
    with pytest.raises(LabelError, match="no training image could be held out to choose a threshold on"):
        train(clustered(3), tmp_path / "c.onnx", precision={"ash": 0.9})
