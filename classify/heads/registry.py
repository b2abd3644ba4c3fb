"""The heads that can be trained. To add one, add its record here."""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.errors import HeadError
from headstart.classify.heads import kinds
from headstart.classify.heads.converted import ConvertedHead, name_of, probabilities_of
from headstart.classify.heads.kinds import AnyHead, HeadKind, layers_of
from headstart.classify.heads.layers import FittedHead, Layer, linear_layers
from headstart.classify.heads.linear import lda, prototype
from headstart.classify.heads.linear.gaussian import search_gaussian
from headstart.classify.heads.linear.logreg import LOGREG, from_weights, make_logreg
from headstart.classify.heads.linear.objective import Objective
from headstart.classify.heads.linear.penalised import fit_solved, fit_solved_by_blocks, fit_solved_sets
from headstart.classify.heads.linear.penalties import search_penalties
from headstart.classify.heads.linear.svm import SVM, svm_layers
from headstart.classify.heads.loss import softmax
from headstart.classify.heads.mlp import MLP
from headstart.classify.heads.options import RAW, STANDARDISED, HeadOptions

AGREEMENT = 1e-5
"""The largest difference between a classifier and its layers; of rounding."""
COMPARED_ROWS = 1000


def _penalised_cost(images: int, dim: int, classes: int, _options: HeadOptions) -> float:
    """Return the seconds for the axes and for a walk along the penalties."""
    rank = min(images, dim)
    return images * rank * (2e-10 * dim + 1.5e-7 + 2e-8 * classes)


def _lda_cost(images: int, dim: int, _classes: int, _options: HeadOptions) -> float:
    """Return the seconds for the products, and for solving with each shrinkage."""
    rank = min(images, dim)
    return 2e-10 * images * rank * dim + 3.5e-10 * rank**3


def _prototype_cost(images: int, dim: int, classes: int, _options: HeadOptions) -> float:
    """Return the seconds for the means, and for the distances to them."""
    return images * dim * (2e-8 + 4e-10 * classes)


def _penalised(objective: Objective) -> dict[str, Any]:
    """Return the fields of the record of a penalised head of one layer."""
    return {
        "make": objective.make,
        "search": partial(search_penalties, objective),
        "fit": partial(fit_solved, objective),
        "fit_sets": partial(fit_solved_sets, objective),
        "fit_blocks": partial(fit_solved_by_blocks, objective),
        "cost": _penalised_cost,
    }


AUTO = "auto"
"""Instead of a head's name: the head with the least log loss in cross-validation, after calibration."""

HEADS = {
    kind.name: kind
    for kind in (
        HeadKind(
            name="logreg",
            title="logistic regression",
            prior={"c": 1.0, "scaling": RAW},
            estimator="LogisticRegression",
            to_layers=linear_layers,
            defaults={"c": LOGREG.c, "scaling": STANDARDISED},
            from_weights=from_weights,
            **_penalised(LOGREG),
        ),
        MLP,
        HeadKind(
            name="svm",
            title="a linear support vector machine",
            estimator="SoftmaxSVC",
            to_layers=svm_layers,
            defaults={"c": SVM.c, "scaling": STANDARDISED},
            **_penalised(SVM),
        ),
        HeadKind(
            name="lda",
            title="linear discriminant analysis",
            estimator="LinearDiscriminantAnalysis",
            make=lda.make_lda,
            to_layers=linear_layers,
            search=search_gaussian,
            fit=lda.fit_lda,
            fit_blocks=lda.fit_lda_by_blocks,
            cost=_lda_cost,
            defaults={"shrinkage": lda.DEFAULT_SHRINKAGE, "scaling": RAW},
        ),
        HeadKind(
            name="prototype",
            title="the nearest class mean",
            estimator="NearestCentroid",
            make=prototype.make_prototype,
            to_layers=prototype.prototype_layers,
            search=search_gaussian,
            fit=prototype.fit_prototype,
            fit_blocks=prototype.fit_prototype_by_blocks,
            cost=_prototype_cost,
            defaults={"scaling": RAW},
        ),
    )
}
DEFAULT_HEAD = next(iter(HEADS))


def find_kind(head: Any) -> HeadKind:
    """Look up a head by its name; or make the record of an unfitted classifier of scikit-learn.

    Raises
    ------
    HeadError
        If there is none of this name, or if it is no such classifier.
    """
    if isinstance(head, HeadKind):
        return head
    if not isinstance(head, str):
        return _kind_of(head)
    if head not in HEADS:
        raise HeadError(f"unknown head {head!r}; expected one of {', '.join(HEADS)}")
    return HEADS[head]


def title_of(name: str) -> str:
    """Return the name of a head in words; for a classifier of the user's, its own."""
    return HEADS[name].title if name in HEADS else name


def _kind_of(classifier: Any) -> HeadKind:
    wanted = ("fit", "get_params")
    scores = ("predict_proba", "decision_function")
    is_one = not isinstance(classifier, type) and all(hasattr(classifier, name) for name in wanted)
    if not is_one or not any(hasattr(classifier, name) for name in scores):
        raise HeadError(
            f"expected the name of a head ({', '.join(HEADS)}) or a classifier of scikit-learn with predict_proba or "
            f"decision_function, found {classifier!r:.80}"
        )

    def make(_options: HeadOptions) -> Any:
        from sklearn.base import clone
        from sklearn.pipeline import make_pipeline

        steps = getattr(classifier, "steps", None)
        return clone(classifier) if steps else make_pipeline(clone(classifier))

    name = name_of(classifier)
    return HeadKind(name=name, title=name, estimator=name, make=make, to_layers=linear_layers, wrap=wrapped)


def wrapped(_kind: HeadKind | None, head: Any, embeddings: NDArray[np.float32]) -> AnyHead:
    """Return any fitted classifier as a head: by its layers if these compute the same, to be converted otherwise.

    Raises
    ------
    HeadError
        If it is neither linear nor a network, and gives no probabilities.
    """
    some = embeddings[:COMPARED_ROWS]
    layers = _layers_that_agree(head, some)
    if layers is not None:
        return FittedHead(layers, lambda: head)
    if not hasattr(head, "predict_proba"):
        raise HeadError(f"this {name_of(head)} gives no probabilities; use a classifier with predict_proba")
    return ConvertedHead(head, embeddings.shape[1], probabilities_of(head, some[:1]).shape[1])


def _layers_that_agree(head: Any, embeddings: NDArray[np.float32]) -> list[Layer] | None:
    """Return layers that compute the same as a classifier on these embeddings, if there are any."""
    name = name_of(head)
    known = {kind.estimator: kind for kind in HEADS.values()}
    kind = known.get(name) or HeadKind(name, name, name, make=make_logreg, to_layers=linear_layers)
    try:
        layers = layers_of(head, [kind])
        logits = FittedHead(layers, lambda: head).logits(embeddings)
    except (HeadError, AttributeError, ValueError, TypeError):  # it has no coefficients, or of another shape
        return None
    if hasattr(head, "predict_proba"):
        found, expected = softmax(logits), probabilities_of(head, embeddings)
    else:
        found, expected = logits, head.decision_function(embeddings)
        expected = np.column_stack([np.zeros(len(expected)), expected]) if expected.ndim == 1 else expected
    scale = max(1.0, float(np.abs(expected).max()))
    return layers if found.shape == expected.shape and np.abs(found - expected).max() <= AGREEMENT * scale else None


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
