"""The backbone that is used if nobody names one: exported once, into the user's cache."""

from pathlib import Path
from typing import Final

from headstart.export.backbones import make_plan
from headstart.export.pipeline import export_backbone
from headstart.files.cache import cache_folder, cached
from headstart.files.errors import DamagedError
from headstart.files.progress import ProgressCallback, announcer
from headstart.files.seal import has_seal

DEFAULT_BACKBONE: Final = "mobilenet_v2"
VERSION: Final = 1
"""Counts the changes of the export after which embeddings are no longer the same."""


def default_backbone(name: str = DEFAULT_BACKBONE, *, progress: ProgressCallback | None = None) -> Path:
    """Return the path of a backbone with ImageNet weights in fp32, after exporting it into the cache on first use.

    Later releases take the same file, so that stores made with it go on, until its `VERSION` changes.

    Parameters
    ----------
    name : str
        A name in `BACKBONES`. All but MobileNetV2 need the extra `export`.
    progress : callable or None
        Called as each stage begins.

    Raises
    ------
    UnknownBackboneError
        If there is no such backbone.
    WeightsError, ConversionError, ParityError, MissingExtraError
        As `export_backbone`.
    OutputError
        If the cache cannot be written.
    """
    from headstart.export.weights.load import find_weights

    announce = announcer(progress)
    source = find_weights("imagenet", make_plan(name, None, 1.0, "squash"), 0, announce)
    digest = str(source.sha256)[:12]
    path = cache_folder() / "backbones" / f"{name}-{digest}-v{VERSION}.onnx"

    def make(target: Path) -> None:
        target.unlink(missing_ok=True)  # a damaged one
        announce(f"exporting {name} once, to {target}")
        export_backbone(target, backbone=name, weights="imagenet")

    return cached(path, _is_whole, make)


def _is_whole(path: Path) -> bool:
    try:
        return has_seal(path.read_bytes(), path)
    except DamagedError:
        return False
