"""The training report: what it says, what it leaves out, that names in it are inert, and that a browser shows it."""

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from headstart.classify.confidence.calibration import Calibration, reliability
from headstart.classify.evaluation.baselines import Baseline
from headstart.classify.evaluation.learning_curve import CurvePoint, LearningCurve
from headstart.classify.evaluation.metrics import Evaluation, judge_rows
from headstart.classify.heads.kinds import Candidate
from headstart.classify.report import ReportError, check_report_output, write_report
from headstart.classify.report import map as map_module
from headstart.classify.report import photos as photos_module
from headstart.classify.report.confusion import MOST_CLASSES
from headstart.classify.report.figures import tuning_curves
from headstart.classify.report.gather import gather
from headstart.classify.report.map import lay_out
from headstart.classify.report.page import policy, to_json
from headstart.classify.report.text import counted, percent, printable
from headstart.extract import embed, open_store
from headstart.extract.store.schema import Header, Rows
from headstart.extract.store.store import Store
from headstart.files.errors import OutputError

HOSTILE = "<img src=x onerror=alert(1)>"
HOSTILE_PATHS = (
    b"a\nb.png",
    b"\xff\xfe.png",
    "\u202egnp.exe.png".encode(),
    b"x</script><script>alert(1)</script>.png",
    b"'\"&amp;{{ 7*7 }}.png",
)


# Results made of arrays: what `train` would give, with mistakes where they are wanted.


def result_of(table: Store, wrong: float = 0.2, **changes: object) -> SimpleNamespace:
    """Judge every third labelled row with made-up answers, about this share of them wrong."""
    classes, rng = table.classes, np.random.default_rng(0)
    rows = np.flatnonzero(table.is_embedded & (table.labels >= 0))[::3]
    labels = table.labels[rows]
    answers = np.where(rng.random(len(rows)) < wrong, (labels + 1) % len(classes), labels)
    given = rng.random((len(rows), len(classes))) * 0.1
    given[np.arange(len(rows)), answers] += rng.uniform(0.5, 2, len(rows))
    given /= given.sum(axis=1, keepdims=True)
    evaluation = judge_rows(table, given, rows, classes)
    more = {
        "accuracy_interval": (evaluation.accuracy - 0.05, min(evaluation.accuracy + 0.05, 1.0)),
        "majority": 0.4,
        "untrained": 0.55,
        "reliability": reliability(given, labels),
        "rows": rows,
        "probabilities": given,
    }
    candidates = [Candidate("logreg", c, loss, 0.8) for c, loss in ((0.001, 0.5), (0.01, 0.3), (0.1, 0.4))]
    metadata = {"head": {"name": "logreg", "c": 0.01, "seed": 0}, "backbone": "tiny", "versions": {"numpy": "2"}}
    said = {
        "classifier": SimpleNamespace(classes=classes, model=SimpleNamespace(metadata=metadata, sha256="ab" * 32)),
        "path": Path("flowers.onnx"),
        "trained_images": 40,
        "judged_on": "a hold-out of 33% by content",
        "is_backbone_trained": True,
        "seconds": 1.25,
        "warnings": ["two photos are copies"],
        "evaluation": SimpleNamespace(**vars(evaluation) | more),
        "search": SimpleNamespace(
            candidates=[*candidates, Candidate("mlp", None, 0.35, 0.8)],
            chosen=candidates[1],
            folds=5,
            reason="the lowest log loss",
        ),
        "calibration": Calibration(1.3, reliability(given, labels), reliability(given, labels)),
        "unknown": SimpleNamespace(false_alarm_rate=0.05, distance=1.5, probability=0.4, measured=0.06),
        "curve": LearningCurve([CurvePoint(20, 0.7, 0.8), CurvePoint(40, 0.8, 0.6)], CurvePoint(80, 0.85, 0.5)),
        "duplicates": SimpleNamespace(
            groups=[SimpleNamespace(rows=[0, 1], kind="near", crosses_labels=False, crosses_splits=True)]
        ),
        "compared": compared_with(evaluation),
        "suspects": [
            SimpleNamespace(row=0, path=table.paths[0], label=classes[0], likely=classes[1], quality=0.01),
        ],
    }
    return SimpleNamespace(**said | changes)


