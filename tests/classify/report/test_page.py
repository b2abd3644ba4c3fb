"""A report is one inert file: it runs its own script alone, loads nothing, and shows names as they are."""

import base64
import hashlib
import json

import numpy as np
import pytest

from headstart.classify.report import map as map_module
from headstart.classify.report import photos as photos_module
from headstart.classify.report.confusion import MOST_CLASSES
from headstart.classify.report.page import policy, to_json

HOSTILE = "<img src=x onerror=alert(1)>"


def test_its_policy_allows_its_own_blocks_and_nothing_else(hostile):
    page = hostile.page
    (found,) = [a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    digest = {
        name: base64.b64encode(hashlib.sha256(getattr(page, name).encode()).digest()).decode()
        for name in ("style", "script")
    }
    assert found == policy(page.style, page.script)
    assert dict(part.split(" ", 1) for part in found.split("; ")) == {
        "default-src": "'none'",
        "style-src": f"'sha256-{digest['style']}'",
        "script-src": f"'sha256-{digest['script']}'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_it_loads_nothing_and_has_no_inline_style_or_handler(hostile):
    for tag, attributes in hostile.page.tags:
        assert not {name for name in attributes if name == "style" or name.startswith("on")}, tag
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), attributes
    dangerous = ("innerHTML", "outerHTML", "insertAdjacent", "document.write")
    assert not [word for word in dangerous if word in hostile.page.script]


def test_hostile_names_are_inert(hostile, rewritten):
    page = rewritten(hostile, warnings=[f"about {HOSTILE} and \u202e"])
    assert [tag for tag, _ in page.tags].count("script") == 2
    assert "img" not in {tag for tag, _ in page.tags}
    assert f"About {HOSTILE} and \\u202e" in page.text
    assert HOSTILE in page.data["classes"]
    assert f"{HOSTILE}.h5" in {one["store"] for one in page.data["baselines"]}
    assert {photo["path"] for photo in page.data["photos"]} >= {
        r"birch/a\nb.png",
        r"birch/\xff\xfe.png",
        r"birch/\u202egnp.exe.png",
        "birch/x</script><script>alert(1)</script>.png",
        "birch/'\"&amp;{{ 7*7 }}.png",
    }


@pytest.mark.parametrize("text", ["</script>", "<!--", "&lt;", "\u2028\u2029", HOSTILE])
def test_json_in_the_page_cannot_end_its_block(text):
    written = to_json({text: [text]})
    assert not set(written) & set("<>&\u2028\u2029")
    assert json.loads(written) == {text: [text]}


def test_json_in_the_page_has_null_for_nan():
    assert json.loads(to_json({"a": [float("nan"), 0.12345678, 3]})) == {"a": [None, 0.123457, 3]}


def test_many_photos_fit_in_15_megabytes(reported, clustered, monkeypatch):
    """Everything that grows with the photos is bounded; the bounds are met here."""
    monkeypatch.setattr(map_module, "STEPS", 250)
    monkeypatch.setattr("headstart.extract.thumbnails.thumbnail", lambda *_, **__: bytes(20_000))
    n, classes = 3_000, [f"種類-{number:03}" for number in range(60)]
    paths = [f"{'長い' * 30}/{number:06}.jpg" for number in range(n)]
    page = reported(clustered(n, classes, spread=6.0, paths=paths)).page
    assert page.path.stat().st_size < 15_000_000
    assert len(page.data["thumbs"]) > 300
    assert sum(map(len, page.data["thumbs"])) <= photos_module.MAX_CHARACTERS
    assert (len(page.data["map"]["points"]), page.data["map"]["total"]) == (map_module.MOST, n)
    assert len(page.data["mistakes"]["photos"]) == 60 < page.data["mistakes"]["total"]
    assert len(page.data["label_issues"]["items"]) == 60 < page.data["label_issues"]["total"]
    assert len(page.data["confusion"]["shown"]) == MOST_CLASSES
    assert np.shape(page.data["confusion"]["counts"]) == (MOST_CLASSES, MOST_CLASSES)
    assert len(page.data["photos"]) < n
