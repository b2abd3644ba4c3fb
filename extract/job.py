"""What a run is asked for, and what it did."""

from dataclasses import dataclass

from headstart.extract.inference.model import Model
from headstart.extract.notes import Note
from headstart.extract.options import EngineOptions, SourceOptions
from headstart.extract.sources.find import Images
from headstart.extract.store.merging import Share
from headstart.extract.store.store import Store
from headstart.files.notebook import html_facts
from headstart.files.progress import ProgressCallback


@dataclass(frozen=True)
class RunSummary:
    """What a run did; ``inputs == embedded + failed`` and ``inputs == computed + reused``.

    Attributes
    ----------
    inputs, embedded, failed
        Numbers of images in the finished store.
    computed, reused
        How many rows this run computed (failures included), and how many were stored already.
    removed
        Rows dropped because their image is gone.
    provider
        The execution provider that ran, as its runtime calls it.
    passed_over
        What ``auto`` could not use, with reasons.
    notes
        What a user should know about the source, and what was odd about images that this run embedded all the same,
        counted per kind.
    seconds
        Wall time of the run.
    stages
        Seconds spent in each stage, summed over threads: read, decode, infer, store.
    bottleneck
        The stage that took longest; empty if nothing was computed.
    """

    inputs: int
    embedded: int
    failed: int
    computed: int
    reused: int
    removed: int
    provider: str
    passed_over: list[str]
    notes: list[Note]
    seconds: float
    stages: dict[str, float]
    bottleneck: str

    def _repr_html_(self) -> str:
        facts = {
            "images": f"{self.inputs:,}: {self.embedded:,} embedded, {self.failed:,} failed",
            "this run": f"{self.computed:,} computed, {self.reused:,} reused, {self.removed:,} removed",
            "time": f"{self.seconds:.1f} s on {self.provider}",
            "notes": "; ".join(map(str, self.notes)),
        }
        return html_facts("Embedding", facts)


@dataclass(frozen=True)
class Job:
    """What one run computes, from what, and how.

    Attributes
    ----------
    images
        As `find_images` takes them; or a store of tensors, which go through the model's tail.
    model, output, dtype
        The model, which of its outputs is stored, and in which precision.
    share
        The part of the images that this run handles; None for all.
    options, progress
        As `embed` takes them.
    stage
        What progress is reported as.
    is_temporary
        Whether the rows are deleted once they have been used.
    source_options
        How images are found.
    metadata
        Whether the photos' metadata are read and stored; a store that has them keeps them in any case.
    """

    images: Images | Store
    model: Model
    output: str = "embedding"
    dtype: str = "float16"
    share: Share | None = None
    options: EngineOptions | None = None
    progress: ProgressCallback | None = None
    stage: str = "embedding"
    is_temporary: bool = False
    source_options: SourceOptions | None = None
    metadata: bool = False