def compared_with(evaluation: Evaluation) -> list[Baseline]:
    """Give this head, four others at these distances from it in accuracy, and the majority class."""
    features = {
        "frozen head": ("photos.h5", 1280, 0.8), "all blocks, frozen head": ("blocks.h5", 13_000, 4.3),
        "tail tuned behind block_12": (f"{HOSTILE}.h5", 1280, 0.7), "untrained": ("random.h5", 1280, 2.1),
    }  # fmt: skip
    n, own = evaluation.images, evaluation.accuracy
    rows = [Baseline("majority class", "", n, 0.4, (0.3, 0.5), 1.09)]
    for (what, (store, dim, seconds)), far in zip(features.items(), (0, 0.02, 0.05, -0.25), strict=True):
        interval = (own + far - 0.03, min(own + far + 0.03, 1))
        rows.insert(-1, Baseline(what, store, n, own + far, interval, 0.3, dim, 2 * dim, seconds))
    different = [SimpleNamespace(accuracy_difference=one.accuracy - own,
                                 accuracy_interval=(one.accuracy - own - 0.03, one.accuracy - own + 0.03))
                 for one in rows]  # fmt: skip
    return [rows[0], *(replace(one, difference=found) for one, found in zip(rows[1:], different[1:], strict=True))]


@pytest.fixture
def written(tiny_store, tmp_path):
    """Write the report of the tiny store, with the result changed as asked for, and give it as read."""

    def write(table: Store | None = None, **changes: object) -> "Page":
        table = table or open_store(tiny_store)
        return Page(write_report(tmp_path / "report.html", table, result_of(table, **changes)))

    return write


@pytest.fixture(scope="module")
def hostile_store(tmp_path_factory, draw_photos, tiny_backbone) -> Store:
    """Photos whose class and files are named to do harm, 12 in each of two classes."""
    folder = draw_photos(tmp_path_factory.mktemp("hostile") / "photos", {HOSTILE: 12, "birch": 12})
    png = (folder / "birch" / "000.png").read_bytes()
    for number, name in enumerate(HOSTILE_PATHS):
        place = os.path.join(os.fsencode(folder), b"birch", name)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, "wb") as file:
            file.write(png + bytes([number]))  # another content, the same picture
    (folder / "birch" / "broken<b>.png").write_bytes(b"no image")
    store, _ = embed(folder, tiny_backbone, folder.parent / "photos.h5")
    return store


class Page(HTMLParser):
    """A report as a parser of HTML sees it: tags with their attributes, text, and the blocks of style and script."""

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

    def photo(self, number: int) -> dict:
        return self.data["photos"][number]


# What it says.


def test_it_says_what_was_measured(written, tiny_store):
    page = written()
    evaluation = result_of(open_store(tiny_store)).evaluation
    for said in ("flowers.onnx", f"{100 * evaluation.accuracy:.1f}%", "40.0%", "55.0%", f"{evaluation.log_loss:.3f}",
                 "Two photos are copies", "logistic regression, C = 0.01", "the lowest log loss", "a hold-out of 33%",
                 "ab" * 32, "6.0%"):  # fmt: skip
        assert said in page.text, said
    assert page.data["classes"] == ["ash", "birch", "cedar"]
    assert np.array_equal(page.data["confusion"]["counts"], evaluation.confusion)
    assert page.data["mistakes"]["total"] == evaluation.confusion.sum() - evaluation.confusion.trace()
    assert [row[1] for row in page.data["table"]["rows"]] == [20, 20, 20]
    assert page.data["failures"]["rows"][0][0] == "ash/broken.png"
    assert page.data["search"]["candidates"][1] == {
        "head": "logreg", "c": 0.01, "loss": 0.3, "accuracy": 0.8, "chosen": True,
    }  # fmt: skip
    assert page.data["curve"]["forecast"] == [80, 0.85, 0.5]


