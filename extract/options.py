"""Options for how a run uses the machines that it has."""

import os
from dataclasses import dataclass

from headstart.files.errors import OptionError

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class SourceOptions:
    """How images are found.

    Attributes
    ----------
    label_column
        The column of labels of a list or table; by default ``label``, or the only one with another usual name.
    root
        The folder that a list's paths are relative to, or absolute below; by default the list's own folder.
    follow_links
        Whether to follow symbolic links inside a folder, or next to a list, wherever they lead. By default only those
        to files inside the folder. (A path that the user names may always be a link.)
    """

    label_column: str | None = None
    root: str | os.PathLike[str] | None = None
    follow_links: bool = False


@dataclass(frozen=True)
class EngineOptions:
    """How a run uses the machines; no option changes its result.

    Attributes
    ----------
    provider
        A name in `headstart.extract.inference.providers.PROVIDERS`, or ``"auto"``.
    workers
        Number of threads or actors; by default one per core.
    batch_size
        Images per batch; by default what suits the provider.
    isolate
        Whether images are decoded in worker processes, so that an image that crashes its decoder or takes all memory
        costs that image and not the run. By default on POSIX systems.
    engine
        ``"local"``: threads of this process; ``"ray"``: actors of a Ray cluster.
    address
        Address of a running Ray cluster, ``auto`` or ``ray://head:10001``; None starts one on this machine for the run.
    gpus_per_worker
        GPUs of each actor.

    Raises
    ------
    OptionError
        If a number is too small, the engine is unknown, or an option belongs to the other engine.
    """

    provider: str = "auto"
    workers: int | None = None
    batch_size: int | None = None
    isolate: bool = os.name == "posix"
    engine: str = "local"
    address: str | None = None
    gpus_per_worker: float = 0

    def __post_init__(self) -> None:
        for name in ("workers", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(f"{name} must be at least 1, found {value}")
        if self.engine not in ENGINES:
            raise OptionError(f"unknown engine {self.engine!r}; expected one of {', '.join(ENGINES)}")
        if self.engine != "ray" and (self.address is not None or self.gpus_per_worker):
            raise OptionError("an address and GPUs per worker need --engine ray")
        if self.gpus_per_worker < 0:
            raise OptionError(f"GPUs per worker must be at least 0, found {self.gpus_per_worker}")
