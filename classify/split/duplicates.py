"""Duplicates of a photo, found from the store alone: the same file twice, or the same picture saved again.

Two photos of daisies can be closer in an embedding than a photo and its small, hard-compressed copy. So vectors are
compared after a signed square root (Perronnin et al. 2010) and whitening with shrinkage (Jegou and Chum 2012), which
plays down what all daisies share and plays up what is special to one photo.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.extract.store.store import Store

ALIKE = 0.4
"""Cosine, after whitening, from which two photos are near duplicates. Of 2,500 flower photos of 227 pixels, saved again
at JPEG quality 50 to 90, at 50 to 80 % of their size, or both, 96 % are above it. So are 62 of the 3.1 million pairs of
the photos themselves: about two in three of these show one scene taken twice, the others only look much alike."""
SHRINKAGE = 0.7
"""Share of the mean variance that is added to each direction's. Without it, in small sets, whitening would enlarge the
very direction in which a copy differs from its original."""
LEAST = 20
"""Fewer photos tell too little about what they have in common; near duplicates are then not looked for."""
SAMPLE, BLOCK, MOST_PARTNERS = 10_000, 512, 64
FULL_ROWS, COARSE_DIM, COARSE_ALIKE = 5_000, 192, 0.4
"""Of more photos than this, a pair is compared in full only if the directions that vary most agree on it."""


@dataclass(frozen=True)
class DuplicateGroup:
    """Duplicates of one photo.

    Attributes
    ----------
    rows
        Their row numbers in the store, rising, at least two.
    kind
        ``"exact"`` if all have the same bytes, else ``"near"``.
    crosses_labels, crosses_splits
        Whether they have different labels, or are in different splits of the user's (train, val, test).
    """

    rows: list[int]
    kind: str
    crosses_labels: bool
    crosses_splits: bool


@dataclass(frozen=True)
class Duplicates:
    """All groups of duplicates, in order of their first row; a row is in at most one.

    Attributes
    ----------
    threshold
        The cosine, after whitening, that near duplicates had to reach; NaN if they were not looked for.
    """

    groups: list[DuplicateGroup]
    threshold: float = float("nan")

    def group_of_rows(self, n: int) -> NDArray[np.int64]:
        """Apply `group_numbers` to these groups."""
        return group_numbers([group.rows for group in self.groups], n)


def group_numbers(groups: Iterable[Sequence[int]], n: int) -> NDArray[np.int64]:
    """Return each of n rows the first row of its group, or its own number if it is in none; int64 (n,)."""
    numbers = np.arange(n, dtype=np.int64)
    for rows in groups:
        numbers[list(rows)] = rows[0]
    return numbers


def find_duplicates(store: Store, *, near: bool = True) -> Duplicates:
    """Find the photos that a store holds more than once.

    A group of near duplicates is one photo and all those like it. Photos that resemble each other only through a chain,
    like a long series in which each resembles just the next, do not become one group.

    Parameters
    ----------
    near
        Whether to look for more than equal bytes.

    Raises
    ------
    StoreError
        If another run has replaced the store since it was opened.
    """
    embedded = np.flatnonzero(store.is_embedded)
    contents = store.rows.sha256[embedded].view("V32").ravel()
    _, first, content = np.unique(contents, return_index=True, return_inverse=True)
    originals = np.sort(first)  # in order of rows, not of digests
    star, threshold = np.arange(len(originals)), float("nan")
    if near and len(originals) >= LEAST and store.header.dim > 1:  # a single number has two directions at most
        vectors, threshold = _whitened(store, embedded[originals])
        # In very few dimensions chance alone gets nearer to 1 than float16 can tell: no pair is surely one photo.
        tellable = threshold < 1 - np.finfo(np.float16).eps
        blocks = [_alike(vectors, *pairs, threshold) for pairs in _candidates(vectors)] if tellable else []
        if blocks:
            star = stars(len(originals), *(np.concatenate(side) for side in zip(*blocks, strict=True)))
    group_of = star[np.searchsorted(originals, first)[content]]
    return Duplicates(_groups(store, embedded, group_of, content), threshold)


def _groups(
    store: Store, rows: NDArray[np.int64], group_of: NDArray[np.int64], content: NDArray[np.int64]
) -> list[DuplicateGroup]:
    order = np.argsort(group_of, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(group_of[order])) + 1)
    groups = [
        DuplicateGroup(
            rows=rows[group].tolist(),
            kind="exact" if len(set(content[group])) == 1 else "near",
            crosses_labels=len(set(store.labels[rows[group]]) - {-1}) > 1,
            crosses_splits=len(set(store.rows.split[rows[group]]) - {0}) > 1,
        )
        for group in members
        if len(group) > 1
    ]
    return sorted(groups, key=lambda group: group.rows[0])


def stars(n: int, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return each of n photos the centre of its group, from pairs that are alike; int64 (n,), its own number if alone.

    The photo with the most partners takes them all, then the next one those that are left, and so on.
    """
    partners: dict[int, list[int]] = {}
    for a, b in zip(one.tolist(), other.tolist(), strict=True):
        partners.setdefault(a, []).append(b)
        partners.setdefault(b, []).append(a)
    star = np.arange(n)
    taken: set[int] = set()
    for centre in sorted(partners, key=lambda row: (-len(partners[row]), row)):
        if centre not in taken:
            group = [centre, *(row for row in partners[centre] if row not in taken)]
            star[group] = centre
            taken.update(group)
    return star


