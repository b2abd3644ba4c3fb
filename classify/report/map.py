"""A map of the embeddings: photos that look alike to the backbone lie close together."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.report.photos import Album
from headstart.extract.store.store import Store

MOST = 1_200
"""Photos on the map; t-SNE takes a few seconds for this many."""
FEWEST_FOR_TSNE = 30
DIMENSIONS = 50
"""That PCA leaves for t-SNE (as in van der Maaten and Hinton 2008)."""
STEPS = 500


def embedding_map(store: Store, album: Album, seed: int = 0) -> dict[str, Any]:
    """Lay out a sample of the embedded photos in two dimensions: misclassified ones first, then any.

    Returns
    -------
    ``method``, ``total`` (photos that could be on it) and ``points``: [x, y, number in the album, 1 if misclassified],
    with x and y in 0..1.
    """
    embedded = np.flatnonzero(store.is_embedded)
    rows = _sample(embedded, album, seed)
    method, positions = lay_out(store.embeddings(rows), seed)
    points = [
        [*position, album.add(row), int(album.is_wrong(row))]
        for row, position in zip(rows.tolist(), positions.round(4).tolist(), strict=True)
    ]
    return {"method": method, "total": len(embedded), "points": points}


def lay_out(vectors: NDArray[np.floating], seed: int = 0) -> tuple[str, NDArray[np.float64]]:
    """Reduce two or more vectors, (n, d), to two dimensions, float64 (n, 2) in 0..1, and name the method."""
    from threadpoolctl import threadpool_limits

    # One thread: so few rows gain nothing from more, and threads that wait for each other on a busy machine lose much.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # identical vectors have no variance to divide by
        method, positions = _reduce(vectors.astype(np.float64), seed)
    low, high = positions.min(axis=0), positions.max(axis=0)
    return method, (positions - low) / np.where(high > low, high - low, 1)


def _reduce(vectors: NDArray[np.float64], seed: int) -> tuple[str, NDArray[np.float64]]:
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    pca = PCA(min(DIMENSIONS, *vectors.shape), svd_solver="randomized", random_state=seed)
    reduced = pca.fit_transform(vectors)
    if len(vectors) < FEWEST_FOR_TSNE or not np.ptp(reduced, axis=0)[1] > 0:
        return "PCA", reduced[:, :2]
    perplexity = min(30.0, len(vectors) / 4)
    tsne = TSNE(2, perplexity=perplexity, init="pca", max_iter=STEPS, random_state=seed, n_jobs=1)
    return "t-SNE", tsne.fit_transform(reduced).astype(np.float64)


def _sample(rows: NDArray[np.int64], album: Album, seed: int) -> NDArray[np.int64]:
    if len(rows) <= MOST:
        return rows
    drawn = np.random.default_rng(seed).permutation(rows)
    wrong = np.array([album.is_wrong(row) for row in drawn.tolist()])
    # Misclassified photos are few, and what people look for.
    return np.sort(np.concatenate([drawn[wrong][: MOST // 3], drawn[~wrong]])[:MOST])
