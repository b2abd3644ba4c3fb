"""A kind of head: one record with everything that depends on it.

The records are in `headstart.classify.heads.registry`. A head is a plain scikit-learn pipeline: a scaler, then a
classifier with ``predict_proba`` whose fitted form is a few affine layers.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.errors import HeadError
from headstart.classify.heads.candidate import NAMES, Candidate, Search
from headstart.classify.heads.converted import ConvertedHead, name_of
from headstart.classify.heads.layers import FittedHead, Layer, with_column_per_class, with_scaler
from headstart.classify.heads.options import HeadOptions
from headstart.classify.heads.rows import TrainingRows
from headstart.files.errors import HeadstartError, one_line

Blocks = Callable[[], Iterator[tuple[slice, NDArray[np.float32]]]]
"""Gives embeddings one block at a time, once per pass: which rows they are, and float32 (b, d)."""
Cost = Callable[[int, int, int, HeadOptions], float]
"""Gives the seconds that one core takes for a search, from n, d, k and the options. The figures were measured once;
only sizes decide which heads fit the budget, so every machine decides alike."""
AnyHead = FittedHead | ConvertedHead


def fit_head(head: Any, embeddings: NDArray[np.float32], labels: NDArray[np.int32], options: HeadOptions) -> Any:
    """Fit a pipeline with scikit-learn.

    Parameters
    ----------
    embeddings
        float32, (n, d).
    labels
        int32, (n,): class codes 0..k-1, all of them present.
    """
    weights = {} if options.class_weight == "none" else _weights_of(head, labels, options)
    with guarded(head, len(labels)):
        return head.fit(embeddings, labels, **weights)


@contextmanager
def guarded(head: Any, images: int) -> Iterator[None]:
    """Turn whatever fitting a classifier to so many images raises into a `HeadError`, and keep Ctrl-C what it is."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        # The number of passes is part of the recipe; that more of them would change the fit a little is no fault.
        warnings.simplefilter("ignore", ConvergenceWarning)
        # The nearest class mean divides by the deviations within classes on the way, though not in its predictions.
        warnings.filterwarnings("ignore", message="self.within_class_std_dev_ has at least 1 zero")
        # The MLP takes Ctrl-C as "good enough" and returns a half-trained head.
        warnings.filterwarnings("error", message="Training interrupted by user")
        try:
            yield
        except UserWarning:
            raise KeyboardInterrupt from None
        except HeadstartError:
            raise
        except Exception as error:  # a classifier of the user's may raise anything
            raise HeadError(f"the {name_of(head)} cannot be fitted to {images} images: {one_line(error)}") from error


def _weights_of(head: Any, labels: NDArray[np.int32], options: HeadOptions) -> dict[str, NDArray[np.float64]]:
    """Return the weight of each row as an argument of `fit`; or set priors, in which classes alone can be weighed."""
    from sklearn.utils.validation import has_fit_parameter

    name, model = head.steps[-1]
    classes = int(labels.max()) + 1
    weights = options.row_weights(labels, classes)
    if "priors" in model.get_params() and not has_fit_parameter(model, "sample_weight"):
        model.set_params(priors=(np.bincount(labels, weights, classes) / weights.sum()).tolist())
        return {}
    return {f"{name}__sample_weight": weights}


def cross_validate(kind: "HeadKind", rows: TrainingRows, options: HeadOptions, _ratio: float) -> Search:
    """Fit a head with each of its settings once per fold."""

    def of(settings: Mapping[str, Any]) -> Search:
        own, logits = replace(options, **settings), np.full((len(rows), rows.classes), np.nan)
        for fold in range(rows.fold_count):
            held_out = rows.folds == fold
            head = fit_head(kind.make(own), rows.embeddings[~held_out], rows.labels[~held_out], own)
            logits[held_out] = kind.wrap(kind, head, rows.embeddings).logits(rows.embeddings[held_out])
        return Search.of_one(Candidate(kind.name, settings, *rows.judge(logits)), rows, logits)

    return Search.best_of([of(settings) for settings in kind.all_settings(options)])


def fit_pipeline(kind: "HeadKind", _search: Search, rows: TrainingRows, options: HeadOptions) -> AnyHead:
    """Fit a head to all rows with scikit-learn."""
    return kind.wrap(kind, fit_head(kind.make(options), rows.embeddings, rows.labels, options), rows.embeddings)


def fit_each(
    kind: "HeadKind", search: Search, chosen: Sequence[NDArray[np.bool_]], options: HeadOptions
) -> list[AnyHead | None]:
    """Fit a head to each of several sets of the searched rows; None where that fails."""

    def of(which: NDArray[np.bool_]) -> AnyHead | None:
        rows = search.rows.take(which)
        try:
            return kind.fit(kind, search, rows, options)
        except HeadError:  # a classifier of the user's may need more images than a small set has
            return None

    return [of(which) for which in chosen]


def wrap_layers(kind: "HeadKind", head: Any, _embeddings: NDArray[np.float32]) -> AnyHead:
    """Return a fitted pipeline with the layers that it amounts to."""
    return FittedHead(layers_of(head, [kind]), lambda: head)


