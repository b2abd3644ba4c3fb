"""How many photos of none of the classes, and how many of the known ones, a classifier flags as unknown."""

import numpy as np

from bench.heads.data import Photos


def lines(photos: Photos) -> list[str]:
    """Return one line; none without BENCH_OTHERS."""
    from headstart.classify import train

    if photos.others is None:
        return []
    result = train(photos.store, photos.folder / "unknown.onnx")
    if result.unknown is None:
        return []
    rows = np.flatnonzero(photos.others.is_embedded)
    flagged = result.classifier.predictions(photos.others.embeddings(rows))[:, -1].mean()
    alarms = result.unknown.measured
    return [f"Unknown: {flagged:.1%} of {len(rows)} other photos flagged, and {alarms:.1%} of held-out known photos"]
