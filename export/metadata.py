"""The metadata of a backbone file."""

from importlib import metadata as packages
from typing import TYPE_CHECKING, Any, Final

from headstart.export.backbones import Plan

if TYPE_CHECKING:
    from headstart.export.conversion.parity import Parity
    from headstart.export.pipeline import Network
    from headstart.export.quantization.quantize import Agreement
    from headstart.export.weights.load import Weights

SCHEMA: Final = 1
RESIZE_VERSION: Final = 1


def describe(
    plan: Plan, weights: "Weights", parity: "Parity", agreement: "Agreement | None", network: "Network"
) -> dict[str, Any]:
    """Return the metadata of a backbone file: everything later stages need, nothing about the machine or the time.

    `agreement` compares int8 with fp32 and is None for fp32.
    """
    groups = network.groups
    metadata = {
        "format": "headstart-backbone",
        "schema": SCHEMA,
        "backbone": plan.backbone.name,
        "width": plan.width if plan.backbone.widths else None,
        "weights": weights.metadata(),
        "image_size": list(plan.image_size),
        "resize": {
            "version": RESIZE_VERSION,
            "interpolation": "bilinear-antialias",
            "fit": plan.fit,
            "exif_transpose": True,
            "alpha": "white",
        },
        "dim": sum(group.size for group in groups),
        "precision": "int8" if agreement else "fp32",
        "features": plan.features,
        "parity": parity.metadata() | {"reference": network.reference},
        "sealed": True,
        "versions": {name: _version(name) for name in network.packages},
    }
    if len(groups) > 1:
        metadata["groups"] = [group.metadata() for group in groups]
    if agreement:
        metadata["quantization"] = agreement.metadata()
    return metadata


def _version(package: str) -> str:
    try:
        return packages.version(package)
    except packages.PackageNotFoundError:
        return "unknown"
