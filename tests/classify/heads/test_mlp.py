import warnings
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier

from headstart.classify.errors import HeadError
from headstart.classify.evaluation.learning_curve import learning_curve
from headstart.classify.heads import mlp, threads
from headstart.classify.heads import search as searching
from headstart.classify.heads.fitting import fit_rows
from headstart.classify.heads.loss import softmax
from headstart.classify.heads.options import HeadOptions
from headstart.classify.heads.rows import TrainingRows
from headstart.classify.split.folds import draw_folds

HIDDEN = (24, 12)


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch):
    """End sooner than images that are easy to tell apart would need, whose loss always falls."""
    monkeypatch.setattr(mlp, "MOST_ROUNDS", 8)


@pytest.fixture
def rows_of(clusters):
    """Give n images of k classes, with 16 features or rotated into more."""

    def make(n: int, k: int = 3, dim: int = 16, spread: float = 3.0) -> TrainingRows:
        points, codes = clusters(n, k, spread=spread)
        rng = np.random.default_rng(1)
        if dim != 16:
            points = points @ rng.normal(0, 1, (16, dim)) + rng.normal(0, 1, (n, dim))
        return TrainingRows(points.astype(np.float32), codes, draw_folds(codes, rng.random(n)), k)

    return make


@pytest.fixture
def passes(monkeypatch):
    """Count the passes of each network, and refuse any other fit."""
    counted: Counter[int] = Counter()
    shapes, alive, one_pass = set(), [], MLPClassifier.partial_fit

    def partial_fit(self, values, *rest):
        alive.append(self)  # or another network may get its id
        counted[id(self)] += 1
        shapes.add(values.shape)
        return one_pass(self, values, *rest)

    monkeypatch.setattr(MLPClassifier, "partial_fit", partial_fit)
    monkeypatch.setattr(MLPClassifier, "fit", None, raising=False)
    return lambda: (sorted(counted.values()), shapes)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("dim", [16, 700])
def test_the_pipeline_computes_what_the_layers_do(rows_of, k, dim):
    rows = rows_of(90, k, dim)
    search, head, options = fit_rows(rows, "mlp", HeadOptions(hidden=HIDDEN))
    network = head.pipeline[-1]
    assert [weights.shape[0] for weights in network.coefs_] == [dim, *HIDDEN]
    assert network.n_iter_ == network.max_iter == options.epochs == search.chosen.settings["epochs"]
    expected = head.pipeline.predict_proba(rows.embeddings)
    assert softmax(head.logits(rows.embeddings)) == pytest.approx(expected, abs=1e-5)
    assert head.pipeline.score(rows.embeddings, rows.labels) > 0.8
    network.partial_fit(
        head.pipeline[0].transform(rows.embeddings), rows.labels
    )  # it is as good as one by scikit-learn


@pytest.mark.parametrize("dim", [16, 700])
def test_the_head_computes_what_was_trained(rows_of, dim):
    rows = rows_of(90, 3, dim)
    inputs = mlp.Inputs.of(rows, HeadOptions(hidden=HIDDEN))
    network = inputs.network(np.ones(90, bool)).train(3)
    trained = network.logits(inputs.values)
    assert network.fitted(mlp.MLP, 3, network.mean).logits(rows.embeddings) == pytest.approx(trained, abs=1e-4)


def test_the_search_trains_each_fold_and_the_head_once_and_the_curve_only_what_is_new(rows_of, passes):
    rows = rows_of(150)
    search, head, options = fit_rows(rows, "mlp", HeadOptions(hidden=HIDDEN))
    trained, _ = passes()
    assert len(trained) == 6
    assert len(set(trained)) == 1, "all networks make the same passes"
    assert options.epochs <= trained[0]
    curve = learning_curve(search, options, rows.embeddings, rows.labels)
    after, _ = passes()
    assert len(after) == 6 + len(curve.points) - 1
    assert curve.points[-1].accuracy == (head.logits(rows.embeddings).argmax(axis=1) == rows.labels).mean()


