"""`headstart inspect`: describe a file."""

from typing import Annotated, Any

import typer

from headstart import options
from headstart.console import command, print_json, say, short_path


@command
def run(
    file: Annotated[str, typer.Argument(help="A backbone, an embedding store or a classifier.")],
    json: options.Json = False,
) -> None:
    """Describe a backbone, store or classifier and how it was made."""
    from headstart.extract import inspect

    facts = inspect(file)
    if json:
        print_json(facts)
        return
    for name, value in facts.items():
        say(f"{name + ':':<18}{_text(value)}")


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{short_path(str(key))} {_text(entry)}" for key, entry in value.items()) or "-"
    if isinstance(value, list | tuple):
        return ", ".join(_text(entry) for entry in value) or "-"
    return short_path(str(value))
