"""The resize rule: how an image becomes a model's input. Model files name it, and `extract.decoding` applies it."""

from dataclasses import dataclass
from typing import Any

from headstart.files.errors import FormatError

FITS = ("squash", "crop")
FULL = 16
GREY_BITS = range(8, FULL + 1)
MAX_SIDE = 4096
"""Pixels; a file that claims a larger input would fill the memory."""


@dataclass(frozen=True)
class ResizeRule:
    """Convert an image to H x W pixels, version 1.

    The image is rotated upright by EXIF, 16-bit grey is scaled to 8 bits, and transparent parts are placed on white.
    Colour profiles are ignored, as by Keras and torchvision: every image counts as sRGB.
    Pillow's antialiased bilinear filter then resizes the whole image (``squash``) or its largest centred part with the
    target's aspect ratio (``crop``) in one step. A JPEG is decoded at the smallest DCT scale that leaves at least 1.5
    times the target in both directions.

    Attributes
    ----------
    height, width
        Size of the result in pixels.
    fit
        ``"squash"`` or ``"crop"``.
    grey_bits
        Bits per sample, 8-16, that carry the picture in 16-bit grey which states no depth and has no greater values.
    """

    height: int
    width: int
    fit: str = "squash"
    grey_bits: int = FULL

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the result: height, width, channels."""
        return self.height, self.width, 3

    @classmethod
    def from_metadata(cls, metadata: dict[str, Any]) -> "ResizeRule":
        """Read the rule of a model file.

        Raises
        ------
        FormatError
            If this version does not implement the file's rule.
        """
        expected = {"version": 1, "interpolation": "bilinear-antialias", "exif_transpose": True, "alpha": "white"}
        found = dict(metadata.get("resize", {}))
        fit, grey_bits = found.pop("fit", None), found.pop("grey_bits", FULL)
        if found != expected or fit not in FITS or grey_bits not in GREY_BITS:
            raise FormatError(f"its resize rule {metadata.get('resize')} is not supported; export the backbone again")
        height, width = metadata["image_size"]
        if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
            raise FormatError(f"expected images of at most {MAX_SIDE} pixels per side, found {height} x {width}")
        return cls(int(height), int(width), fit, int(grey_bits))
