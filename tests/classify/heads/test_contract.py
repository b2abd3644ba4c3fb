"""What every head must do, those registered and one that a test registers: from its record to a scored folder."""

import csv
import os
from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from typer.testing import CliRunner

from headstart.classify import HEADS, HeadKind, HeadOptions, make_head, train
from headstart.classify.errors import HeadError
from headstart.classify.heads.kinds import cross_validate, fit_head
from headstart.classify.heads.layers import Layer
from headstart.classify.heads.loss import softmax
from headstart.classify.heads.registry import logits_of, to_layers
from headstart.classify.heads.rows import TrainingRows
from headstart.classify.heads.search import search_head
from headstart.classify.split.folds import draw_folds
from headstart.cli import app


class NearestMean(ClassifierMixin, BaseEstimator):
    """Gaussian classes of equal, spherical variance: the mean of each class, and its share of the rows."""

    def fit(self, X, y, sample_weight=None):
        weights = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight)
        self.classes_ = np.unique(y)
        totals = np.array([weights[y == code].sum() for code in self.classes_])
        self.means_ = np.array([weights[y == code] @ X[y == code] for code in self.classes_]) / totals[:, None]
        self.bias_ = np.log(totals / totals.sum()) - (self.means_**2).sum(axis=1) / 2
        return self

    def predict_proba(self, X):
        return softmax(X @ self.means_.T + self.bias_)

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


DUMMY = HeadKind(
    name="means",
    title="the nearest class mean",
    estimator="NearestMean",
    make=lambda _options: make_pipeline(StandardScaler(), NearestMean()),
    to_layers=lambda model: [Layer(model.means_.T.astype(np.float64), model.bias_.astype(np.float64))],
)
every_head = pytest.mark.parametrize("name", [*HEADS, DUMMY.name])


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(HEADS, DUMMY.name, DUMMY)


def fitted(name: str, points, codes, **options):
    chosen = HeadOptions(**options)
    return fit_head(make_head(name, chosen), points, codes, chosen)


