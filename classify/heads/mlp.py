"""The neural network head: scikit-learn's ``MLPClassifier``, stopped early.

Networks on every fold and on all images are trained side by side. After each round, a few passes over the images, the
out-of-fold log loss tells whether training goes on. The search thereby ends with the fitted head.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.heads.candidate import Candidate, Search
from headstart.classify.heads.kinds import AnyHead, HeadKind, guarded, wrap_layers
from headstart.classify.heads.layers import FittedHead, network_layers
from headstart.classify.heads.linear.axes import Axes
from headstart.classify.heads.loss import log_loss, softmax
from headstart.classify.heads.options import MAX_SEED, STANDARDISED, HeadOptions
from headstart.classify.heads.rows import TrainingRows
from headstart.classify.heads.threads import blas_threads, in_parallel

ALPHA, BATCH = 10.0, 200
"""The L2 penalty for a batch of this size. It keeps a network from learning its images by heart: with a tenth of it,
the log loss on unseen flowers is 5 to 10 % higher at any number of passes."""
LEARNING_RATE, WIDTH = 1e-2, 128
"""Adam's rate for layers of at most this many inputs. It falls with the inputs of the widest layer: a step changes each
of its weights by about the rate, and thus their sum by more (Yang and Hu 2021, "Tensor Programs IV")."""
DEFAULT_EPOCHS = 40
ROUND_STEPS = 4
"""A round has at least this many steps of Adam; of more than 600 images it is one pass."""
LEAST_ROUNDS, MOST_ROUNDS, GAIN = 4, 50, 0.015
"""Training ends after a round that does not lower the log loss by this share, and one nth more of n images: with few,
small gains are chance."""
TEMPERATURES = 2.0 ** np.arange(-2, 1.01, 0.125)
MEMORY = 0.3
"""Share of the mean of weights that a round keeps."""
ROTATED = 4
"""With so many times more features than images, networks are trained on the directions that the images span: most
weights of the first layer would only ever see noise, and each step would take up to twice as long."""


def make_mlp(options: HeadOptions) -> Any:
    """Return an unfitted network on standardised embeddings."""
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    network = MLPClassifier(
        hidden_layer_sizes=options.hidden, alpha=ALPHA, learning_rate_init=LEARNING_RATE,
        max_iter=options.epochs or DEFAULT_EPOCHS, random_state=options.seed,
    )  # fmt: skip
    return make_pipeline(StandardScaler(), network)


@dataclass(frozen=True)
class Inputs:
    """What networks are trained on.

    Attributes
    ----------
    rows
        The images.
    axes
        The axes of their embeddings.
    values
        float32, (n, r): the embeddings on these axes.
    options
        The options of the head.
    """

    rows: TrainingRows
    axes: Axes
    values: NDArray[np.float32] = field(repr=False)
    options: HeadOptions

    @classmethod
    def of(cls, rows: TrainingRows, options: HeadOptions) -> "Inputs":
        """Standardise the embeddings; rotate them if they are few."""
        is_rotated = rows.embeddings.shape[1] >= ROTATED * len(rows)
        axes = Axes.of(rows.embeddings) if is_rotated else Axes.unrotated(rows.embeddings, STANDARDISED)
        return cls(rows, axes, axes.project(rows.embeddings), options)

    def network(self, which: NDArray[np.bool_]) -> "Network":
        """Return an untrained network for some of the images."""
        numbers = np.flatnonzero(which)
        model, size = make_mlp(self.options)[-1], -(-len(numbers) // _steps(len(numbers)))
        widest = max(self.values.shape[1], *self.options.hidden)
        rate = LEARNING_RATE * min(1.0, WIDTH / widest)
        model.set_params(batch_size=size, alpha=ALPHA * size / BATCH, learning_rate_init=rate)
        return Network(self, numbers, model)


@dataclass
class Network:
    """A network in training, and a running mean of its weights.

    The mean over the last rounds is better than the weights of any of them, and hardly depends on where training stops
    (Izmailov et al. 2018, "Averaging weights leads to wider optima and better generalization").

    Attributes
    ----------
    inputs, numbers
        What it is trained on: these of the images.
    model
        The ``MLPClassifier``.
    epochs
        Passes so far.
    mean
        The running mean of its weights, then of its biases.
    """

    inputs: Inputs
    numbers: NDArray[np.int64]
    model: Any
    epochs: int = 0
    mean: list[NDArray[np.float32]] = field(default_factory=list)

    def train(self, epochs: int) -> "Network":
        """Train for a round."""
        rows, options, weights = self.inputs.rows, self.inputs.options, None
        if options.class_weight != "none":
            weights = options.row_weights(rows.labels, rows.classes)[self.numbers]
        values, labels = self.inputs.values[self.numbers], rows.labels[self.numbers]
        for _ in range(epochs):
            # partial_fit starts its random numbers anew: with one seed all passes would have the same batches.
            self.model.set_params(random_state=(options.seed + self.epochs) % (MAX_SEED + 1))
            self.model.partial_fit(values, labels, weights, np.arange(rows.classes))
            self.epochs += 1
        own = [*self.model.coefs_, *self.model.intercepts_]
        if not self.mean:
            self.mean = [each.copy() for each in own]
        for mean, each in zip(self.mean, own, strict=True):
            mean += (1 - MEMORY) * (each - mean)
        return self

    def logits(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits, float32 (m, k), under the mean weights, for embeddings on the axes, (m, r)."""
        layers = len(self.mean) // 2
        for number, (weights, bias) in enumerate(zip(self.mean[:layers], self.mean[layers:], strict=True)):
            values = (np.maximum(values, 0) if number else values) @ weights + bias
        return values if values.shape[1] > 1 else np.hstack([np.zeros_like(values), values])

    def fitted(self, kind: HeadKind, epochs: int, mean: Sequence[NDArray[np.float32]]) -> AnyHead:
        """Return the head with some weights and biases, those after so many passes."""
        axes, options, model = self.inputs.axes, self.inputs.options, self.model
        pipeline, first = make_mlp(options), axes.unproject(mean[0])
        scaler = pipeline[0]
        scaler.mean_, scaler.scale_ = axes.mean.astype(np.float64), axes.scale.astype(np.float64)
        scaler.var_, scaler.n_samples_seen_ = scaler.scale_**2, len(self.numbers)
        scaler.n_features_in_ = model.n_features_in_ = len(first)
        model.set_params(max_iter=epochs, random_state=options.seed)
        layers = len(mean) // 2
        model.n_iter_, model.coefs_, model.intercepts_ = epochs, [first, *mean[1:layers]], [*mean[layers:]]
        vars(model).pop("_optimizer")  # is of the weights on the axes, and as large as two networks
        pipeline.steps[-1] = (pipeline.steps[-1][0], model)
        return wrap_layers(kind, pipeline, self.inputs.rows.embeddings)


