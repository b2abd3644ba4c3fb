"""The heads: plain scikit-learn pipelines, by name, unfitted."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from threading import Thread
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.errors import HeadError

DEFAULT_C = 0.01
CLASS_WEIGHTS = ("none", "balanced")
MAX_SEED = 2**32 - 1


@dataclass(frozen=True)
class HeadOptions:
    """What can be set about a head.

    Attributes
    ----------
    c
        Inverse strength of the L2 penalty of ``logreg``, on standardised embeddings; None: search for it.
    hidden
        Units of each hidden layer of ``mlp``.
    class_weight
        ``"none"``, or ``"balanced"``: each row counts n / (k * rows of its class).
    seed
        Of everything that is drawn at random: 0 to `MAX_SEED`.
    """

    c: float | None = None
    hidden: tuple[int, ...] = (256,)
    class_weight: str = "none"
    seed: int = 0


def make_head(name: str, options: HeadOptions) -> Any:
    """Give an unfitted pipeline (a scaler, then a classifier).

    Raises
    ------
    HeadError
        As `check_head`.
    """
    check_head(name, options)
    return HEADS[name](options)


def check_head(name: str, options: HeadOptions) -> None:
    """Refuse a head that cannot be made.

    Raises
    ------
    HeadError
        Where the name or an option is unknown or out of range.
    """
    if name not in HEADS:
        raise HeadError(f"unknown head {name!r}; expected one of {', '.join(HEADS)}")
    if options.class_weight not in CLASS_WEIGHTS:
        raise HeadError(f"unknown class weight {options.class_weight!r}; expected one of {', '.join(CLASS_WEIGHTS)}")
    if not 0 <= options.seed <= MAX_SEED:
        raise HeadError(f"the seed must lie between 0 and {MAX_SEED}, found {options.seed}")
    if options.c is not None and not options.c > 0:
        raise HeadError(f"C must be above 0, found {options.c}")
    if not options.hidden or min(options.hidden) < 1:
        raise HeadError("hidden layers must have at least one unit each, for example --hidden 256 or 1024,1024,512")


def import_ahead() -> None:
    """Begin to import scikit-learn beside other work: it takes as long as the search, which does not need it."""
    Thread(target=import_module, args=("sklearn.linear_model",), daemon=True).start()


@dataclass(frozen=True)
class Start:
    """Where the solver of ``logreg`` may begin.

    Attributes
    ----------
    coefficients, intercepts
        float32, (k, d) and (k,), on standardised embeddings; of two classes one row, as scikit-learn has it.
    tolerance
        The solver ends once no part of the gradient is larger, in nats a row; scikit-learn's ``tol``.
    """

    coefficients: NDArray[np.float32]
    intercepts: NDArray[np.float32]
    tolerance: float = 1e-4


def fit_head(
    head: Any,
    embeddings: NDArray[np.float32],
    labels: NDArray[np.int32],
    options: HeadOptions,
    start: Start | None = None,
) -> Any:
    """Fit a pipeline of `make_head`.

    Parameters
    ----------
    embeddings
        float32, (n, d).
    labels
        int32, (n,): class codes 0..k-1, every one of them present.
    start
        For ``logreg``: near the solution, scikit-learn's solver has little left to do.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.utils.class_weight import compute_sample_weight

    last = head.steps[-1][0]
    if start is not None:
        model = head.steps[-1][1].set_params(warm_start=True, tol=start.tolerance)
        model.coef_, model.intercept_ = start.coefficients, start.intercepts
    weights = {}
    if options.class_weight == "balanced":
        weights[f"{last}__sample_weight"] = compute_sample_weight("balanced", labels)
    with warnings.catch_warnings():
        # The number of passes is part of the recipe; that more of them would change the fit a little is no fault.
        warnings.simplefilter("ignore", ConvergenceWarning)
        # The MLP takes Ctrl-C for "that will do" and goes on with what it has: a half-trained head nobody asked for.
        warnings.filterwarnings("error", message="Training interrupted by user")
        try:
            return head.fit(embeddings, labels, **weights)
        except UserWarning:
            raise KeyboardInterrupt from None


def head_from(
    mean: NDArray[np.float32],
    scale: NDArray[np.float32],
    solution: Start,
    options: HeadOptions,
    classes: int,
    images: int,
) -> Any:
    """Give the fitted ``logreg`` pipeline that a solution found elsewhere amounts to.

    Parameters
    ----------
    mean, scale
        float32, (d,): what embeddings are standardised by.
    classes, images
        How many of each it was found on.
    """
    head = make_head("logreg", options)
    scaler, model = head[0], head[-1]
    scaler.mean_, scaler.scale_ = mean.astype(np.float64), scale.astype(np.float64)
    scaler.var_, scaler.n_samples_seen_ = scaler.scale_**2, images
    model.coef_, model.intercept_, model.classes_ = solution.coefficients, solution.intercepts, np.arange(classes)
    scaler.n_features_in_ = model.n_features_in_ = len(mean)
    return head


def _logreg(options: HeadOptions) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(
        StandardScaler(), LogisticRegression(C=options.c or DEFAULT_C, max_iter=1000, random_state=options.seed)
    )


def _mlp(options: HeadOptions) -> Any:
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    network = MLPClassifier(
        hidden_layer_sizes=options.hidden, alpha=10.0, learning_rate_init=3e-4, max_iter=40, random_state=options.seed
    )
    return make_pipeline(StandardScaler(), network)


HEADS: dict[str, Callable[[HeadOptions], Any]] = {"logreg": _logreg, "mlp": _mlp}
