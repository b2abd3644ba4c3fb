"""From photos to a classifier in one call: the job that combines export, extract and classify."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from headstart.files.errors import OptionError
from headstart.files.progress import ProgressCallback
from headstart.files.urls import is_url, local_path, without_scheme

if TYPE_CHECKING:
    from headstart.classify import TrainOptions, TrainResult
    from headstart.extract import EngineOptions, RunSummary, SourceOptions, Store
    from headstart.extract.sources.find import Images


def train(
    source: "Images | Store",
    output: str | os.PathLike[str] = "classifier.onnx",
    *,
    backbone: str | os.PathLike[str] | None = None,
    engine_options: "EngineOptions | None" = None,
    source_options: "SourceOptions | None" = None,
    progress: ProgressCallback | None = None,
    **settings: Any,
) -> "TrainResult":
    """Train a classifier on photos or on an embedding store, and write it as one file.

    Photos are embedded first, into a store next to the classifier (see `embed_for`); a later call embeds only what is
    new or has changed.

    Parameters
    ----------
    source
        A folder with one folder per class, a list, an archive or a URL (see `headstart.embed`); or an embedding store.
    output
        The classifier file, ``*.onnx``.
    backbone
        For photos: a backbone file, or the name of a backbone that is exported into the cache on first use. By default
        MobileNetV2 with ImageNet weights.
    engine_options, source_options
        For photos: how they are embedded and found, as `headstart.embed` takes them.
    progress
        Called during each stage (see `headstart.files.progress`).
    **settings
        The fields of `headstart.classify.TrainOptions`: ``head="mlp"``, ``report="flowers.html"``, ...

    Raises
    ------
    OptionError
        If an option for photos is given with a store.
    ExportError, ExtractError, ClassifyError, OutputError
        As `headstart.export_backbone`, `headstart.embed`, and `headstart.classify.train`.

    Examples
    --------
    >>> train("photos/", "flowers.onnx").evaluation.accuracy  # doctest: +SKIP
    0.905
    """
    from headstart.classify import TrainOptions
    from headstart.classify import train as train_store

    if is_embedded(source):
        given = {"backbone": backbone, "engine_options": engine_options, "source_options": source_options}
        require_no_options(source, [name for name, value in given.items() if value is not None])
        return train_store(source, output, progress=progress, **settings)
    training = TrainOptions(**settings)
    store, _ = embed_for(output, source, backbone, engine_options, source_options, progress, training)  # type: ignore[arg-type]
    return train_store(store, output, progress=progress, **settings)


def embed_for(
    output: str | os.PathLike[str],
    images: "Images",
    backbone: str | os.PathLike[str] | None = None,
    options: "EngineOptions | None" = None,
    source_options: "SourceOptions | None" = None,
    progress: ProgressCallback | None = None,
    training: "TrainOptions | None" = None,
) -> "tuple[Store, RunSummary]":
    """Embed images into the store that belongs to a classifier: ``flowers.h5`` next to ``flowers.onnx``.

    What the training would refuse later, its options and the classifier's place, is refused before any image is read.
    Time, camera and position of the photos are read if the training is to group, split or select by them.

    Raises
    ------
    OptionError, ExportError, ExtractError, ClassifyError, OutputError
        As `train`.
    """
    from headstart.extract import embed
    from headstart.extract.sources.find import require_images
    from headstart.files.atomic import check_model_output, check_outside

    if training is not None:
        training.check()
    path = local_path(output)
    check_outside(path, images)
    check_model_output(path, "classifier")
    if isinstance(images, str | os.PathLike) and not is_url(images := without_scheme(os.fspath(images))):
        require_images(images)
    model = find_backbone(backbone, progress)
    return embed(
        images, model, path.with_suffix(".h5"), options=options, source_options=source_options, progress=progress,
        metadata=training is not None and training.reads_metadata,
    )  # fmt: skip


def find_backbone(backbone: str | os.PathLike[str] | None, progress: ProgressCallback | None = None) -> Path | str:
    """Return the path of a backbone: a file that is named, or one of the cache, exported on first use.

    Raises
    ------
    OptionError
        If it is neither the name of a file nor of a backbone.
    ExportError, MissingExtraError, OutputError
        As `headstart.export.default_backbone`.
    """
    from headstart.export import BACKBONES, DEFAULT_BACKBONE, default_backbone

    name = os.fspath(backbone or DEFAULT_BACKBONE)
    if name in BACKBONES:
        return default_backbone(name, progress=progress)
    if not name.endswith((".onnx", ".h5", ".emb", ".parts")):  # the last is what an interrupted run left
        raise OptionError(f"backbone {name!r}: expected a file (.onnx), or one of {', '.join(BACKBONES)}")
    return name


def is_embedded(source: "Images | Store") -> "TypeGuard[str | os.PathLike[str] | Store]":
    """Tell an embedding store, or the name of one, from images."""
    from headstart.extract import Store
    from headstart.extract.store.shards import is_store

    if isinstance(source, Store):
        return True
    return is_store(source) or (isinstance(source, str | os.PathLike) and os.fspath(source).endswith(".emb"))


def require_no_options(store: Any, names: list[str]) -> None:
    """Refuse options for photos where a store is given.

    Raises
    ------
    OptionError
        Naming them.
    """
    if names:
        where = getattr(store, "location", store)
        raise OptionError(
            f"{where}: is a store, whose images are embedded already: leave {', '.join(names)} out, or give the photos"
        )
