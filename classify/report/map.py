"""A map of the embedding space: photos that the backbone finds alike lie close together."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.report.photos import Album
from headstart.extract.store.store import Store

MOST = 1_200
"""Photos on the map; t-SNE takes some seconds for as many."""
FEWEST_FOR_TSNE = 30
DIMENSIONS = 50
"""That PCA leaves for t-SNE (as van der Maaten and Hinton did, 2008)."""
STEPS = 500


def embedding_map(table: Store, album: Album, seed: int = 0) -> dict[str, Any]:
    """Lay out a sample of the embedded photos in two dimensions: those that were misjudged first, then any.

    Returns
    -------
    ``method``, ``total`` (photos that could be on it) and ``points``: [x, y, number in the album, 1 if misjudged], with
    x and y in 0..1.
    """
    embedded = np.flatnonzero(table.is_embedded)
    rows = _sample(embedded, album, seed)
    method, places = lay_out(table.embeddings(rows), seed)
    points = [
        [round(float(x), 4), round(float(y), 4), album.add(row), int(album.is_misjudged(row))]
        for row, (x, y) in zip(rows.tolist(), places, strict=True)
    ]
    return {"method": method, "total": len(embedded), "points": points}


def lay_out(vectors: NDArray[np.floating], seed: int = 0) -> tuple[str, NDArray[np.float64]]:
    """Bring vectors, (n, d), to two dimensions, float64 (n, 2) in 0..1, and name the way."""
    from threadpoolctl import threadpool_limits

    # One thread: so few rows gain nothing from more, and lose much to a machine that is busy otherwise.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # vectors that are all the same have no variance to divide by
        method, places = _reduce(vectors.astype(np.float64), seed)
    places = np.nan_to_num(places)
    low, high = places.min(axis=0, initial=np.inf), places.max(axis=0, initial=-np.inf)
    return method, (places - low) / np.where(high > low, high - low, 1)


def _reduce(vectors: NDArray[np.float64], seed: int) -> tuple[str, NDArray[np.float64]]:
    from sklearn.decomposition import PCA

    few = min(DIMENSIONS, *vectors.shape)
    if few < 2:
        return "nothing to compare", np.zeros((len(vectors), 2))
    reduced = PCA(few, svd_solver="randomized", random_state=seed).fit_transform(vectors)
    if len(vectors) < FEWEST_FOR_TSNE or not np.ptp(reduced, axis=0)[1] > 0:
        return "PCA", reduced[:, :2]
    from sklearn.manifold import TSNE

    perplexity = min(30.0, len(vectors) / 4)
    tsne = TSNE(2, perplexity=perplexity, init="pca", max_iter=STEPS, random_state=seed, n_jobs=1)
    return "t-SNE", np.asarray(tsne.fit_transform(reduced), np.float64)


def _sample(rows: NDArray[np.int64], album: Album, seed: int) -> NDArray[np.int64]:
    if len(rows) <= MOST:
        return rows
    drawn = np.random.default_rng(seed).permutation(rows)
    wrong = np.array([album.is_misjudged(row) for row in drawn.tolist()])
    # Misjudged photos are few, and what one looks for.
    return np.sort(np.concatenate([drawn[wrong][: MOST // 3], drawn[~wrong]])[:MOST])
