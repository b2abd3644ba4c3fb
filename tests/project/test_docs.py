"""README is short, and whatever the documentation names exists: links, files, tests, commands, options and targets."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"))
}
MOST_WORDS = 1500
LARGEST_PICTURE = 300_000
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.M | re.S)


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(name: str, text: str) -> set[str]:
    """Return the relative links of a page whose file or anchor does not exist."""
    broken = set()
    for link in LINK.findall(FENCE.sub("", text)):
        path, _, anchor = link.partition("#")
        target = (ROOT / name).parent / path if path else ROOT / name
        is_elsewhere = link.startswith(("https://", "http://"))
        if not is_elsewhere and not (
            target.exists() and (not anchor or anchor in anchors(target.read_text(encoding="utf-8")))
        ):
            broken.add(link)
    return broken


def command_lines(text: str) -> Iterator[list[str]]:
    """Yield the words of every `headstart` command in code, without comments."""
    for line in (*re.findall(r"`([^`\n]+)`", text), *"\n".join(FENCE.findall(text)).splitlines()):
        if line.startswith("headstart "):
            yield shlex.split(line, comments=True)


def test_the_checks_find_what_is_wrong():
    text = "# A b: `c`\n[one](docs/none.md) [two](#a-b-c) [three](#d) [four](README.md#install) [five](README.md#none)"
    assert broken_links("x.md", text) == {"docs/none.md", "#a-b-c", "#d", "README.md#none"}
    assert list(command_lines("`headstart a` b\n```sh\nheadstart c --d  # e\n```")) == [
        ["headstart", "a"],
        ["headstart", "c", "--d"],
    ]


def test_readme_is_short():
    assert len(PAGES["README.md"].split()) <= MOST_WORDS


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name):
    assert broken_links(name, PAGES[name]) == set()


def test_readme_links_to_every_page():
    links = set(LINK.findall(PAGES["README.md"]))
    assert {name for name in PAGES if name != "README.md" and name not in links} == set()


def test_pictures_are_small():
    pictures = [path for path in (ROOT / "docs").rglob("*") if path.suffix in (".png", ".jpg", ".svg")]
    assert pictures
    assert {path.name for path in pictures if path.stat().st_size > LARGEST_PICTURE} == set()


@pytest.mark.parametrize("name", PAGES)
def test_every_named_file_and_test_exists(name):
    code = re.findall(r"`([^`\n]+)`", FENCE.sub("", PAGES[name]))
    folders = ("tests", "headstart", "export", "extract", "classify", "tune", "bench", "torture", "docs", "examples")
    paths = {text for text in code if re.fullmatch(rf"({'|'.join(folders)})/[\w./]*", text)}
    assert {path for path in paths if not (ROOT / path).exists()} == set()
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert {text for text in code if re.fullmatch(r"test_\w+", text) and f"def {text}(" not in tests} == set()


@pytest.mark.parametrize("name", [name for name in PAGES if name != "CHANGELOG.md"])
def test_every_command_and_option_exists(name):
    import typer

    from headstart.cli import app

    commands = typer.main.get_command(app).commands
    options = {
        name: {
            "--help",
            *(option for parameter in command.params for option in parameter.opts + parameter.secondary_opts),
        }
        for name, command in commands.items()
    }
    for _, command, *words in command_lines(PAGES[name]):
        if not command.startswith("--"):
            assert {word for word in words if word.startswith("-")} <= options[command], (command, words)
    alone = set(re.findall(r"`(--[\w-]+)", PAGES[name]))
    assert alone <= set().union(*options.values(), {"--version"})


@pytest.mark.parametrize("name", PAGES)
def test_every_make_target_exists(name):
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    assert set(re.findall(r"`make ([a-z-]+[a-z])", PAGES[name])) <= targets


def test_readme_lists_every_command():
    commands = {path.stem for path in (ROOT / "headstart" / "commands").glob("[a-z]*.py")}
    assert {name for name in commands if f"| `headstart {name}` |" not in PAGES["README.md"]} == set()