def test_mistakes_come_with_the_surest_first_and_cells_hold_their_own_photos(written):
    page = written()
    sureness = [page.photo(number)["answers"][0][1] for number in page.data["mistakes"]["photos"]]
    assert sureness == sorted(sureness, reverse=True)
    assert len(sureness) > 1
    for cell, numbers in page.data["confusion"]["cells"].items():
        label, answer = map(int, cell.split(","))
        photos = [page.photo(number) for number in numbers]
        assert {(photo["label"], photo["answers"][0][0]) for photo in photos} == {(label, answer)}


def test_thumbnails_show_the_photos_and_one_content_has_one(written):
    page = written()
    numbers = [photo["thumb"] for photo in page.data["photos"]]
    assert sorted(numbers) == list(range(60))
    with Image.open(io.BytesIO(base64.b64decode(page.data["thumbs"][0]))) as image:
        assert (image.format, image.size) == ("JPEG", (40, 30))


def test_copies_of_one_file_share_a_thumbnail(written, draw_photos, tiny_backbone, tmp_path):
    folder = draw_photos(tmp_path / "photos", {"ash": 6, "birch": 6})
    shutil.copy(folder / "ash" / "000.png", folder / "birch" / "copy.png")
    store, _ = embed(folder, tiny_backbone, tmp_path / "photos.h5")
    thumb = {photo["path"]: photo["thumb"] for photo in written(store).data["photos"]}
    assert thumb["ash/000.png"] == thumb["birch/copy.png"]
    assert len(set(thumb.values())) == 12


def test_a_photo_that_is_gone_is_told_of_without_a_picture(written, draw_photos, tiny_backbone, tmp_path):
    folder = draw_photos(tmp_path / "photos", {"ash": 6, "birch": 6})
    store, _ = embed(folder, tiny_backbone, tmp_path / "photos.h5")
    (folder / "ash" / "000.png").unlink()
    thumb = {photo["path"]: photo["thumb"] for photo in written(store).data["photos"]}
    assert [path for path, number in thumb.items() if number is None] == ["ash/000.png"]


def test_a_section_without_data_is_left_out(written):
    full, bare = (
        [attributes["id"] for tag, attributes in page.tags if tag == "section"]
        for page in (
            written(),
            written(wrong=0, unknown=None, curve=None, search=None, suspects=[], warnings=[], compared=[],
                    duplicates=SimpleNamespace(groups=[])),
        )
    )  # fmt: skip
    assert set(full) - set(bare) == {"mistakes", "unknown", "curve", "search", "suspects", "duplicates", "compared"}


def test_it_tells_what_the_head_was_compared_with(written):
    own, blocks, *_, majority = written().data["compared"]
    assert (own["what"], own["store"], own["difference"]) == ("frozen head", "photos.h5", None)
    assert (blocks["bytes"], blocks["seconds"]) == (26_000, 4.3)
    assert blocks["difference"] == pytest.approx([0.02, -0.01, 0.05])
    assert (majority["bytes"], majority["seconds"], majority["interval"]) == (None, None, [0.3, 0.5])


def test_the_majority_class_alone_is_no_section(written):
    assert written(compared=compared_with(result_of(many(30, 3)).evaluation)[-2:]).data["compared"] is None


def test_a_tuned_backbone_shows_how_it_was_tuned(written, tuned_store):
    page = written(open_store(tuned_store))
    assert "The network behind block_12 was tuned on 30 photos; 10 others chose epoch 2 of 3." in page.text
    assert page.data["tuning"]["epochs"] == [[1, 0.31, 0.885], [2, 0.24, 0.92], [3, 0.26, 0.915]]
    assert page.data["tuning"]["frozen"] == [0, 0.3, 0.89]


