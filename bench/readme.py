"""``make readme``: run README's commands on drawn pictures, print their output, and photograph the report.

The output is pasted into README.md by hand. The picture, docs/images/report.png, comes from a second training in which
some pictures lie in the wrong folder, so that the report has mistakes to show. The picture needs the program chromium.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "images" / "report.png"
WIDTH, HEIGHT, COLUMNS = 1100, 1400, 2  # pixels of one part of the page, and how many stand side by side
COLOURS = 128  # a palette keeps the picture small
MISFILED = (7, 19, 31, 43)  # numbers of pictures that move to the next class


def main() -> None:
    """Draw pictures, run the commands, and write docs/images/report.png."""
    from headstart.demo.pictures import draw_pictures

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_pictures(folder / "photos")
        draw_pictures(folder / "new", per_class=8, seed=1, broken=False)
        for command in commands():
            sys.stdout.write(f"$ {command}\n{run(command, folder)}\n")
        misfile(folder / "photos")
        run("headstart train photos/ -o flowers.onnx --report flowers.html", folder)
        photograph(folder / "flowers.html")


def commands() -> list[str]:
    """Read the shell commands of README.md that use `headstart`."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    return [line for block in blocks for line in block.splitlines() if line.startswith("headstart ")]


def run(command: str, folder: Path) -> str:
    """Run one command in `folder` and return what it printed."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command}: {done.stderr}")
    return done.stdout


def misfile(photos: Path) -> None:
    """Move a few pictures of each class into the next one."""
    kinds = sorted(folder.name for folder in photos.iterdir())
    for kind, other in zip(kinds, kinds[1:] + kinds[:1], strict=True):
        for number in MISFILED:
            picture = f"{kind}_{number:04}.jpg"
            (photos / kind / picture).replace(photos / other / picture)


def photograph(report: Path) -> None:
    """Write the first two screens of a report, side by side, to docs/images/report.png."""
    from PIL import Image

    shot = report.with_suffix(".png")
    flags = ["--headless", "--no-sandbox", "--hide-scrollbars", f"--window-size={WIDTH},{HEIGHT * COLUMNS}"]
    subprocess.run(
        ["chromium", *flags, f"--user-data-dir={report.parent / 'profile'}", f"--screenshot={shot}", report.as_uri()],
        check=True, capture_output=True,
    )  # fmt: skip
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(shot) as page:
        sheet = Image.new("RGB", (WIDTH * COLUMNS, HEIGHT))
        for column in range(COLUMNS):
            part = page.convert("RGB").crop((0, HEIGHT * column, WIDTH, HEIGHT * (column + 1)))
            sheet.paste(part, (WIDTH * column, 0))
        sheet.quantize(COLOURS).save(PICTURE, optimize=True)
    sys.stdout.write(f"{PICTURE}: {PICTURE.stat().st_size / 1000:.0f} KB\n")


if __name__ == "__main__":
    main()