def test_training_ends_where_the_loss_out_of_fold_is_least(rows_of, passes, monkeypatch):
    monkeypatch.setattr(mlp, "MOST_ROUNDS", 40)
    rows = rows_of(150, spread=8.0)
    search, _, options = fit_rows(rows, "mlp", HeadOptions(hidden=(64,)))
    assert options.epochs <= passes()[0][0] < 80
    longer, _, _ = fit_rows(rows, "mlp", HeadOptions(hidden=(64,), epochs=80))
    assert search.chosen.log_loss < longer.chosen.log_loss


def test_given_passes_are_made(rows_of, passes):
    search, _, options = fit_rows(rows_of(60), "mlp", HeadOptions(hidden=HIDDEN, epochs=7))
    assert passes()[0] == [7] * 6
    assert options.epochs == search.chosen.settings["epochs"] == 7
    with pytest.raises(HeadError, match="needs at least one pass over the images, found 0 epochs"):
        HeadOptions(epochs=0).check()


def test_few_images_of_many_features_are_trained_on_the_directions_they_span(rows_of, passes):
    search, _, _ = fit_rows(rows_of(62, 5, 1280), "mlp", HeadOptions(hidden=HIDDEN))
    assert max(columns for _, columns in passes()[1]) <= 62
    assert search.chosen.log_loss < np.log(5)


def test_after_a_search_on_a_sample_the_head_is_trained_on_all_images(rows_of, passes, monkeypatch):
    monkeypatch.setattr(searching, "SEARCHED_ROWS", 60)
    rows = rows_of(150)
    _, head, options = fit_rows(rows, "mlp", HeadOptions(hidden=HIDDEN))
    trained, shapes = passes()
    assert len(trained) == 6
    assert trained[0] == options.epochs
    assert (150, 16) in shapes
    assert (60, 16) not in shapes
    assert head.pipeline[0].n_samples_seen_ == 150


def test_the_seed_alone_decides_not_the_number_of_cores(rows_of, monkeypatch):
    rows = rows_of(90)

    def logits(cores, seed=3):
        monkeypatch.setattr(threads, "_cores", lambda: cores)
        search, head, _ = fit_rows(rows, "mlp", HeadOptions(hidden=HIDDEN, seed=seed))
        return np.hstack([search.logits, head.logits(rows.embeddings)])

    one = logits(1)
    assert logits(2) == pytest.approx(one, abs=1e-4)
    assert np.abs(logits(1, seed=4) - one).max() > 0.1


def test_balanced_weights_help_the_rare_class_in_every_fold(rows_of):
    rows = rows_of(400, 2, spread=4.0)
    rows = rows.take((rows.labels == 0) | (np.arange(400) % 16 == 1))
    rare = []
    for weight in ("none", "balanced"):
        search, head, _ = fit_rows(rows, "mlp", HeadOptions(hidden=HIDDEN, class_weight=weight))
        rare.append([(found.argmax(axis=1) == 1).sum() for found in (search.logits, head.logits(rows.embeddings))])
    assert (np.array(rare[1]) > rare[0]).all()


def test_an_image_that_is_never_held_out_has_no_logits(rows_of):
    rows = rows_of(60)
    rows = replace(rows, folds=np.where(np.arange(60) < 5, -1, rows.folds))
    search, _, _ = fit_rows(rows, "mlp", HeadOptions(hidden=HIDDEN))
    assert np.isnan(search.logits).all(axis=1).tolist() == [True] * 5 + [False] * 55


@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (ValueError("not finite"), (HeadError, "the MLPClassifier cannot be fitted to 60 images: not finite")),
        (UserWarning("Training interrupted by user."), (KeyboardInterrupt, None)),
    ],
)
def test_a_network_that_fails_or_is_interrupted_ends_the_run(rows_of, monkeypatch, cores, raised, expected):
    def partial_fit(*_):
        if isinstance(raised, Warning):
            warnings.warn(raised, stacklevel=2)
        raise raised

    monkeypatch.setattr(threads, "_cores", lambda: cores)
    monkeypatch.setattr(MLPClassifier, "partial_fit", partial_fit)
    kind, message = expected
    with pytest.raises(kind, match=message):
        fit_rows(rows_of(60), "mlp", HeadOptions(hidden=HIDDEN))
