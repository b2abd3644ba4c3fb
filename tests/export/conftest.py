"""Each backbone is exported once a session, and each test reads what it needs from that."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Exported:
    """One exported file with the Keras network that it came from, and the same network with its named outputs."""

    summary: Any
    model: onnx.ModelProto
    network: Any
    outputs: Any
    plan: Any

    def onnx(self, images: np.ndarray) -> np.ndarray:
        from headstart.export.conversion.parity import run_onnx

        return run_onnx(self.summary.path.read_bytes(), images)

    def keras(self, images: np.ndarray) -> np.ndarray:
        from headstart.export.conversion.network import keras_embeddings

        return keras_embeddings(self.outputs, images, self.plan)


@pytest.fixture(scope="session")
def frameworks():
    pytest.importorskip("tensorflow", reason="needs the extra `export`")
    from headstart.export.conversion.frameworks import load_frameworks

    return load_frameworks()


def arrays_of(weights: Any) -> list[np.ndarray]:
    """Return MobileNetV2's weights in the order of Keras."""
    pairs = zip(weights.kernels, weights.norms, strict=True)
    return [array for kernel, norm in pairs for array in (kernel, norm.gamma, norm.beta, norm.mean, norm.variance)]


@pytest.fixture(scope="session")
def exported(tmp_path_factory, frameworks, give_back_memory) -> Callable[..., Exported]:
    """Export a backbone once for each set of options, and build the same network with Keras."""
    from headstart.export import export_backbone
    from headstart.export.backbones import make_plan
    from headstart.export.conversion.network import build_network, with_blocks
    from headstart.export.mobilenet_v2.network import ArrayNetwork
    from headstart.export.weights.load import find_weights, load_weights

    folder = tmp_path_factory.mktemp("exported")
    made: dict[tuple[Any, ...], Exported] = {}

    def make(backbone: str, weights: Any = "random", **options: Any) -> Exported:
        key = (backbone, str(weights), *sorted(options.items()))
        if key not in made:
            summary = export_backbone(folder / f"{len(made)}.onnx", backbone=backbone, weights=weights, **options)
            features = {name: options[name] for name in ("features", "cut") if name in options}
            size, width = options.get("image_size"), options.get("width", 1.0)
            plan = make_plan(backbone, size, width, "squash", **features)
            network = build_network(plan, frameworks)
            source = find_weights(weights, plan, options.get("seed", 0))
            if plan.backbone.is_built_from_arrays:  # drawn weights are calibrated by another engine
                network.set_weights(arrays_of(ArrayNetwork(plan, source).weights))
            else:
                load_weights(network, source, plan, frameworks)
            outputs = with_blocks(network, plan, frameworks)
            made[key] = Exported(summary, onnx.load(summary.path), network, outputs, plan)
            give_back_memory()
        return made[key]

    return make


@pytest.fixture
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a program in a fresh interpreter that imports our package."""

    def run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error::ResourceWarning", "-c", program],
            env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    return run
