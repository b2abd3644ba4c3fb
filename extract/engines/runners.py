"""What brings a store up to date: the threads of this process, or the actors of a Ray cluster."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from headstart.extract.engines.local import Engine, Reused
from headstart.extract.inference.model import Model
from headstart.extract.inference.providers import open_session
from headstart.extract.options import EngineOptions
from headstart.extract.sources.items import Item
from headstart.extract.store.writer import StoreWriter


@dataclass(frozen=True)
class Step:
    """Some more rows are stored, or will be with the next commit.

    Attributes
    ----------
    rows, failed, computed
        How many; how many of them are failures, and how many had to be computed.
    """

    rows: int
    failed: int
    computed: int


class Runner(Protocol):
    """A model that is ready to run over images.

    Attributes
    ----------
    providers
        Names of the execution providers that run it, as their runtimes call them; empty where only the workers know.
    passed_over
        What ``auto`` could not use, with reasons.
    """

    providers: tuple[str, ...]
    passed_over: list[str]

    def run(self, root: Path | str, items: Sequence[Item], writer: StoreWriter) -> Iterator[Step]:
        """Store a row for each item."""

    def seconds(self) -> dict[str, float]:
        """Give the seconds spent in each stage so far, over all workers."""


class LocalRunner:
    """The threads of this process."""

    def __init__(self, model: Model, output: str, options: EngineOptions) -> None:
        self._rule, self._options = model.rule, options
        self._session = open_session(model, options.provider, output)
        self.providers: tuple[str, ...] = (self._session.provider,)
        self.passed_over = self._session.passed_over
        self._engine: Engine | None = None

    def run(self, root: Path | str, items: Sequence[Item], writer: StoreWriter) -> Iterator[Step]:
        """Store a row for each item, in the order of the items."""
        how = self._options.workers, self._options.batch_size, self._options.isolate
        self._engine = engine = Engine(root, self._rule, self._session, writer.known.find_content, *how)
        for result in engine.outcomes(items):
            computed = not isinstance(result, Reused)
            if isinstance(result, Reused):
                result = writer.known.copied(result.row, result.item, result.size, result.mtime_ns)
            with engine.clock.stage("store"):
                result = writer.add(result)
            yield Step(1, int(result.vector is None), int(computed))

    def seconds(self) -> dict[str, float]:
        """Give the seconds of each stage so far, over all threads."""
        return self._engine.clock.seconds() if self._engine else {}
