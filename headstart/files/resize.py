"""The resize rule that a model file names: how an image becomes its input. `extract.decoding` carries it out."""

from dataclasses import dataclass
from typing import Any

from headstart.files.errors import FormatError

FITS = ("squash", "crop")
MAX_SIDE = 4096
"""Pixels: no backbone takes larger images, and a file that says so would fill the memory."""


@dataclass(frozen=True)
class ResizeRule:
    """How an image becomes H x W pixels, version 1.

    Upright by its EXIF orientation; 16-bit grey scaled to 8; transparent parts over white; antialiased bilinear
    (Pillow's) in one step from the whole image (``squash``) or from its largest centred part of the target's shape
    (``crop``); a JPEG is decoded at the smallest DCT scale that leaves at least 1.5 times the target both ways.

    Attributes
    ----------
    height, width
        Of the result, in pixels.
    fit
        ``"squash"`` or ``"crop"``.
    """

    height: int
    width: int
    fit: str = "squash"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the result: height, width, channels."""
        return self.height, self.width, 3

    @classmethod
    def from_metadata(cls, metadata: dict[str, Any]) -> "ResizeRule":
        """Read the rule that a model file names.

        Raises
        ------
        FormatError
            Where the file names a rule, or a version of it, that this program does not implement.
        """
        expected = {"version": 1, "interpolation": "bilinear-antialias", "exif_transpose": True, "alpha": "white"}
        found = dict(metadata.get("resize", {}))
        fit = found.pop("fit", None)
        if found != expected or fit not in FITS:
            raise FormatError(f"its resize rule {metadata.get('resize')} is not one that this version implements")
        height, width = metadata["image_size"]
        if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
            raise FormatError(f"expected images of at most {MAX_SIDE} pixels a side, found {height} x {width}")
        return cls(int(height), int(width), fit)
