"""What a photo says about itself, in its EXIF block: when, with what and where it was taken."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metadata:
    """The metadata of one photo.

    Attributes
    ----------
    taken
        Local time by the camera's clock, ``2024-05-01T12:30:00``; empty if not stated. Fractions of a second and the
        offset from UTC are left out: many cameras write neither, and times of one form compare.
    camera
        Make and model; empty if not stated.
    latitude, longitude
        Degrees, north and east of zero positive; both NaN if the position is not stated.
    """

    taken: str = ""
    camera: str = ""
    latitude: float = math.nan
    longitude: float = math.nan
