"""The domain check: how far photos are from those that the backbone was trained on.

A batch norm gives each channel a known distribution over the training images (Ioffe & Szegedy 2015, arXiv:1502.03167),
so the mean activity of a feature on ImageNet is known without ImageNet: it is nearly the same for all features of
MobileNetV2 (0.38, with a deviation of 0.02), whose file states it as ``activity``.
"""

from dataclasses import dataclass

import numpy as np

from headstart.extract.store.store import Store

FAR = 2.7
"""Factor from which photos count as far. Measured (`make bench-domain`): cats and dogs 1.4, flowers 1.8 (any two kinds
of them 1.7 to 2.2, daisies alone 2.5), drawn flowers 1.9, characters 3.1, blurred bodies as in X-ray pictures 4.2,
textures 4.9."""
FLOOR = 0.05
"""Share of the expected activity that is added to both sides, so that a silent feature counts as 1/21, not as zero."""
MOST_ROWS = 2000
"""Rows that are read; a mean over 50 hardly differs from one over 500."""
LEAST_ROWS = 10
"""Of fewer rows the mean is noise: for three flowers the factor was up to 6.4, for ten at most 2.3."""


@dataclass(frozen=True)
class Domain:
    """How far a store's photos are from those that the backbone learned from.

    Attributes
    ----------
    factor : float
        By which factor, at least 1, the mean activity of the median feature differs from that on the backbone's own
        training photos.
    """

    factor: float

    @property
    def is_far(self) -> bool:
        """Whether frozen features may miss what matters in these photos."""
        return self.factor >= FAR

    def describe(self) -> str:
        """Say in one sentence what was found and what follows."""
        found = f"a typical feature is {self.factor:.1f} times as active, or as quiet, as on those"
        if not self.is_far:
            return f"the photos resemble those that the backbone learned from: {found}"
        return (
            f"the photos are unlike those that the backbone learned from ({found}), so frozen features may miss what "
            "matters in them; try more features (export --features all-blocks), tuned last blocks (tune), another "
            "backbone, or more photos"
        )


def domain_of(store: Store) -> Domain | None:
    """Compare a store's embeddings with what the backbone gives on ImageNet.

    Returns
    -------
    Domain or None
        None if the backbone does not say what it gives there, or was tuned since, or if there are too few photos.
    """
    metadata = store.header.model
    expected, rows = metadata.get("activity"), np.flatnonzero(store.is_embedded)
    if not expected or "tuned" in metadata or len(rows) < LEAST_ROWS:
        return None
    groups = metadata.get("groups")
    width = groups[0]["size"] if groups else store.header.dim  # the features of the top come first
    chosen = rows[np.linspace(0, len(rows) - 1, min(MOST_ROWS, len(rows))).astype(np.int64)]
    activity = store.embeddings(chosen)[:, :width].mean(axis=0, dtype=np.float64) / expected
    ratios = np.log((activity + FLOOR) / (1 + FLOOR))
    return Domain(float(np.exp(np.median(np.abs(ratios)))))
