"""Cached tensors through the tail of a network: embeddings, without decoding any image."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.extract.engines.clock import StageClock
from headstart.extract.engines.runners import OutcomeRunner
from headstart.extract.errors import StoreError
from headstart.extract.inference.model import CUT, Model, trunk_of
from headstart.extract.inference.sessions import TensorSession
from headstart.extract.inference.subgraph import tail, views_of
from headstart.extract.options import EngineOptions
from headstart.extract.sources.items import SPLITS, Item, Source
from headstart.extract.store.reuse import ReusableRows
from headstart.extract.store.rows import Outcome
from headstart.extract.store.schema import EMBEDDED
from headstart.extract.store.store import Store
from headstart.files.cores import cores
from headstart.files.errors import OptionError
from headstart.files.threads import in_order

BATCH, AHEAD = 16, 8


def source_of(store: Store) -> Source:
    """List the images that a store was made from."""
    rows, classes = store.rows, store.classes
    return Source(
        store.header.root,
        [
            Item(
                path,
                int(rows.size[row]),
                int(rows.mtime_ns[row]),
                classes[rows.label[row]] if rows.label[row] >= 0 else None,
                SPLITS[rows.split[row]],
                "" if rows.status[row] == EMBEDDED else rows.reason[row].decode("utf-8", "replace"),
            )
            for row, path in enumerate(rows.path.tolist())
        ],
    )


class TailRunner(OutcomeRunner):
    """Runs the tail of a backbone over a store of tensors.

    Parameters
    ----------
    tensors
        Activations at the cut of the backbone's trunk (see `require_trunk`).
    backbone
        The trunk with a tail, which may have been tuned.

    Raises
    ------
    OptionError
        If the options ask for another engine, or for a provider other than the CPU.
    """

    def __init__(self, tensors: Store, backbone: Model, options: EngineOptions) -> None:
        if options.engine != "local" or options.provider not in ("auto", "cpu"):
            raise OptionError(
                "cached tensors are embedded by the local engine, on the CPU; leave engine and provider out"
            )
        self._tensors, self._workers = tensors, options.workers or cores()
        self._session = open_tail(backbone)
        super().__init__((self._session.provider,), [], StageClock(("read", "infer", "store")))

    def outcomes(self, _root: Path | str, items: Sequence[Item], _reusable: ReusableRows) -> Iterator[Outcome]:
        """Embed the stored tensors of each item."""
        row_of = {path: row for row, path in enumerate(self._tensors.rows.path.tolist())}

        def embed(batch: Sequence[Item]) -> list[Outcome]:
            return self._embed(batch, np.array([row_of[item.path] for item in batch]))

        batches = (items[start : start + BATCH] for start in range(0, len(items), BATCH))
        for outcomes in in_order(embed, batches, self._workers, self._workers + AHEAD):
            yield from outcomes

    def _embed(self, items: Sequence[Item], rows: NDArray[np.int64]) -> list[Outcome]:
        with self.clock.stage("read"):
            tensors = self._tensors.embeddings(rows)
        is_embedded = self._tensors.is_embedded[rows]
        vectors: list[NDArray[np.float32] | None] = [None] * len(rows)
        if is_embedded.any():
            with self.clock.stage("infer"):
                embeddings = self._session.run(tensors[is_embedded])
            for number, vector in zip(np.flatnonzero(is_embedded), embeddings, strict=True):
                vectors[number] = vector
        digests, metadata = self._tensors.rows.sha256[rows], map(self._tensors.rows.metadata_of, rows)
        return [
            Outcome(item, digest.tobytes(), item.size, item.mtime_ns, vector, item.reason, metadata=found)
            for item, digest, vector, found in zip(items, digests, vectors, metadata, strict=True)
        ]


def open_tail(backbone: Model, *, one_view: bool = False) -> TensorSession:
    """Open the tail of a backbone on the CPU (see `headstart.extract.inference.subgraph.tail`)."""
    return TensorSession(tail(backbone, one_view=one_view).SerializeToString())


def require_trunk(tensors: Store, backbone: Model) -> None:
    """Refuse a store whose tensors did not come from the trunk of a backbone.

    Raises
    ------
    StoreError
        If it holds something else, or tensors of another trunk or of other views.
    """
    header = tensors.header
    if header.output != CUT:
        raise StoreError(
            f"{tensors.location}: expected a store of tensors, found one of its {header.output}; "
            "make one with `headstart export --cut BLOCK` and `headstart embed`"
        )
    made_by, trunk = trunk_of(header.model, header.model_sha256), trunk_of(backbone.metadata, backbone.sha256)
    if made_by != trunk:
        raise StoreError(
            f"{tensors.location}: was made by another trunk ({made_by[:16]}) than that of {backbone.source} "
            f"({trunk[:16]}); embed the images again with the file whose tail was tuned"
        )
    stored, made = views_of(header.model), views_of(backbone.metadata)
    if stored != made:
        raise StoreError(
            f"{tensors.location}: holds {len(stored)} views per image, {backbone.source} makes {len(made)}; "
            f"make a backbone that fits: headstart export --weights {backbone.source} --views {len(stored)}"
        )