def rooted_embeddings(store: Store, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Read the signed square root of the top features, float32 (m, d), without those of inner blocks.

    The root keeps a few large channels from dominating the distances.
    """
    groups = store.header.model.get("groups")
    vectors = store.embeddings(rows)[:, : groups[0]["size"] if groups else store.header.dim]
    rooted: NDArray[np.float32] = np.sign(vectors) * np.sqrt(np.abs(vectors))
    return rooted


def unit_rows(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale rows to length 1, but zeros; float32 (n, d)."""
    lengths: NDArray[np.float32] = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
    return vectors / lengths


def _whitened(store: Store, rows: NDArray[np.int64]) -> tuple[NDArray[np.float16], float]:
    """Return vectors of length 1, float16 (m, d), and the cosine of near duplicates.

    For more than `FULL_ROWS` photos, the dimensions are in order of their variance. Any square root of the inverse
    covariance gives the same cosines, and Cholesky's is the fastest to find.
    """
    sample = np.linspace(0, len(rows) - 1, min(SAMPLE, len(rows))).astype(np.int64)
    known = rooted_embeddings(store, rows[sample])
    mean = known.mean(axis=0)
    known -= mean
    covariance = known.T @ known / len(known)
    d = len(covariance)
    floor = SHRINKAGE * np.trace(covariance) / min(len(sample) - 1, d) + 1e-12
    if len(rows) > FULL_ROWS:
        variances, directions = np.linalg.eigh(covariance)
        turn = (directions / np.sqrt(np.maximum(variances, 0) + floor))[:, ::-1].astype(np.float32)
    else:
        from scipy.linalg.lapack import strtri

        root = np.linalg.cholesky(covariance + np.float32(floor) * np.eye(d, dtype=np.float32))
        turn = strtri(root, lower=1)[0].T  # its inverse
    result = np.empty((len(rows), d), np.float16)
    for start in range(0, len(rows), 4 * BLOCK):
        block = slice(start, start + 4 * BLOCK)
        vectors = known[block] if len(known) == len(rows) else rooted_embeddings(store, rows[block]) - mean
        result[block] = unit_rows(vectors @ turn)
    return result, max(ALIKE, _chance(result[sample].astype(np.float32), len(rows)))


def _chance(vectors: NDArray[np.float32], n: int) -> float:
    """Return the cosine that some pair among n photos reaches by chance in one store of a hundred.

    For random directions in D dimensions, cosine^2 is Beta(1/2, (D - 1)/2) with mean 1/D; the mean over all pairs gives
    D. So a backbone that distinguishes little, or has few dimensions, gets a high threshold.
    """
    from scipy.special import betainccinv

    m = len(vectors)
    squares = float(np.sum((vectors.T @ vectors).astype(np.float64) ** 2)) - m
    dimensions = max(m * (m - 1) / max(squares, 1e-12), 1.001)
    return float(np.sqrt(betainccinv(0.5, (dimensions - 1) / 2, 0.04 / (n * (n - 1)))))


def _candidates(vectors: NDArray[np.float16]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return pairs whose leading dimensions agree, a block of rows against all later ones; the best few per row."""
    leading = vectors if len(vectors) <= FULL_ROWS else vectors[:, :COARSE_DIM]
    coarse = unit_rows(leading.astype(np.float32))
    for start in range(0, len(coarse), BLOCK):
        cosines = coarse[start : start + BLOCK] @ coarse[start:].T
        cosines[np.tril_indices(len(cosines), 0, cosines.shape[1])] = -1
        for row in np.flatnonzero((cosines >= COARSE_ALIKE).sum(axis=1) > MOST_PARTNERS):
            most = np.partition(cosines[row], -MOST_PARTNERS)[-MOST_PARTNERS]
            cosines[row, cosines[row] < most] = -1
        one, other = np.nonzero(cosines >= COARSE_ALIKE)
        yield one + start, other + start


def _alike(
    vectors: NDArray[np.float16], one: NDArray[np.int64], other: NDArray[np.int64], threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pairs that are alike in all dimensions."""
    is_alike = np.zeros(len(one), bool)
    for start in range(0, len(one), BLOCK):
        block = slice(start, start + BLOCK)
        a, b = vectors[one[block]].astype(np.float32), vectors[other[block]].astype(np.float32)
        is_alike[block] = np.einsum("ij,ij->i", a, b) >= threshold
    return one[is_alike], other[is_alike]
