"""The Keras side: building a backbone, and the embeddings that its ONNX twin must reproduce."""

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.backbones import Plan
from export.frameworks import Frameworks


def build_network(plan: Plan, frameworks: Frameworks) -> Any:
    """Build the plan's Keras application without its top, globally average-pooled, with weights yet to be set.

    Returns
    -------
    keras.Model
        float32 (n, h, w, 3), scaled by its family's rule, to float32 (n, d).
    """
    width = {"alpha": plan.width} if plan.backbone.widths else {}
    application = getattr(importlib.import_module(plan.backbone.module), plan.backbone.class_name)
    with frameworks.tensorflow.device("/CPU:0"):
        return application(
            include_top=False, weights=None, input_shape=(*plan.image_size, 3), pooling="avg", name="backbone", **width
        )


def preprocess(images: NDArray[np.uint8], plan: Plan) -> Any:
    """Scale pixels (uint8, (n, h, w, 3), RGB, 0-255) by the family's own `preprocess_input`, to float32."""
    return importlib.import_module(plan.backbone.module).preprocess_input(images.astype(np.float32))


def keras_embeddings(network: Any, images: NDArray[np.uint8], plan: Plan) -> NDArray[np.float32]:
    """Embed images the way Keras documents it: the reference for the ONNX model.

    Parameters
    ----------
    network : keras.Model
        A backbone of the plan with its weights.
    images : ndarray of uint8, (n, h, w, 3), RGB, 0-255
        Of the plan's height and width.
    plan : Plan
        Says the family.

    Returns
    -------
    ndarray of float32, (n, d)
    """
    return np.asarray(network(preprocess(images, plan), training=False), np.float32)