@pytest.mark.parametrize(
    "said",
    [None, [], {}, {"epochs": []}, {"epochs": [{"epoch": 1}]}, {"frozen_log_loss": float("nan")}, {"images": "many"},
     {"kept_epoch": float("inf")}],
)  # fmt: skip
def test_a_backbone_that_says_too_little_of_its_tuning_has_no_curves(tuned_store, said):
    model = open_store(tuned_store).header.model
    assert tuning_curves(model) is not None
    assert tuning_curves({"tuned": model["tuned"] | said if said else said}) is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (0, "No photo was given a wrong class."),
        (0.01, "No class is taken for another more than once."),
        (0.3, "Most often, “"),
        (0.75, "has not been shown to do better"),
    ],
)
def test_the_verdict_fits_the_figures(written, wrong, said):
    assert said in written(wrong=wrong).text


def test_an_untrained_backbone_is_warned_of(written):
    assert "untrained: this is only a baseline" in written(is_backbone_trained=False).text


def test_the_same_result_gives_the_same_file(written):
    assert written().html == written().html


# It is one inert file.


def test_its_policy_allows_its_own_blocks_and_nothing_else(written):
    page = written()
    (said,) = [a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    digest = {name: base64.b64encode(hashlib.sha256(getattr(page, name).encode()).digest()).decode()
              for name in ("style", "script")}  # fmt: skip
    assert said == policy(page.style, page.script)
    assert dict(part.split(" ", 1) for part in said.split("; ")) == {
        "default-src": "'none'",
        "style-src": f"'sha256-{digest['style']}'",
        "script-src": f"'sha256-{digest['script']}'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_it_asks_for_nothing_and_has_no_inline_style_or_handler(written):
    for tag, attributes in written().tags:
        assert not {name for name in attributes if name == "style" or name.startswith("on")}, tag
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), attributes
    dangerous = ("innerHTML", "outerHTML", "insertAdjacent", "document.write")
    assert not [word for word in dangerous if word in written().script]


def test_hostile_names_are_inert(written, hostile_store):
    page = written(hostile_store, warnings=[f"about {HOSTILE} and \u202e"])
    assert [tag for tag, _ in page.tags].count("script") == 2
    assert "img" not in {tag for tag, _ in page.tags}
    assert f"About {HOSTILE} and \\u202e" in page.text
    assert HOSTILE in page.data["classes"]
    paths = {photo["path"] for photo in page.data["photos"]}
    assert paths >= {
        r"birch/a\nb.png",
        r"birch/\xff\xfe.png",
        r"birch/\u202egnp.exe.png",
        "birch/x</script><script>alert(1)</script>.png",
        "birch/'\"&amp;{{ 7*7 }}.png",
    }


@pytest.mark.parametrize("text", ["</script>", "<!--", "&lt;", "\u2028\u2029", "<img src=x onerror=alert(1)>"])
def test_json_in_the_page_cannot_end_its_block(text):
    written = to_json({text: [text]})
    assert not set(written) & set("<>&\u2028\u2029")
    assert json.loads(written) == {text: [text]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain café 中文 👩‍🌾", "plain café 中文 👩‍🌾"),
        ("a\nb\tc\x00", r"a\nb\tc\x00"),
        ("\u202e\u2066\ufeff", r"\u202e\u2066\ufeff"),
        ("\udcff\ud800", r"\xff\ud800"),
        ("a" * 100 + "b" * 200, "a" * 66 + "…" + "b" * 133),
    ],
)
def test_names_become_text_that_can_be_shown(text, expected):
    assert printable(text) == expected
    assert printable(text).encode()


def test_figures_are_never_rounded_to_certainty():
    said = ["0%", "100%", "over 99.9%", "under 0.1%", "50.0%", "–"]
    assert [percent(share) for share in (0, 1, 0.9999, 0.0001, 0.5, float("nan"))] == said
    assert [counted(1, "photo"), counted(1200, "class", "classes")] == ["1 photo", "1,200 classes"]


