"""The runner of an engine: the dispatcher over this process and a Ray cluster."""

from headstart.extract.engines.ray_engine import RayRunner
from headstart.extract.engines.runners import LocalRunner, Runner
from headstart.extract.inference.model import Model
from headstart.extract.options import EngineOptions


def open_runner(model: Model, output: str, options: EngineOptions) -> Runner:
    """Make a model ready on the engine that the options name.

    Raises
    ------
    ProviderError
        Where the provider is unknown, absent or does not run.
    EngineError
        Where Ray is not installed, or its cluster cannot be reached.
    """
    if options.engine == "ray":
        return RayRunner(options)
    return LocalRunner(model, output, options)
