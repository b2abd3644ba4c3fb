"""Runners bring a store up to date; the base class, and the one that uses the threads of this process."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from headstart.extract.engines.clock import StageClock
from headstart.extract.engines.local import Engine
from headstart.extract.inference.model import Model
from headstart.extract.inference.providers import open_session
from headstart.extract.notes import NoteCounter
from headstart.extract.options import EngineOptions
from headstart.extract.sources.items import Item
from headstart.extract.store.reuse import ReusableRows
from headstart.extract.store.rows import Outcome
from headstart.extract.store.writer import StoreWriter


class Step(NamedTuple):
    """Rows that are stored, or will be with the next commit: all, those that are failures, and those computed."""

    rows: int
    failed: int
    computed: int


class Runner(ABC):
    """A model that is ready to run over images.

    Attributes
    ----------
    providers
        The execution providers, as their runtimes call them; empty if only the workers know.
    passed_over
        What ``auto`` could not use, with reasons.
    clock
        The seconds spent in each stage, over all workers.
    notes
        Counts the notes of the outcomes.
    """

    def __init__(self, providers: tuple[str, ...], passed_over: list[str], clock: StageClock) -> None:
        self.providers, self.passed_over, self.clock = providers, passed_over, clock
        self.notes = NoteCounter()

    @abstractmethod
    def run(self, root: Path | str, items: Sequence[Item], writer: StoreWriter) -> Iterator[Step]:
        """Store a row for each item."""


class OutcomeRunner(Runner):
    """A runner whose outcomes come to this process, which stores them in the order of the items."""

    def run(self, root: Path | str, items: Sequence[Item], writer: StoreWriter) -> Iterator[Step]:
        """Store a row for each item, in the order of the items."""
        for outcome in self.outcomes(root, items, writer.reusable):
            with self.clock.stage("store"):
                stored = writer.add(outcome)
            self.notes.add(stored.notes, stored.item.path)
            yield Step(1, int(stored.vector is None), int(stored.computed))

    @abstractmethod
    def outcomes(self, root: Path | str, items: Sequence[Item], reusable: ReusableRows) -> Iterator[Outcome]:
        """Compute an outcome for each item, or take it from the reusable rows."""


class LocalRunner(OutcomeRunner):
    """Runs a model on the threads of this process."""

    def __init__(self, model: Model, output: str, options: EngineOptions) -> None:
        self._rule, self._options = model.rule, options
        self._session = open_session(model, options.provider, output)
        super().__init__((self._session.provider,), self._session.passed_over, StageClock())

    def outcomes(self, root: Path | str, items: Sequence[Item], reusable: ReusableRows) -> Iterator[Outcome]:
        """Compute an outcome for each item, or take that of stored content."""
        of_run = self._options, self.clock, reusable.reads_metadata
        engine = Engine(root, self._rule, self._session, reusable.by_content, *of_run)
        return engine.outcomes(items)