# It stays small, and writes whole or not at all.


@pytest.mark.parametrize("classes", [5, 300])
def test_50000_photos_fit_in_15_megabytes(written, classes, monkeypatch):
    monkeypatch.setattr(map_module, "STEPS", 250)
    monkeypatch.setattr("headstart.extract.thumbnails.thumbnail", lambda *_, **__: bytes(20_000))
    page = written(many(50_000, classes))
    assert page.path.stat().st_size < 15_000_000
    assert sum(map(len, page.data["thumbs"])) <= photos_module.MAX_CHARACTERS
    assert len(page.data["thumbs"]) > 300
    assert len(page.data["map"]["points"]) == map_module.MOST
    assert page.data["map"]["total"] == 50_000
    assert len(page.data["mistakes"]["photos"]) == 60 < page.data["mistakes"]["total"]
    assert len(page.data["confusion"]["shown"]) == min(classes, MOST_CLASSES)
    assert len(page.data["photos"]) < 8_000


def many(n: int, k: int) -> Store:
    """Give a store of n rows that lies in memory alone, with long names."""
    rng = np.random.default_rng(0)
    names = tuple(f"種類-{number:03}" for number in range(k))
    rows = Rows(
        path=np.array([os.fsencode(f"{'長い' * 30}/{number:06}.jpg") for number in range(n)]),
        sha256=rng.integers(0, 256, (n, 32), np.uint8),
        size=np.full(n, 30_000, np.int64),
        mtime_ns=np.zeros(n, np.int64),
        label=(np.arange(n) % k).astype(np.int32),
        split=np.zeros(n, np.int8),
        status=np.zeros(n, np.int8),
        reason=np.zeros(n, "S1"),
    )
    header = Header({}, "0" * 64, "embedding", (16,), "float32", names, "photos", ("made",))
    zeros = np.zeros(n, np.int64)
    return InMemory(Path("made.h5"), header, rows, (), (), (), ("photos",), zeros, zeros)


class InMemory(Store):
    def embeddings(self, which=None):
        return np.random.default_rng(0).normal(0, 1, (len(which), 16)).astype(np.float32)


def test_the_reading_of_photos_is_bounded(written, monkeypatch):
    monkeypatch.setattr(photos_module, "MAX_READ", 20_000)
    page = written()
    assert 1 <= len(page.data["thumbs"]) < 20


def test_another_name_than_html_is_refused(tiny_store, tmp_path):
    with pytest.raises(ReportError, match=r"report\.pdf: expected a name that ends in \.html"):
        check_report_output(tmp_path / "report.pdf")


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(OutputError, match="does not exist"):
        check_report_output(tmp_path / "none" / "report.html")


def test_a_missing_package_is_named_with_the_way_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ReportError, match=r'pip install "headstart\[report\]"'):
        check_report_output(tmp_path / "report.html")


def test_nothing_heavy_is_loaded_before_it_is_needed():
    heavy = "{'jinja2', 'PIL', 'sklearn', 'onnxruntime'}"
    code = f"import sys, headstart.classify.report; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# The map.


@pytest.mark.parametrize(("n", "method"), [(1, "PCA"), (2, "PCA"), (29, "PCA"), (30, "t-SNE"), (80, "t-SNE")])
def test_the_map_lies_within_its_frame(n, method):
    vectors = np.random.default_rng(1).normal(0, 1, (n, 16)).astype(np.float32)
    found, places = lay_out(vectors)
    assert found == (method if n > 1 else "nothing to compare")
    assert places.shape == (n, 2)
    assert np.isfinite(places).all()
    assert places.min() >= 0
    assert places.max() <= 1


def test_photos_that_are_all_alike_have_a_map_too():
    _, places = lay_out(np.ones((40, 16), np.float32))
    assert np.isfinite(places).all()


