"""How a head is fitted where images are too few to compare settings on (`headstart.classify.split.folds.are_few`).

Five images in each of five classes tell neither how strongly to penalise nor how sure to be. Both then come from a
fixed prior: weights of variance 1 (C = 1) on raw embeddings of variance 1. For the fit, all training images get the
same length, as in "SimpleShot" (Wang et al. 2019): the length of a single photo's embedding says more about the photo
than about its class. The fitted weights apply to embeddings as they are.

C = 0.3, 1 and 3 were compared on flowers, on cats and dogs, and on clusters of these, with 1, 2 and 5 images per class.
On cats and dogs 3 was better, on flowers 1 was better calibrated; 1 stays, as being too sure does more harm. `make
bench-heads` compares this with plain scikit-learn.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from headstart.classify.heads.candidate import Candidate, Search
from headstart.classify.heads.kinds import AnyHead, HeadKind
from headstart.classify.heads.options import HeadOptions
from headstart.classify.heads.registry import AUTO, DEFAULT_HEAD, find_kind
from headstart.classify.heads.rows import TrainingRows


def kind_with_prior(head: str | HeadKind, rows: TrainingRows) -> HeadKind | None:
    """Return the kind of head to fit with its prior; None if there are images enough, or if it has no prior."""
    # Few images do not tell which head is best either.
    kind = find_kind(DEFAULT_HEAD if head == AUTO else head)
    return kind if kind.prior and rows.are_few else None


def fit_with_prior(kind: HeadKind, rows: TrainingRows, options: HeadOptions) -> tuple[Search, AnyHead, HeadOptions]:
    """Fit to all rows and, for logits out of fold, to the rows outside each fold; also give the options with C."""
    logits = np.full((len(rows), rows.classes), np.nan)
    for fold in range(rows.fold_count):
        held_out = rows.folds == fold
        logits[held_out] = _fit(kind, rows.take(~held_out), options).logits(rows.embeddings[held_out])
    own = _with_prior(kind, rows, options)
    candidate = Candidate(kind.name, own.given, *(rows.judge(logits) if rows.fold_count else (np.nan, np.nan)))
    reason = f"{candidate.words}, set in advance: {len(rows)} images of {rows.classes} classes tell too little"
    search = replace(Search.of_one(candidate, rows, logits, reason), kind=kind, with_prior=True)
    return replace(search, candidates=[candidate] * bool(rows.fold_count)), _fit(kind, rows, options), own


def _fit(kind: HeadKind, rows: TrainingRows, options: HeadOptions) -> AnyHead:
    alike, own = replace(rows, embeddings=of_one_length(rows.embeddings)), _with_prior(kind, rows, options)
    unsearched = Search.of_one(Candidate(kind.name, own.given, np.nan, np.nan), alike, np.empty((0, rows.classes)))
    return kind.fit(kind, unsearched, alike, own)


def _with_prior(kind: HeadKind, rows: TrainingRows, options: HeadOptions) -> HeadOptions:
    """Complete the settings that the user gave with those of the prior, C as scikit-learn counts it.

    The variance of n rows around their own mean is too small by (n - 1) / n, which a smaller C makes good. The one
    vector that is fitted to two classes is the difference of two, and varies twice as much.
    """
    c = kind.prior["c"] * (2 if rows.classes == 2 else 1) * (len(rows) - 1) / len(rows)
    return replace(options, **{**kind.prior, "c": c, **options.given})


def of_one_length(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale rows, float32 (n, d), to the mean of their lengths; rows of zeros stay."""
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    factors = np.divide(lengths.mean(), lengths, out=np.ones_like(lengths), where=lengths > 0)
    result: NDArray[np.float32] = embeddings * factors
    return result