def search_epochs(kind: HeadKind, rows: TrainingRows, options: HeadOptions, ratio: float) -> Search:
    """Train networks on every fold, and on all rows unless the head will see more, until that no longer helps."""
    inputs, is_whole = Inputs.of(rows, options), ratio == 1
    folds = [rows.folds == fold for fold in range(rows.fold_count)]
    networks = [inputs.network(~fold) for fold in folds] + [inputs.network(np.ones(len(rows), bool))] * is_whole
    losses: list[float] = []
    with guarded(make_mlp(options), len(rows)), blas_threads(len(rows)):
        for epochs in _rounds(len(rows), options.epochs):
            list(in_parallel([partial(network.train, epochs) for network in networks]))
            logits = _out_of_fold(inputs, networks, folds)
            losses.append(_calibrated_loss(logits, rows))
            if options.epochs or losses[-1] == min(losses):
                best = networks[0].epochs, logits, [each.copy() for each in networks[-1].mean]
            if not options.epochs and _has_ended(losses, GAIN + 1 / len(rows)):
                break
    epochs, logits, mean = best
    search = Search.of_one(Candidate(kind.name, {"epochs": epochs}, *rows.judge(logits)), rows, logits)
    return replace(search, solution=networks[-1].fitted(kind, epochs, mean) if is_whole else None)


