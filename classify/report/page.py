"""The page itself: template, style and script from the folder ``page/``, joined into one file."""

import base64
import hashlib
import json
import math
from importlib.resources import files
from typing import Any

from headstart.classify.report.text import percent

SCRIPTS = (
    "dom.js",
    "gallery.js",
    "confusion.js",
    "classes.js",
    "charts.js",
    "baselines.js",
    "tuning.js",
    "map.js",
    "main.js",
)
_PAGE = files("headstart.classify.report").joinpath("page")
# What could end the block or start another one, because a browser parses HTML before JSON.
_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def render(head: dict[str, Any], data: dict[str, Any]) -> str:
    """Return the HTML of a report from the two values of `headstart.classify.report.gather.gather`."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["percent"] = percent
    style = _read("report.css")
    script = "\n".join(['"use strict";', "(() => {", *map(_read, SCRIPTS), "})();"])
    return environment.from_string(_read("template.html.jinja")).render(
        head | data, style=style, script=script, policy=policy(style, script), json=to_json(data)
    )


def policy(style: str, script: str) -> str:
    """Return a Content-Security-Policy that runs this style and this script, and fetches and runs nothing else."""
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
    """Return JSON that can stand within a script element; floats to six places, NaN as null."""
    text = json.dumps(_plain(data), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate(_ESCAPES)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value


def _read(name: str) -> str:
    return _PAGE.joinpath(name).read_text(encoding="utf-8").strip()


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
