"""The page in headless Chromium: it works with mouse and keyboard at any width, and loads nothing."""

import base64
import json
import os
import shutil

import numpy as np
import pytest

from headstart.classify.evaluation.comparison import Comparison
from headstart.extract import open_store

HOSTILE = "<img src=x onerror=alert(1)>"
PATIENCE = 120
"""Seconds after which something that never comes is given up; nothing waits that long otherwise."""

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
        missing = "needs selenium and the programs chromium and chromedriver (Debian: chromium, chromium-driver)"
        (pytest.fail if os.environ.get("HEADSTART_REQUIRE_BROWSER") == "1" else pytest.skip)(missing)
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    running = webdriver.Chrome(options=options, service=Service(driver))
    yield running
    running.quit()


@pytest.fixture
def shown(browser, hostile):
    """Show a report, by default that of the hostile names; afterwards, check that nothing was logged or loaded."""

    def show(width: int = 1400, page=hostile.page) -> "Shown":
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get(page.path.as_uri())
        shown = Shown(browser)
        shown.until("""[...document.querySelectorAll(".chart svg")].every(
            (one) => one.viewBox.baseVal.width === Math.round(one.parentElement.clientWidth))""")
        return shown

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
        from selenium.webdriver.support.wait import WebDriverWait

        WebDriverWait(self.browser, PATIENCE, 0.02).until(lambda _: self.run(f"return {condition}"), condition)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 390, 1000, 1400, 1600])
def test_no_width_makes_the_page_scroll_sideways(shown, width, scheme):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page = shown(width)
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    page.click(".pairs button")
    assert page.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    # Whatever a section cuts off must be reachable: in a part that scrolls by itself.
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


def test_each_section_says_how_much_of_it_is_shown(shown, hostile):
    page = shown()
    total = page.run("return document.querySelectorAll('#mistakes .card').length")
    assert page.one("#mistakes .note").text == f"{total} photos, the most confident first."
    assert page.one("#duplicates .note").text == "1 group."
    total = int(hostile.store.is_embedded.sum())
    assert page.one("#map .note").text == f"{total} photos. Laid out by t-SNE."
    assert page.one("#failures .note").text == "1 file."


def test_a_photo_can_be_enlarged(shown):
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


def test_the_baselines_stand_beside_this_head(shown, hostile):
    page, baselines = shown(), hostile.result.baselines
    assert [row.text.splitlines() for row in page.all("#baselines tbody th")] == [
        ["frozen head this one", "photos.h5"], ["all blocks, frozen head", f"{HOSTILE}.h5"],
        ["untrained", "random.h5"], ["majority class"],
    ]  # fmt: skip
    centres = [dot["x"] + dot["width"] / 2 for dot in (dot.rect for dot in page.all("#baselines .dot"))]
    accuracy = [one.accuracy for one in baselines]
    assert min(accuracy) < max(accuracy)
    assert centres == pytest.approx(np.polyval(np.polyfit(accuracy, centres, 1), accuracy), abs=1)
    assert centres[np.argmax(accuracy)] > centres[np.argmin(accuracy)] + 50


def points(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "\N{MINUS SIGN}")


def test_differences_are_in_points_and_bold_if_they_are_clear(shown, hostile):
    page = shown()
    found: list[Comparison] = [one.difference for one in hostile.result.baselines[1:]]
    assert found[-1].accuracy_interval[1] < 0, "the majority class is clearly worse"
    cells = page.all("#baselines tbody td:nth-child(4)")
    assert cells[0].text == ""
    for cell, difference in zip(cells[1:], found, strict=True):
        low, high = difference.accuracy_interval
        middle, interval = cell.text.splitlines()
        assert interval == f"{points(low)} to {points(high)}"
        assert middle.lstrip("+") == points(difference.accuracy_difference).lstrip("+")
        assert len(cell.find_elements("css selector", ".clear")) == (low > 0 or high < 0)


def test_the_epochs_of_a_tuning_are_drawn(shown, reported, tuned_store):
    page = shown(page=reported(open_store(tuned_store)).page)
    loss, accuracy = page.all("#tuning .chart")
    assert loss.find_element("css selector", ".strong").text == "0.240"
    assert accuracy.find_element("css selector", ".strong").text == "92.0%"
    assert "frozen head 0.300" in loss.text
    assert [len(chart.find_elements("css selector", ".dot.hollow")) for chart in (loss, accuracy)] == [2, 2]
    found = (loss.find_element("css selector", one).rect for one in (".dot.hollow", ".ideal", ".dot.chosen"))
    first, dashed, kept = (one["y"] + one["height"] / 2 for one in found)
    assert (dashed - first) / (kept - first) == pytest.approx(0.01 / 0.07, abs=0.02)  # log loss 0.31, 0.3, 0.24
    assert "Only the head changes" in page.one("#learning-curve .lead").text


def test_a_dot_on_the_map_shows_its_photo(shown):
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
    seen = []
    for key in "\ue014\ue014\ue013\ue012":
        page.press(key)
        seen.append(page.one(".tip .path").text)
    assert len(set(seen)) > 1
    page.press("\ue007")  # Enter
    assert page.one("dialog h3").text == seen[-1]


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


def test_nothing_is_missing_on_paper(shown, reported, clustered):
    page = shown(page=reported(clustered(300, spread=9.0)).page)
    assert page.all("#mistakes .more")
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
