"""The page itself: template, style and script from the folder ``page/``, joined into one file."""

import base64
import hashlib
import json
from importlib.resources import files
from typing import Any

SCRIPTS = (
    "dom.js",
    "gallery.js",
    "confusion.js",
    "classes.js",
    "charts.js",
    "compared.js",
    "tuning.js",
    "map.js",
    "main.js",
)
_PAGE = files("headstart.classify.report").joinpath("page")
# What could end the block or start another, in text that HTML reads before JSON is.
_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def render(data: dict[str, Any]) -> str:
    """Give the HTML of a report.

    Parameters
    ----------
    data
        As `headstart.classify.report.gather.gather` gives it.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    style = _read("report.css")
    script = "\n".join(['"use strict";', "(() => {", *map(_read, SCRIPTS), "})();"])
    shown = {name: value for name, value in data.items() if name not in ("summary", "provenance")}
    return environment.from_string(_read("template.html.jinja")).render(
        data, style=style, script=script, policy=policy(style, script), json=to_json(shown)
    )


def policy(style: str, script: str) -> str:
    """Give a Content-Security-Policy under which this style and this script run, and nothing else is run or fetched."""
    return "; ".join(
        [
            "default-src 'none'",
            f"style-src '{_digest(style)}'",
            f"script-src '{_digest(script)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def to_json(data: Any) -> str:
    """Give JSON that can stand within a script element."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).translate(_ESCAPES)


def _read(name: str) -> str:
    return _PAGE.joinpath(name).read_text(encoding="utf-8").strip()


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