def fit_network(kind: HeadKind, search: Search, rows: TrainingRows, options: HeadOptions) -> AnyHead:
    """Return the search's network; or train one on other rows."""
    if isinstance(search.solution, FittedHead) and search.rows is rows:
        return search.solution
    with guarded(make_mlp(options), len(rows)):
        return _trained(kind, Inputs.of(rows, options), np.ones(len(rows), bool), options.epochs or DEFAULT_EPOCHS)


def fit_networks(
    kind: HeadKind, search: Search, chosen: Sequence[NDArray[np.bool_]], options: HeadOptions
) -> list[AnyHead | None]:
    """Train networks on several sets of the searched rows side by side, each for as many rounds as on all of them."""
    rows = search.rows
    inputs, rounds = Inputs.of(rows, options), -(-(options.epochs or DEFAULT_EPOCHS) // _round(len(rows)))

    def of(which: NDArray[np.bool_]) -> AnyHead:
        if isinstance(search.solution, FittedHead) and which.all():
            return search.solution
        return _trained(kind, inputs, which, rounds * _round(int(which.sum())))

    with guarded(make_mlp(options), len(rows)), blas_threads(len(rows)):
        return list(in_parallel([partial(of, which) for which in chosen]))


def _trained(kind: HeadKind, inputs: Inputs, which: NDArray[np.bool_], epochs: int) -> AnyHead:
    network = inputs.network(which)
    for more in _rounds(len(network.numbers), epochs):
        network.train(more)
    return network.fitted(kind, epochs, network.mean)


def _out_of_fold(
    inputs: Inputs, networks: Sequence[Network], folds: Sequence[NDArray[np.bool_]]
) -> NDArray[np.float64]:
    logits = np.full((len(inputs.rows), inputs.rows.classes), np.nan)
    for fold, network in zip(folds, networks, strict=False):
        logits[fold] = network.logits(inputs.values[fold])
    return logits


def _calibrated_loss(logits: NDArray[np.float64], rows: TrainingRows) -> float:
    """Return the log loss under the best of `TEMPERATURES`: the penalty leaves networks too unsure at first."""
    held_out = rows.folds >= 0
    logits, labels = logits[held_out], rows.labels[held_out]
    return min(log_loss(softmax(logits / temperature), labels) for temperature in TEMPERATURES)


def _has_ended(losses: list[float], gain: float) -> bool:
    return len(losses) >= LEAST_ROUNDS and losses[-1] > (1 - gain) * min(losses[:-1])


def _steps(images: int) -> int:
    """Return the steps of one pass over so many images."""
    return -(-images // BATCH)


def _round(images: int) -> int:
    """Return the passes of one round over so many images."""
    return -(-ROUND_STEPS // _steps(images))


def _rounds(images: int, epochs: int | None) -> Iterator[int]:
    """Give the passes of each round: of all that are allowed, or of the given passes."""
    size = _round(images)
    if epochs is None:
        yield from repeat(size, MOST_ROUNDS)
        return
    for start in range(0, epochs, size):
        yield min(size, epochs - start)


def mlp_cost(images: int, dim: int, classes: int, options: HeadOptions) -> float:
    """Return about how many seconds the search takes one core: of the weights, and of the inputs."""
    widths = (dim, *options.hidden, classes)
    weights = sum(above * below for above, below in pairwise(widths))
    return images * (2.2e-9 * weights + 6.5e-7 * dim)


MLP = HeadKind(
    name="mlp",
    title="a small neural network",
    estimator="MLPClassifier",
    make=make_mlp,
    to_layers=network_layers,
    search=search_epochs,
    fit=fit_network,
    fit_sets=fit_networks,
    cost=mlp_cost,
    has_hidden=True,
    defaults={"epochs": DEFAULT_EPOCHS},
)
