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

    def to_line(self) -> str:
        """Return one line of text, for another process."""
        return "\t".join((self.taken, self.camera, repr(self.latitude), repr(self.longitude)))

    @classmethod
    def from_line(cls, line: str) -> "Metadata":
        """Read what `to_line` wrote; raises `ValueError` for any other line."""
        taken, camera, latitude, longitude = line.split("\t")
        return cls(taken, camera, float(latitude), float(longitude))
