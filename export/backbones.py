"""The backbones that can be exported, one frozen record each; to add one, add a record."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from headstart.export.errors import UnknownBackboneError
from headstart.files.errors import OptionError

FITS: Final = ("squash", "crop")
FEATURES: Final = ("top", "all-blocks")
LARGEST_SIZE: Final = 2048


@dataclass(frozen=True)
class Pixels:
    """The pixel scaling of a family's `preprocess_input`: ``(rgb - offset) * scale``, in RGB or BGR order.

    Attributes
    ----------
    offset : tuple of 3 floats
        Subtracted from the red, green and blue values (0-255).
    scale : float
        Multiplies the difference.
    bgr : bool
        Whether the network takes the blue channel first.
    """

    offset: tuple[float, float, float]
    scale: float = 1.0
    bgr: bool = False


TF_PIXELS: Final = Pixels(offset=(127.5, 127.5, 127.5), scale=1 / 127.5)
CAFFE_PIXELS: Final = Pixels(offset=(123.68, 116.779, 103.939), bgr=True)
MODEL_PIXELS: Final = Pixels(offset=(0.0, 0.0, 0.0))


@dataclass(frozen=True)
class Backbone:
    """A Keras application, and what an export needs to know about it.

    Attributes
    ----------
    name : str
        Its name on the command line and in the metadata.
    module, class_name : str
        Its module and class in Keras, e.g. ``keras.applications.mobilenet_v2`` and ``MobileNetV2``.
    pixels : Pixels
        The family's pixel scaling; `MODEL_PIXELS` if the Keras model contains it (EfficientNetV2). The ImageNet weights
        of EfficientNetB0-B7 need one more Rescaling, which Keras adds only if it downloads them itself.
    weights_path : str
        Path of its ImageNet weights without the top among Keras' published files, with ``{width}`` and ``{size}``.
    blocks : str
        Regular expression for the beginning of the names of a block's layers. Its group 1 names the block, or the stage
        in families with wide blocks; the last layer of that name is the block's output.
    image_size : int
        Native height and width.
    smallest_size : int
        The smallest height and width that Keras builds it for.
    widths : Mapping[float, str]
        Allowed width multipliers (Keras' ``alpha``), as in the names of the weight files; empty if it has none.
    weights_sizes : tuple of int
        Image sizes with weights of their own; any other size uses the weights of `image_size`.
    weights_md5 : str or None
        The published digest of the weight file.
    is_built_from_arrays : bool
        Whether it is built from its arrays (see `headstart.export.mobilenet_v2`), without TensorFlow.
    """

    name: str
    module: str
    class_name: str
    pixels: Pixels
    weights_path: str
    blocks: str
    image_size: int = 224
    smallest_size: int = 32
    widths: Mapping[float, str] = field(default_factory=dict)
    weights_sizes: tuple[int, ...] = ()
    weights_md5: str | None = None
    is_built_from_arrays: bool = False

    def imagenet_path(self, width: float, image_size: tuple[int, int]) -> str:
        """Return the published path of the ImageNet weights for a width and an image size (height, width)."""
        height, breadth = image_size
        own = height == breadth and height in self.weights_sizes
        return self.weights_path.format(width=self.widths.get(width, ""), size=height if own else self.image_size)


_RECORDS = (
    Backbone(
        name="mobilenet_v2",
        module="keras.applications.mobilenet_v2",
        class_name="MobileNetV2",
        pixels=TF_PIXELS,
        weights_path="mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{width}_{size}_no_top.h5",
        blocks=r"(expanded_conv|block_\d+)_",
        widths={0.35: "0.35", 0.5: "0.5", 0.75: "0.75", 1.0: "1.0", 1.3: "1.3", 1.4: "1.4"},
        weights_sizes=(96, 128, 160, 192, 224),
        is_built_from_arrays=True,
    ),
    Backbone(
        name="mobilenet",
        module="keras.applications.mobilenet",
        class_name="MobileNet",
        pixels=TF_PIXELS,
        weights_path="mobilenet/mobilenet_{width}_{size}_tf_no_top.h5",
        blocks=r"conv_(pw_\d+)_",
        widths={0.25: "2_5", 0.5: "5_0", 0.75: "7_5", 1.0: "1_0"},
        weights_sizes=(128, 160, 192, 224),
    ),
    Backbone(
        name="vgg16",
        module="keras.applications.vgg16",
        class_name="VGG16",
        pixels=CAFFE_PIXELS,
        weights_path="vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        blocks=r"(block\d)_",
        weights_md5="6d6bbae143d832006294945121d1f1fc",
    ),
    Backbone(
        name="inception_v3",
        module="keras.applications.inception_v3",
        class_name="InceptionV3",
        pixels=TF_PIXELS,
        weights_path="inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
        blocks=r"(mixed2|mixed7)$",
        image_size=299,
        smallest_size=75,
        weights_md5="bcbd6486424b2319ff4ef7d526e38f63",
    ),
    Backbone(
        name="resnet50",
        module="keras.applications.resnet50",
        class_name="ResNet50",
        pixels=CAFFE_PIXELS,
        weights_path="resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        blocks=r"(conv\d)_block",
        weights_md5="4d473c1dd8becc155b73f8504c6f6626",
    ),
)

BACKBONES: Final[dict[str, Backbone]] = {record.name: record for record in _RECORDS}


@dataclass(frozen=True)
class Plan:
    """A backbone with its checked options.

    Attributes
    ----------
    backbone : Backbone
        The record.
    image_size : tuple of 2 ints
        Height and width of the input.
    width : float
        Width multiplier; 1.0 for a backbone without one.
    fit : str
        ``squash`` or ``crop``: how to fit an image to `image_size`.
    features : str
        ``top``, or ``all-blocks``: the features of every block too.
    cut : str or None
        The last frozen block, behind which the network can be tuned.
    """

    backbone: Backbone
    image_size: tuple[int, int]
    width: float
    fit: str
    features: str = "top"
    cut: str | None = None

    def describe(self) -> str:
        """Name the network for a message, e.g. ``mobilenet_v2 at width 1.0``."""
        return f"{self.backbone.name} at width {self.width}" if self.backbone.widths else self.backbone.name


def make_plan(
    backbone: str,
    image_size: int | tuple[int, int] | None,
    width: float,
    fit: str,
    features: str = "top",
    cut: str | None = None,
) -> Plan:
    """Check the options against the backbone's record.

    Raises
    ------
    UnknownBackboneError
        If there is no such record.
    OptionError
        If the backbone does not have this width, fit, image size, or these features.
    """
    if backbone not in BACKBONES:
        raise UnknownBackboneError(f"backbone {backbone!r} is unknown: choose one of {listed(BACKBONES)}")
    record = BACKBONES[backbone]
    if width not in (record.widths or (1.0,)):
        raise OptionError(f"width {width!r} is not one of {backbone}'s: choose {listed(record.widths or (1.0,))}")
    if fit not in FITS:
        raise OptionError(f"fit {fit!r} is unknown: choose one of {listed(FITS)}")
    if features not in FEATURES:
        raise OptionError(f"features {features!r} are unknown: choose one of {listed(FEATURES)}")
    if cut is not None and features != "top":
        raise OptionError("a backbone with a cut has only the features of its top: leave --features or --cut out")
    return Plan(record, _checked_size(record, image_size), float(width), fit, features, cut)


def _checked_size(record: Backbone, image_size: int | tuple[int, int] | None) -> tuple[int, int]:
    size = record.image_size if image_size is None else image_size
    pair = tuple(size) if isinstance(size, Iterable) else (size, size)
    whole = len(pair) == 2 and all(isinstance(side, int) for side in pair)
    if not whole or not all(record.smallest_size <= side <= LARGEST_SIZE for side in pair):
        raise OptionError(
            f"image size {size!r} does not suit {record.name}: give one whole number, or height and width, "
            f"from {record.smallest_size} to {LARGEST_SIZE}"
        )
    return pair[0], pair[1]


def listed(names: Iterable[object]) -> str:
    """Join the valid names for a message."""
    return ", ".join(str(name) for name in names)