def test_on_the_map_classes_that_differ_lie_apart(clusters):
    vectors, codes = clusters(90, 3, spread=0.2)
    _, places = lay_out(vectors)
    far = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(far, np.inf)
    assert (codes[far.argmin(axis=1)] == codes).mean() > 0.95


def test_a_sample_for_the_map_has_the_misjudged(tiny_store, monkeypatch):
    monkeypatch.setattr(map_module, "MOST", 30)
    table = open_store(tiny_store)
    points = gather(table, result_of(table))["map"]["points"]
    assert len(points) == 30
    assert sum(point[3] for point in points) == gather(table, result_of(table))["mistakes"]["total"]


# In a browser.

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Start Chromium; skip where there is none, or fail with ``HEADSTART_REQUIRE_BROWSER=1``."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    try:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
    except ImportError:
        webdriver = None
    if not (chromium and driver and webdriver):
        told = "needs selenium and the programs chromium and chromedriver (Debian: chromium, chromium-driver)"
        (pytest.fail if os.environ.get("HEADSTART_REQUIRE_BROWSER") == "1" else pytest.skip)(told)
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    running = webdriver.Chrome(options=options, service=Service(driver))
    yield running
    running.quit()


@pytest.fixture
def shown(browser, written, hostile_store):
    """Show the report of the hostile names; afterwards, see that nothing was complained of or fetched."""

    def show(width: int = 1400, table: Store = hostile_store, **changes: object) -> "Shown":
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get(written(table, **changes).path.as_uri())
        return Shown(browser)

    browser.get("about:blank")
    browser.get_log("browser"), browser.get_log("performance")
    yield show
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert asked, "the log of the network is empty: the check is blind"
    assert {url for url in asked if not url.startswith("data:")} == {browser.current_url.partition("#")[0]}


class Shown:
    """A page in the browser."""

    def __init__(self, browser) -> None:
        self.browser = browser

    def all(self, selector: str) -> list:
        return self.browser.find_elements("css selector", selector)

    def one(self, selector: str):
        return self.browser.find_element("css selector", selector)

    def run(self, script: str, *arguments: object):
        return self.browser.execute_script(script, *arguments)

    def click(self, selector: str) -> None:
        self.run("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", self.one(selector))
        self.one(selector).click()

    def press(self, *keys: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.browser).send_keys(*keys).perform()

    def hover(self, selector: str, x: float, y: float) -> None:
        """Move the mouse to a place within an element, from its top left corner."""
        from selenium.webdriver.common.action_chains import ActionChains

        element = self.one(selector)
        self.run("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
        width, height = element.size["width"], element.size["height"]
        ActionChains(self.browser).move_to_element_with_offset(
            element, round(x - width / 2), round(y - height / 2)
        ).perform()

    def focused(self) -> str:
        return self.run("return document.activeElement.getAttribute('aria-label')")

    def until(self, condition: str) -> None:
        """Wait for a condition in the page's script."""
        end = time.monotonic() + 5
        while not self.run(f"return {condition}"):
            assert time.monotonic() < end, f"never came: {condition}"
            time.sleep(0.02)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 390, 1000, 1400, 1600])
def test_no_width_makes_the_page_scroll_sideways(shown, width, scheme):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page = shown(width)
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    page.click(".pairs button")
    assert page.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    # Whatever a section cuts off must be within reach: in a part that scrolls by itself.
    beyond = """
        const scrolls = ".scroll, .group .photos, .card";
        const found = [...document.querySelectorAll("main *")].filter((one) => !one.closest(scrolls));
        const out = found.filter((one) => one.getBoundingClientRect().right > innerWidth + 1);
        return out.map((one) => one.outerHTML.slice(0, 80));"""
    assert page.run(beyond) == []


def test_hostile_names_are_shown_as_they_are(shown):
    page = shown()
    assert page.one(".table tbody bdi").text in (HOSTILE, "birch")
    assert HOSTILE in [name.text for name in page.all("#classes bdi")]
    assert page.run("return [...document.images].every((one) => one.src.startsWith('data:image/jpeg'))")
    assert page.run("return document.scripts.length") == 2


