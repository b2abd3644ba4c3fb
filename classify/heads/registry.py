"""The heads that can be trained. To add one, add its record here."""

from importlib import import_module
from threading import Thread
from typing import Any

from headstart.classify.errors import HeadError
from headstart.classify.heads.kinds import HeadKind
from headstart.classify.heads.layers import Layer, linear_layers, network_layers, standardised, with_column_per_class
from headstart.classify.heads.logreg import (
    DEFAULT_C,
    fit_solved,
    fit_solved_by_blocks,
    from_weights,
    make_logreg,
    search_penalties,
)
from headstart.classify.heads.options import HeadOptions


def _make_mlp(options: HeadOptions) -> Any:
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    network = MLPClassifier(
        hidden_layer_sizes=options.hidden, alpha=10.0, learning_rate_init=3e-4, max_iter=40, random_state=options.seed
    )
    return make_pipeline(StandardScaler(), network)


AUTO = "auto"
"""Instead of a head's name: the head with the least log loss in cross-validation."""

HEADS = {
    kind.name: kind
    for kind in (
        HeadKind(
            name="logreg",
            title="logistic regression",
            estimator="LogisticRegression",
            make=make_logreg,
            to_layers=linear_layers,
            search=search_penalties,
            fit=fit_solved,
            fit_blocks=fit_solved_by_blocks,
            default_c=DEFAULT_C,
            from_weights=from_weights,
        ),
        HeadKind(
            name="mlp",
            title="a small neural network",
            estimator="MLPClassifier",
            make=_make_mlp,
            to_layers=network_layers,
        ),
    )
}
DEFAULT_HEAD = next(iter(HEADS))


def find_kind(name: str) -> HeadKind:
    """Look up a head.

    Raises
    ------
    HeadError
        If there is none of this name.
    """
    if name not in HEADS:
        raise HeadError(f"unknown head {name!r}; expected one of {', '.join(HEADS)}")
    return HEADS[name]


def make_head(name: str, options: HeadOptions) -> Any:
    """Return an unfitted pipeline (a scaler, then a classifier).

    Raises
    ------
    HeadError
        If the name is unknown or an option is out of range.
    """
    kind = find_kind(name)
    options.check()
    return kind.make(options)


def to_layers(head: Any) -> list[Layer]:
    """Return the affine layers that compute the same as a fitted pipeline.

    ReLU belongs between them, softmax after the last. Standardisation goes into the first. The arithmetic is float64.

    Parameters
    ----------
    head
        A fitted pipeline of any number of ``StandardScaler`` and one classifier of `HEADS`.

    Raises
    ------
    HeadError
        If it holds another kind of step.
    """
    *scalers, model = [step for _, step in head.steps] if hasattr(head, "steps") else [head]
    kinds = {kind.estimator: kind for kind in HEADS.values()}
    name = type(model).__name__
    if name not in kinds:
        raise HeadError(f"a {name} cannot be written as ONNX; expected one of {', '.join(kinds)}")
    layers = kinds[name].to_layers(model)
    for scaler in reversed(scalers):
        if type(scaler).__name__ != "StandardScaler":
            raise HeadError(
                f"a {type(scaler).__name__} cannot be written as ONNX; expected only StandardScaler before the {name}"
            )
        layers[0] = standardised(layers[0], scaler)
    return [*layers[:-1], with_column_per_class(layers[-1])]


def import_ahead() -> None:
    """Start importing scikit-learn in the background: it takes as long as the search, which does not need it."""
    Thread(target=import_module, args=("sklearn.linear_model",), daemon=True).start()
