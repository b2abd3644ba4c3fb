"""Real training results with their reports, and what a parser reads in them."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.classify import TrainResult, train
from headstart.classify.evaluation.metrics import evaluate_rows
from headstart.classify.report import write_report
from headstart.extract import embed
from headstart.extract.store.store import Store


@pytest.fixture(scope="session", autouse=True)
def report_extra() -> None:
    """Skip if the extra `report` is not installed."""
    pytest.importorskip("jinja2")
    pytest.importorskip("cleanlab")


HOSTILE = "<img src=x onerror=alert(1)>"
HOSTILE_PATHS = (
    b"a\nb.png",
    b"\xff\xfe.png",
    "\u202egnp.exe.png".encode(),
    b"x</script><script>alert(1)</script>.png",
    b"'\"&amp;{{ 7*7 }}.png",
)


class Page(HTMLParser):
    """A report as an HTML parser sees it: tags with their attributes, text, and the blocks of style and script."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.html = path, path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.blocks: list[str] = []
        self._in_block = False
        self.feed(self.html)
        self.close()
        self.style, data, self.script = self.blocks
        self.data = json.loads(data)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._in_block = tag in ("script", "style")
        if self._in_block:
            self.blocks.append("")

    def handle_endtag(self, tag):
        self._in_block = False

    def handle_data(self, data):
        if self._in_block:
            self.blocks[-1] += data
        else:
            self.text += data

    @property
    def sections(self) -> set[str]:
        """The ids of the sections."""
        return {attributes["id"] for tag, attributes in self.tags if tag == "section"}

    def photo(self, number: int) -> dict[str, Any]:
        return self.data["photos"][number]


@dataclass(frozen=True)
class Trained:
    """A store, what training on it returned, and the page about it."""

    store: Store
    result: TrainResult
    path: Path
    photos: Path | None = None
    page: Page = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "page", Page(self.path))


@pytest.fixture(scope="session")
def hostile(draw_photos, make_backbone, tmp_path_factory) -> Trained:
    """Train on photos with hostile names in two classes, every sixth of them misfiled, and on two other backbones."""
    folder = tmp_path_factory.mktemp("hostile")
    photos = draw_photos(folder / "photos", {HOSTILE: 30, "birch": 30})
    for number in range(0, 30, 6):
        one, other = (photos / name / f"{number:03}.png" for name in (HOSTILE, "birch"))
        swapped = one.read_bytes()
        one.write_bytes(other.read_bytes())
        other.write_bytes(swapped)
    png = (photos / "birch" / "001.png").read_bytes()
    for number, name in enumerate(HOSTILE_PATHS):
        path = os.path.join(os.fsencode(photos), b"birch", name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(png + bytes([number]))  # different bytes, the same picture
    (photos / "birch" / "copy.png").write_bytes(png)
    (photos / "birch" / "broken<b>.png").write_bytes(b"no image")
    untrained = {"weights": {"source": "random", "seed": 2, "trained": False}}
    kinds = {"photos": {}, HOSTILE: {"features": "all-blocks"}, "random": untrained}
    stores = {}
    for seed, (name, metadata) in enumerate(kinds.items()):
        backbone = make_backbone(folder / f"{seed}.onnx", seed, **metadata)
        stores[name], _ = embed(photos, backbone, folder / f"{name}.h5")
    result = train(
        stores["photos"], folder / "flowers.onnx", holdout=0.5, report=folder / "report.html",
        compare=[stores[HOSTILE]], untrained=stores["random"],
    )  # fmt: skip
    return Trained(stores["photos"], result, folder / "report.html", photos)


@pytest.fixture
def reported(tmp_path) -> Callable[..., Trained]:
    """Train on a store, and write the report."""

    def report(store: Store | Path, **options: Any) -> Trained:
        path = tmp_path / "report.html"
        result = train(store, tmp_path / "flowers.onnx", report=path, **options)
        return Trained(store, result, path)

    return report


@pytest.fixture
def rewritten(tmp_path) -> Callable[..., Page]:
    """Write a report once more, with parts of its result replaced."""

    def write(trained: Trained, **changes: Any) -> Page:
        return Page(write_report(tmp_path / "again.html", trained.store, replace(trained.result, **changes)))

    return write


@pytest.fixture(scope="session")
def with_mistakes() -> Callable[[Trained, float], dict[str, Any]]:
    """Give the evaluation of a result as if this share of its photos had been misclassified."""

    def evaluate(trained: Trained, share: float) -> dict[str, Any]:
        store, rows = trained.store, trained.result.split.test
        labels, k = store.labels[rows], len(store.classes)
        wrong = np.arange(len(rows)) < round(share * len(rows))
        probabilities = np.eye(k)[(labels + wrong) % k] * 0.8 + 0.2 / k
        return {"evaluation": evaluate_rows(store, probabilities, rows, store.classes)}

    return evaluate
