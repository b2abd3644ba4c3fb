"""How a run uses the machines that it has."""

import os
from dataclasses import dataclass

from headstart.extract.errors import EngineError, ProviderError

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class EngineOptions:
    """How a run uses the machine; nothing here changes its result.

    Attributes
    ----------
    provider
        A name of `headstart.extract.inference.providers.PROVIDERS`, or ``"auto"``.
    workers
        Threads; by default one a core.
    batch_size
        Images that go through the model together; by default what suits the provider.
    isolate
        Whether images are decoded in processes of their own, so that one which crashes its decoder or takes all memory
        costs that image and not the run. By default where the system is a POSIX one.
    engine
        ``"local"``: threads of this process; ``"ray"``: actors of a Ray cluster, `workers` of them.
    address
        Of a running Ray cluster, as ``auto`` or ``ray://head:10001``; None: one on this machine, for this run.
    gpus_per_worker
        Of each actor.

    Raises
    ------
    ProviderError
        Where there is less than one thread or image.
    EngineError
        Where the engine is unknown, or something is set that only the other one has.
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
                raise ProviderError(f"{name} must be at least 1, found {value}")
        if self.engine not in ENGINES:
            raise EngineError(f"unknown engine {self.engine!r}; expected one of {', '.join(ENGINES)}")
        if self.engine != "ray" and (self.address is not None or self.gpus_per_worker):
            raise EngineError("an address and GPUs a worker are for --engine ray")
        if self.gpus_per_worker < 0:
            raise EngineError(f"GPUs a worker must be at least 0, found {self.gpus_per_worker}")
