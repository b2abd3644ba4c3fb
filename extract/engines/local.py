"""The local engine: turns the items of a source into outcomes, in the order of the items, on threads of this process.

With `isolate`, every thread decodes in a worker process of its own.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from headstart.extract.engines.clock import StageClock
from headstart.extract.engines.embedder import Embedder, Reuse
from headstart.extract.inference.sessions import Session
from headstart.extract.options import EngineOptions
from headstart.extract.sources.items import Item
from headstart.extract.sources.open import open_reader
from headstart.extract.store.rows import Outcome
from headstart.files.resize import ResizeRule


@dataclass(frozen=True)
class Engine:
    """Embeds items on threads that end with each call.

    Attributes
    ----------
    root
        The folder or URL of the items' paths.
    rule
        How an image is decoded and resized.
    session
        The opened model.
    reuse
        Looks up the outcome of content that is stored already.
    options
        Of these `workers`, `batch_size` and `isolate`.
    clock
        Measures each stage.
    reads_metadata
        Whether the metadata of each image are read too.
    """

    root: Path | str
    rule: ResizeRule
    session: Session
    reuse: Reuse
    options: EngineOptions = field(default_factory=EngineOptions)
    clock: StageClock = field(default_factory=StageClock)
    reads_metadata: bool = False

    def outcomes(self, items: Sequence[Item]) -> Iterator[Outcome]:
        """Embed the items, reading ahead only as far as the threads need."""
        with closing(Embedder(self.rule, self.session, self.options, self.clock)) as embedder:
            yield from items_through(embedder, self.root, items, self.reuse, reads_metadata=self.reads_metadata)


def items_through(
    embedder: Embedder, root: Path | str, items: Sequence[Item], reuse: Reuse | None = None, *, reads_metadata: bool
) -> Iterator[Outcome]:
    """Embed items below a folder or URL."""
    reader = open_reader(root)
    # The reader closes before the threads are waited for, because they wait for it.
    images = zip(items, reader.fetch(items), strict=True)
    found = embedder.outcomes(images, len(items), reuse, reads_metadata=reads_metadata, stop=reader.close)
    with closing(found) as outcomes:
        yield from outcomes
