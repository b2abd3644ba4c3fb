"""What a run is asked for, and what it did."""

import os
from dataclasses import dataclass, field

from headstart.extract.inference.model import Model
from headstart.extract.options import EngineOptions
from headstart.extract.store.merging import Share
from headstart.extract.store.store import Store
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
    seconds
        Wall time of the run.
    stages
        Seconds spent in each stage, summed over threads: read, decode, infer, store.
    bottleneck
        The stage that took longest; empty if nothing was computed.
    notes
        What a user should know about how the images were found, in words.
    """

    inputs: int
    embedded: int
    failed: int
    computed: int
    reused: int
    removed: int
    provider: str
    passed_over: list[str]
    seconds: float
    stages: dict[str, float]
    bottleneck: str
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Job:
    """What one run computes, from what, and how.

    Attributes
    ----------
    images
        A folder, URL or manifest of images; or a store of tensors, which go through the model's tail.
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
    """

    images: str | os.PathLike[str] | Store
    model: Model
    output: str = "embedding"
    dtype: str = "float16"
    share: Share | None = None
    options: EngineOptions | None = None
    progress: ProgressCallback | None = None
    stage: str = "embedding"
    is_temporary: bool = False
