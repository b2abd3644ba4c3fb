"""The neural network head: time from process start to file, and quality on the held-out photos."""

import json
import os
import subprocess
import sys
from itertools import islice, zip_longest
from pathlib import Path
from shutil import copyfile
from typing import Any

from bench.heads.data import Photos, timed

FEW = 77
LARGE = "1024,1024,512"


def lines(photos: Photos) -> list[str]:
    """Return one row per training: the default network, a large one, and the large one on `FEW` photos."""
    few, _ = photos.embedded(str(_some(Path(photos.images), photos.folder / "few")), photos.backbone)
    table = [
        "`headstart train --head mlp`, with all its steps, from process start to file",
        "",
        "| photos | hidden layers | seconds | processor seconds | passes | log loss | calibration error |",
        "|---:|---|---:|---:|---:|---:|---:|",
    ]
    for store, hidden in ((photos.store, "256"), (photos.store, LARGE), (few, LARGE)):
        table.append(_row(photos.folder, store, hidden))
    return table


def _row(folder: Path, store: Any, hidden: str) -> str:
    output: list[str] = []
    command = [sys.executable, "-m", "headstart", "train", str(store.location), "-o", str(folder / "mlp.onnx")]
    command += ["--head", "mlp", "--hidden", hidden, "--json"]
    before = os.times()
    seconds = timed(
        lambda: output.append(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    )
    after = os.times()
    spent = after.children_user - before.children_user + after.children_system - before.children_system
    result = json.loads(output[0])
    metrics, epochs = result["evaluation"], result["search"]["chosen"]["settings"]["epochs"]
    quality = f"{metrics['log_loss']:.3f} | {metrics['calibration_error']:.3f}"
    return f"| {len(store)} | {hidden} | {seconds:.1f} | {spent:.1f} | {epochs} | {quality} |"


def _some(images: Path, folder: Path) -> Path:
    """Copy `FEW` photos, as many of each class as of the others."""
    classes = [sorted(path for path in each.rglob("*") if path.is_file()) for each in sorted(images.iterdir())]
    in_turn = (path for photos in zip_longest(*classes) for path in photos if path)
    for path in islice(in_turn, FEW):
        copy = folder / path.relative_to(images)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copyfile(path, copy)
    return folder