def test_a_cell_shows_its_photos(shown):
    page = shown()
    assert not page.one(".panel").is_displayed()
    page.click(".cell.wrong.some")
    wanted = int(page.one(".cell.wrong.some").get_attribute("data-count"))
    assert page.one(".panel").is_displayed()
    assert len(page.all(".panel .card")) == wanted
    page.until("[...document.querySelectorAll('.panel img')].every((one) => one.naturalWidth > 0)")
    assert len(page.all(".panel img")) == wanted
    assert "%" in page.one(".panel .says").text
    page.click(".panel header button")
    assert not page.one(".panel").is_displayed()


def test_the_grid_works_without_a_mouse(shown):
    page = shown()
    page.run("document.querySelector('.cell').focus()")
    assert "birch taken for birch" in page.focused() or f"{HOSTILE} taken for {HOSTILE}" in page.focused()
    page.press("\ue014")  # right
    moved = page.focused()
    assert moved == page.all(".cell")[1].get_attribute("aria-label")
    page.press("\ue015", "\ue012")  # down, left
    assert page.focused() == page.all(".cell")[2].get_attribute("aria-label")
    page.press("\ue013", "\ue007")  # up, Enter
    assert page.focused() == page.all(".cell")[0].get_attribute("aria-label")
    assert page.one(".panel").is_displayed()
    assert len(page.all(".cell[tabindex='0']")) == 1


def test_each_section_says_how_much_of_it_is_shown(shown):
    page = shown()
    total = page.run("return document.querySelectorAll('#mistakes .card').length")
    assert page.one("#mistakes .note").text == f"{total} photos, the surest first."
    assert page.one("#duplicates .note").text == "1 group."
    assert page.one("#map .note").text == "29 photos. Laid out by PCA."
    assert page.one("#failures .note").text == "1 file."


def test_a_photo_can_be_looked_at(shown):
    page = shown()
    page.click("#mistakes .card")
    assert page.one("dialog h3").text == page.one("#mistakes .card").get_attribute("title")
    page.until("document.querySelector('dialog img').naturalWidth > 0")
    page.press("\ue00c")  # Escape
    assert not page.one("dialog").is_displayed()


def test_the_table_of_classes_can_be_sorted(shown):
    page = shown()
    names = [[name.text for name in page.all("#classes tbody bdi")]]
    for _ in range(2):
        page.click("#classes th:first-child .sort")
        names.append([name.text for name in page.all("#classes tbody bdi")])
    assert page.one("#classes th[aria-sort]").get_attribute("aria-sort") == "descending"
    assert names[1] == names[2][::-1] == sorted(names[1])


def test_heads_on_other_stores_stand_beside_this_one(shown):
    page = shown()
    assert [row.text.splitlines() for row in page.all("#compared tbody th")] == [
        ["frozen head this one", "photos.h5"], ["all blocks, frozen head", "blocks.h5"],
        ["tail tuned behind block_12", f"{HOSTILE}.h5"], ["untrained", "random.h5"], ["majority class"],
    ]  # fmt: skip
    assert [cell.text.splitlines() for cell in page.all("#compared tbody td:nth-child(4)")][:3] == [
        [], ["+2.0", "−1.0 to +5.0"], ["+5.0", "+2.0 to +8.0"],
    ]  # fmt: skip
    assert [cell.text for cell in page.all("#compared .clear")][:2] == ["+5.0", "−25.0"]
    centres = [dot["x"] + dot["width"] / 2 for dot in (dot.rect for dot in page.all("#compared .dot"))]
    own, blocks, tuned, untrained = centres[:4]
    assert (tuned - own) / (blocks - own) == pytest.approx(2.5, rel=0.05)
    assert (own - untrained) / (tuned - own) == pytest.approx(5, rel=0.05)