def run(*arguments) -> str:
    """Run a command line in this process, where the dummy is registered."""
    result = CliRunner().invoke(app, [os.fspath(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


@every_head
def test_its_record_is_registered_by_its_name(name):
    assert HEADS[name].name == name
    assert type(make_head(name, HeadOptions())[-1]).__name__ == HEADS[name].estimator


@every_head
@pytest.mark.parametrize("k", [2, 3])
def test_its_layers_compute_what_the_pipeline_does(name, k, clusters):
    points, codes = clusters(120, k)
    head = fitted(name, points[:90], codes[:90], c=1.0)
    values, (*hidden, last) = points[90:].astype(np.float64), [layer.uncentred() for layer in to_layers(head)]
    for layer in hidden:
        values = np.maximum(values @ layer.weights + layer.bias, 0)
    expected = head.predict_proba(points[90:])
    assert softmax(values @ last.weights + last.bias) == pytest.approx(expected, abs=1e-5)
    assert (expected.argmax(axis=1) == codes[90:]).mean() > 0.8


@every_head
def test_the_same_seed_gives_the_same_predictions(name, clusters):
    points, codes = clusters(60, 3)
    first, again = (fitted(name, points, codes, seed=7).predict_proba(points) for _ in range(2))
    assert np.array_equal(first, again)


@every_head
def test_balanced_weights_help_the_rare_class(name, clusters):
    points, codes = clusters(400, 2, spread=4.0)
    kept = np.flatnonzero((codes == 0) | (np.arange(len(codes)) % 16 == 1))
    points, codes = points[kept], codes[kept]
    plain, balanced = (fitted(name, points, codes, class_weight=w, c=1.0).predict(points) for w in ("none", "balanced"))
    assert (balanced == 1).sum() > (plain == 1).sum()


@every_head
def test_fitting_warns_of_nothing_on_rows_that_are_few_or_constant(name):
    points = np.zeros((4, 16), np.float32)
    points[2:, 0] = 1
    assert fitted(name, points, np.array([0, 0, 1, 1], np.int32)).predict_proba(points).shape == (4, 2)


@every_head
@pytest.mark.parametrize("class_weight", ["none", "balanced"])
def test_its_search_holds_every_image_out_once(name, class_weight, clusters):
    points, codes = clusters(120, 3, spread=3.0)
    rows = TrainingRows(points, codes, draw_folds(codes, np.random.default_rng(0).random(120)), 3)
    options = HeadOptions(hidden=(8,), class_weight=class_weight)
    search = search_head(name, rows, options)
    assert search.chosen in search.candidates
    assert (search.chosen.head, search.folds) == (name, 5)
    assert (search.chosen.log_loss, search.chosen.accuracy) == rows.judge(search.logits)
    assert search.chosen.log_loss < np.log(3)
    head = HEADS[name].fit(HEADS[name], search, rows, options)
    assert logits_of(head, points).argmax(axis=1).tolist() == head.pipeline.predict(points).tolist()


@every_head
def test_it_streams_or_says_which_heads_do(name, clustered, tmp_path):
    store, output = clustered(120), tmp_path / "streamed.onnx"
    if HEADS[name].fit_blocks:
        assert train(store, output, head=name, memory=1).evaluation.accuracy > 0.9
    else:
        expected = rf"head '{name}' needs all embeddings in memory, .* or use --head logreg, svm, lda or prototype$"
        with pytest.raises(HeadError, match=expected):
            train(store, output, head=name, memory=1)


@every_head
def test_embeddings_that_are_all_the_same_give_the_classes_their_shares(name, make_store, tmp_path):
    store = make_store(["ash"] * 60 + ["fir"] * 30, np.full((90, 16), 7, np.float32))
    found = train(store, tmp_path / "c.onnx", head=name).classifier.probabilities(store.embeddings())
    assert found == pytest.approx(np.tile([2 / 3, 1 / 3], (90, 1)), abs=0.1 if name in ("svm", "mlp") else 0.02)


@every_head
def test_it_goes_from_training_to_a_scored_folder_and_a_report(name, tiny_store, tiny_photos, tmp_path, monkeypatch):
    pytest.importorskip("jinja2")
    pytest.importorskip("cleanlab")
    monkeypatch.chdir(tmp_path)
    trained = run("train", tiny_store, "--head", name, "-o", "c.onnx", "--report", "c.html")
    assert f"c.onnx: {name} on " in trained
    assert HEADS[name].title in (tmp_path / "c.html").read_text(encoding="utf-8")
    run("score", tiny_photos, "--classifier", "c.onnx", "-o", "p.csv")
    with open("p.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["label"]]
    assert len(rows) == 60
    assert np.mean([row["label"] == row["path"].split("/")[0] for row in rows]) > 0.9


def test_auto_tries_every_registered_head(clustered, tmp_path):
    store = clustered(200, spread=5.0)
    result = train(store, tmp_path / "c.onnx", head="auto", options=HeadOptions(hidden=(8,)))
    assert {candidate.head for candidate in result.search.candidates} == set(HEADS)
    first, *others = result.heads
    assert result.search.chosen == first.candidate
    assert sorted([first.candidate.head, *(one.candidate.head for one in others)]) == sorted(HEADS)
    assert first.difference is None
    for one in others:
        low, high = one.difference.log_loss_interval
        assert low <= one.log_loss - first.log_loss <= high
        assert one.difference.log_loss_difference == pytest.approx(one.log_loss - first.log_loss)
    assert result.classifier.model.metadata["head"]["name"] == first.candidate.head


def test_auto_compares_heads_that_need_no_memory_in_passes(clustered, tmp_path):
    result = train(clustered(200, spread=5.0), tmp_path / "c.onnx", head="auto", memory=1000)
    in_memory = {kind.name for kind in HEADS.values() if kind.fit_blocks is None}
    assert dict(result.search.untried) == dict.fromkeys(in_memory, "needs all embeddings in memory")
    assert {one.candidate.head for one in result.heads} == set(HEADS) - in_memory
    assert "not tried: mlp (needs all embeddings in memory)" in result.search.reason


def test_a_budget_for_a_given_head_is_refused(clustered, tmp_path):
    for head, budget, expected in (
        ("lda", 5.0, "a budget does nothing for the head lda"),
        ("auto", -1.0, "at least 0"),
    ):
        with pytest.raises(HeadError, match=expected):
            train(clustered(60), tmp_path / "c.onnx", head=head, options=HeadOptions(budget=budget))


def test_a_head_compares_all_combinations_of_its_grid_with_what_is_given(clusters):
    points, codes = clusters(60, 3)
    rows = TrainingRows(points, codes, draw_folds(codes, np.random.default_rng(0).random(60)), 3)
    grid = {"c": (1e-4, 1.0)}
    kind = replace(HEADS["logreg"], search=cross_validate, defaults={"c": 0.01}, grid=grid)
    searched, given = (search_head(kind, rows, HeadOptions(c=c)) for c in (None, 1.0))
    assert [candidate.settings for candidate in searched.candidates] == [{"c": 1e-4}, {"c": 1.0}]
    assert searched.chosen == searched.candidates[1] == given.chosen
    assert given.candidates == [given.chosen]
    assert [kind.settings(HeadOptions(c=c)) for c in (None, 1.0)] == [{"c": 0.01}, {"c": 1.0}]


@pytest.mark.parametrize("head", ["mlp", "means"])
def test_a_setting_of_another_head_is_refused(head, clustered, tmp_path):
    with pytest.raises(HeadError, match=f"C does nothing for the head {head}; leave it out"):
        train(clustered(60), tmp_path / "c.onnx", head=head, options=HeadOptions(c=1.0))


def test_hidden_layers_for_a_head_without_any_are_refused(clustered, tmp_path):
    with pytest.raises(HeadError, match="hidden does nothing for the head logreg; leave it out"):
        train(clustered(60), tmp_path / "c.onnx", options=HeadOptions(hidden=(8,)))


def test_an_unknown_head_lists_every_registered_one():
    with pytest.raises(
        HeadError, match=r"unknown head 'forest'; expected one of logreg, mlp, svm, lda, prototype, means$"
    ):
        make_head("forest", HeadOptions())