@dataclass(frozen=True)
class HeadKind:
    """Everything that depends on the kind of head.

    Attributes
    ----------
    name
        The name that ``--head`` takes.
    title
        The name in words, for reports.
    estimator
        Class name of the pipeline's last step, by which a fitted pipeline is recognised.
    make
        Gives an unfitted pipeline: any number of ``StandardScaler``, then the classifier, which takes `sample_weight`.
    to_layers
        Gives the affine layers of the fitted classifier, with ReLU between them.
    search
        Compares settings by cross-validation. Its arguments are the kind, the rows, the options, and how many times as
        many rows the head will be fitted to.
    fit
        Fits the chosen setting to all rows, given the kind, the search, the rows and the options.
    fit_blocks
        The same by passes over blocks, given the search, the blocks, all labels and the options; None for a head that
        needs all embeddings in memory.
    fit_sets
        Fits the chosen setting to several sets of the searched rows, for the learning curve, given the kind, the
        search, a mask bool (n,) for each, and the options.
    has_hidden
        True if it reads `HeadOptions.hidden`, which is never searched for.
    defaults
        The head's settings, fields of `HeadOptions`, with their values if there is nothing to search on.
    prior
        The settings where images are few, instead of a search (see `headstart.classify.heads.prior`); empty for a head
        that is searched for all the same.
    grid
        The values that `cross_validate` compares, for those settings that have several.
    cost
        About how many seconds its search takes.
    wrap
        Gives the head that a fitted pipeline is, with its layers or a conversion of it, given the kind, the pipeline
        and some embeddings to compare the two on.
    from_weights
        Gives the fitted head that computes ``x W + b`` on bare embeddings, given W float32 (d, k), b float32 (k,),
        the options and the number of images; None for a head that cannot.
    """

    name: str
    title: str
    estimator: str
    make: Callable[[HeadOptions], Any]
    to_layers: Callable[[Any], list[Layer]]
    search: Callable[["HeadKind", TrainingRows, HeadOptions, float], Search] = cross_validate
    fit: Callable[["HeadKind", Search, TrainingRows, HeadOptions], AnyHead] = fit_pipeline
    fit_blocks: Callable[[Search, Blocks, NDArray[np.int32], HeadOptions], FittedHead] | None = None
    fit_sets: Callable[["HeadKind", Search, Sequence[NDArray[np.bool_]], HeadOptions], Sequence[AnyHead | None]] = (
        fit_each
    )
    has_hidden: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)
    prior: Mapping[str, Any] = field(default_factory=dict)
    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    cost: Cost = lambda _images, _dim, _classes, _options: 0.0
    wrap: Callable[["HeadKind", Any, NDArray[np.float32]], AnyHead] = wrap_layers
    from_weights: Callable[[NDArray[np.float32], NDArray[np.float32], HeadOptions, int], FittedHead] | None = None

    def settings(self, options: HeadOptions) -> dict[str, Any]:
        """Return its settings: those given, otherwise its defaults."""
        return {name: options.given.get(name, default) for name, default in self.defaults.items()}

    def all_settings(self, options: HeadOptions) -> list[dict[str, Any]]:
        """Return the settings to compare: those given, with all combinations of its grid for the others."""
        defaults, values = self.settings(options), {name: [value] for name, value in options.given.items()}
        grid = [values.get(name) or self.grid.get(name) or [value] for name, value in defaults.items()]
        return [dict(zip(defaults, combination, strict=True)) for combination in product(*grid)]

    def check(self, options: HeadOptions) -> None:
        """Reject options that are out of range, or that do nothing for this head.

        Raises
        ------
        HeadError
            If there is one.
        """
        options.check()
        if options.budget is not None:
            raise HeadError(f"a budget does nothing for the head {self.name}; leave it out, or use the head auto")
        needless = ["hidden"] * (options.hidden != HeadOptions.hidden and not self.has_hidden)
        for name in [*options.given, *needless]:
            if name not in self.defaults:
                raise HeadError(
                    f"{NAMES.get(name, name)} does nothing for the head {self.name}; leave it out (a classifier of "
                    "your own keeps its own settings)"
                )


def layers_of(head: Any, kinds: Iterable[HeadKind]) -> list[Layer]:
    """Return the affine layers, float64, that compute the same as a fitted head or a pipeline of one of the kinds.

    ReLU belongs between them, softmax after the last. Standardisation goes into the first.

    Raises
    ------
    HeadError
        If the pipeline holds another kind of step.
    """
    if isinstance(head, FittedHead):
        return head.layers
    *scalers, model = [step for _, step in head.steps] if hasattr(head, "steps") else [head]
    known = {kind.estimator: kind for kind in kinds}
    name = type(model).__name__
    if name not in known:
        raise HeadError(f"a {name} cannot be written as ONNX; expected one of {', '.join(known)}")
    layers = known[name].to_layers(model)
    for scaler in reversed(scalers):
        if "StandardScaler" not in [base.__name__ for base in type(scaler).__mro__]:
            raise HeadError(
                f"a {type(scaler).__name__} cannot be written as ONNX; expected only StandardScaler before the {name}"
            )
        layers[0] = with_scaler(layers[0], scaler)
    return [*layers[:-1], with_column_per_class(layers[-1])]


def logits_of(head: Any, embeddings: NDArray[np.float32], kinds: Iterable[HeadKind]) -> NDArray[np.float64]:
    """Return the logits of a fitted head or pipeline, float64 (n, k), for embeddings, (n, d).

    They are computed from its layers. Logarithms of its probabilities would be wrong where a probability has been
    rounded to 0 or 1.
    """
    known: AnyHead = head if isinstance(head, AnyHead) else FittedHead(layers_of(head, kinds), lambda: head)
    return known.logits(embeddings)