def test_the_epochs_of_a_tuning_are_drawn(shown, tuned_store):
    page = shown(table=open_store(tuned_store), curve=LearningCurve([CurvePoint(20, 0.7, 0.8), CurvePoint(40, 0.8, 1)]))
    loss, accuracy = page.all("#tuning .chart")
    assert loss.find_element("css selector", ".strong").text == "0.240"
    assert accuracy.find_element("css selector", ".strong").text == "92.0%"
    assert "frozen head 0.300" in loss.text
    assert [len(chart.find_elements("css selector", ".dot.hollow")) for chart in (loss, accuracy)] == [2, 2]
    found = (loss.find_element("css selector", one).rect for one in (".dot.hollow", ".ideal", ".dot.chosen"))
    first, dashed, kept = (one["y"] + one["height"] / 2 for one in found)
    assert (dashed - first) / (kept - first) == pytest.approx(0.01 / 0.07, abs=0.02)  # log loss 0.31, 0.3, 0.24
    assert "Only the head changes" in page.one("#curve .lead").text


def test_a_dot_on_the_map_tells_of_its_photo(shown):
    page = shown()
    where = """
        const data = JSON.parse(document.getElementById("data").textContent);
        const [x, y, photo] = data.map.points[0];
        const { width, height } = document.querySelector("canvas").getBoundingClientRect();
        return [22 + x * (width - 44), 22 + (1 - y) * (height - 44), data.photos[photo].path];"""
    x, y, path = page.run(where)
    assert not page.one(".tip").is_displayed()
    page.hover("canvas", x, y)
    assert page.one(".tip .path").text == path
    page.until("document.querySelector('.tip img').naturalWidth > 0")
    page.hover("h1", 1, 1)
    assert not page.one(".tip").is_displayed()


def test_the_map_works_without_a_mouse(shown):
    page = shown()
    page.run("document.querySelector('canvas').focus()")
    told = []
    for key in "\ue014\ue014\ue013\ue012":
        page.press(key)
        told.append(page.one(".tip .path").text)
    assert len(set(told)) > 1
    page.press("\ue007")  # Enter
    assert page.one("dialog h3").text == told[-1]


def test_the_legend_takes_a_class_off_the_map(shown):
    page = shown()
    pixels = """
        const canvas = document.querySelector("canvas");
        const copy = document.createElement("canvas");  // one that is read often warns of it
        [copy.width, copy.height] = [canvas.width, canvas.height];
        const pen = copy.getContext("2d", { willReadFrequently: true });
        pen.drawImage(canvas, 0, 0);
        const all = pen.getImageData(0, 0, copy.width, copy.height).data;
        return all.reduce((sum, value, at) => sum + (at % 4 === 3 && value > 0), 0);"""
    before = page.run(pixels)
    page.click(".legend button")
    assert page.one(".legend button").get_attribute("aria-pressed") == "false"
    assert 0 < page.run(pixels) < 0.8 * before
    page.click(".legend button")
    assert page.run(pixels) == before
    page.click(".legend .only")
    assert 0 < page.run(pixels) < 0.8 * before


def test_on_paper_it_is_all_there(shown):
    page = shown(table=many(120, 3), wrong=0.9)
    assert len(page.all(".more")) == 1
    mistakes = page.run("return JSON.parse(document.getElementById('data').textContent).mistakes.total")
    data = page.browser.execute_cdp_cmd("Page.printToPDF", {})["data"]
    assert base64.b64decode(data).startswith(b"%PDF")
    assert page.one("details").get_attribute("open") is not None
    assert page.all(".more") == []
    assert len(page.all("#mistakes .card")) == mistakes > 18


def test_without_script_it_still_says_what_matters(shown):
    page = shown()
    page.browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        page.browser.refresh()
        assert page.one(".accuracy .figure").text.endswith("%")
        assert "need JavaScript" in page.one("noscript").text
    finally:
        page.browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
