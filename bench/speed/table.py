"""The benchmark's results and machine as Markdown for people and JSON for programs."""

import datetime
import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.speed.contenders import Task
from bench.speed.race import BASELINE, Result, ratio
from headstart.files.cores import cores

LABELS = {
    "keras": "Keras: image_dataset_from_directory + predict",
    "torch": "PyTorch: DataLoader + model in eval",
    "bare fp32": "onnxruntime alone, fp32, arrays ready in memory",
    "bare int8": "onnxruntime alone, int8, arrays ready in memory",
    "decode": "reading and decoding alone",
    "headstart fp32": "**Headstart fp32**, files to store",
    "headstart int8": "**Headstart int8**, files to store",
    "openvino bf16": "Headstart on OpenVINO in bf16, files to store",
    "openvino int8": "Headstart on OpenVINO with the int8 model, files to store",
    "one core decode": "one core: reading and decoding",
    "one core fp32": "one core: inference fp32",
    "one core int8": "one core: inference int8",
}
PACKAGES = ("headstart", "onnxruntime", "openvino", "tensorflow", "keras", "torch", "pillow", "numpy")


def to_markdown(results: dict[str, Result], shares: dict[str, float], task: Task, rounds: int) -> str:
    """Return a table with the share of the roofline below it."""
    facts = _facts(task, rounds)
    lines = [
        f"Measured {facts['date']} on {facts['cores']} cores of {facts['processor']}; {facts['images']} images; "
        f"median of {rounds} rounds, contenders interleaved. "
        + ", ".join(f"{name} {found}" for name, found in facts["versions"].items())
        + ".",
        "",
        "| contender | images/s | relative to Keras | CPU ms per image | peak memory, MB |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, result in results.items():
        label = LABELS.get(name, name)
        if not result.rates:
            lines.append(f"| {label} | - | - | - | {result.note} |")
            continue
        to_baseline = ratio(results, name) if results[BASELINE].rates else None
        shown = f"{to_baseline:.2f}" if to_baseline else "-"
        lines.append(
            f"| {label} | {result.rate:.0f} | {shown} | {result.cpu_seconds * 1000:.1f} | {result.peak_mb:.0f} |"
        )
    lines += ["", *(f"Share of the roofline, {name}: {share:.2f}" for name, share in shares.items()), ""]
    return "\n".join(lines)


def to_json(results: dict[str, Result], shares: dict[str, float], task: Task, rounds: int) -> str:
    """Return the same as JSON, with every round's rate."""
    contenders: dict[str, Any] = {
        name: {
            "rates": result.rates,
            "cpu_seconds_an_image": result.cpu_seconds,
            "peak_mb": result.peak_mb,
            "ratio_to_keras": ratio(results, name) if results[BASELINE].rates and result.rates else None,
            "note": result.note,
        }
        for name, result in results.items()
    }
    return json.dumps({**_facts(task, rounds), "roofline_share": shares, "contenders": contenders}, indent=2) + "\n"


def _facts(task: Task, rounds: int) -> dict[str, Any]:
    return {
        "date": datetime.date.today().isoformat(),
        "processor": _processor(),
        "cores": cores(),
        "images": sum(path.is_file() for path in Path(task.images).rglob("*")),
        "rounds": rounds,
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
