"""Opens the runner for a run: cached tensors, the threads of this process, or a Ray cluster."""

from collections.abc import Callable

from headstart.extract.engines.ray_engine import RayRunner
from headstart.extract.engines.runners import LocalRunner, Runner
from headstart.extract.engines.tail import TailRunner
from headstart.extract.inference.model import Model
from headstart.extract.options import EngineOptions
from headstart.extract.store.store import Store

RUNNERS: dict[str, Callable[[Model, str, EngineOptions], Runner]] = {
    "local": LocalRunner,
    "ray": lambda _model, _output, options: RayRunner(options),
}


def open_runner(model: Model, output: str, options: EngineOptions, tensors: Store | None = None) -> Runner:
    """Make a model ready on the engine that the options name, or its tail ready for a store of tensors.

    Raises
    ------
    OptionError
        If the engine or provider cannot run a tail.
    ProviderError
        If the provider is unknown, absent or does not run.
    EngineError
        If the Ray cluster cannot be reached.
    MissingExtraError
        If Ray is not installed.
    """
    if tensors is not None:
        return TailRunner(tensors, model, options)
    return RUNNERS[options.engine](model, output, options)
