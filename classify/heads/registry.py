"""The heads that can be trained. To add one, add its record here."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.errors import HeadError
from headstart.classify.heads import kinds
from headstart.classify.heads.kinds import HeadKind, layers_of
from headstart.classify.heads.layers import Layer, linear_layers, network_layers
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
    """Apply `headstart.classify.heads.kinds.layers_of` to a head of any of `HEADS`."""
    return layers_of(head, HEADS.values())


def logits_of(head: Any, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
    """Apply `headstart.classify.heads.kinds.logits_of` to a head of any of `HEADS`."""
    return kinds.logits_of(head, embeddings, HEADS.values())
