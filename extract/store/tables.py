"""A store for other tools: arrays for scikit-learn, a table of pandas, and what a notebook shows."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart.extract.errors import StoreError
from headstart.extract.metadata import Metadata
from headstart.extract.sources.items import SPLITS
from headstart.extract.store.schema import EMBEDDED
from headstart.files.errors import OptionError
from headstart.files.notebook import html_facts, import_pandas

if TYPE_CHECKING:
    from headstart.extract.store.store import Store

SHOWN_CLASSES = 20


def xy_of(store: "Store", split: str | None) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
    """Return the embeddings and class names of the labelled images (see `Store.xy`)."""
    if len(store.header.shape) > 1:
        raise StoreError(f"{store.location}: expected a store of embeddings, found one of tensors at a cut")
    which = store.is_embedded & (store.labels >= 0)
    if split is not None:
        found = [name for name in SPLITS if name and bool((store.splits == name).any())]
        if split not in found:
            raise OptionError(f"{store.location}: no image has split {split!r}; found: {', '.join(found) or 'none'}")
        which &= store.splits == split
    return store.embeddings(which), np.array(store.classes, np.str_)[store.labels[which]]


def metadata_counts(store: "Store") -> dict[str, int]:
    """Count the photos that state when, with which camera and where they were taken; empty without such columns."""
    if not store.metadata:
        return {}
    given = {name: int((store.metadata[name] != b"").sum()) for name in ("taken", "camera")}
    return given | {"position": int((~np.isnan(store.metadata["latitude"])).sum())}


def metadata_columns(metadata: Iterable[Metadata | None]) -> dict[str, Any]:
    """Return columns for pandas: ``taken`` as local time, ``camera``, ``latitude`` and ``longitude``; none for None."""
    found = list(metadata)
    if not any(found):
        return {}
    known = [one or Metadata() for one in found]
    taken = [one.taken for one in known]
    return {
        "taken": import_pandas().to_datetime(taken, format="ISO8601", errors="coerce"),
        "camera": [one.camera for one in known],
        "latitude": [one.latitude for one in known],
        "longitude": [one.longitude for one in known],
    }


def to_pandas(store: "Store") -> Any:
    """Return all columns but the vectors (see `Store.to_pandas`)."""
    pandas, rows = import_pandas(), store.rows
    names = np.array([*store.classes, None], object)  # the last one serves label -1
    columns = {
        "path": store.paths,
        "label": names[rows.label],
        "split": store.splits,
        "status": np.where(rows.status == EMBEDDED, "embedded", "failed"),
        "reason": [reason.decode("utf-8", "replace") for reason in rows.reason.tolist()],
        "bytes": rows.size,
        "modified": pandas.to_datetime(rows.mtime_ns, unit="ns", utc=True),
        "sha256": [digest.tobytes().hex() for digest in rows.sha256],
    }
    return pandas.DataFrame(columns | metadata_columns(map(rows.metadata_of, range(len(rows)))))


def html_of(store: "Store") -> str:
    """Return what a notebook shows: the size, the classes, and how many images failed."""
    counts = np.bincount(store.labels + 1, minlength=len(store.classes) + 1)
    classes = [f"{name} {count}" for name, count in zip(store.classes, counts[1:], strict=True)]
    more = [f"and {len(classes) - SHOWN_CLASSES} more"] if len(classes) > SHOWN_CLASSES else []
    splits = {name: int((store.splits == name).sum()) for name in SPLITS if name}
    embedded = int(store.is_embedded.sum())
    facts = {
        "images": f"{len(store):,}, of which {len(store) - embedded:,} failed",
        "vectors": f"{store.header.output}, {store.header.dtype} {store.header.shape}",
        "classes": ", ".join(classes[:SHOWN_CLASSES] + more),
        "without a label": int(counts[0]) or None,
        "splits": ", ".join(f"{name} {count}" for name, count in splits.items() if count),
        "metadata": ", ".join(f"{name} {count}" for name, count in metadata_counts(store).items()),
        "backbone": store.header.model.get("backbone"),
        "folder of the images": store.header.root,
    }
    return html_facts(store.location.name, facts)
