"""The `headstart` command. Each file of `headstart.commands` is one command: it parses, makes one call and prints."""

from typing import Annotated

import typer

from headstart import console
from headstart.commands import demo, embed, evaluate, export, inspect, merge, predict, score, serve, train, tune
from headstart.process import leave, prepare

app = typer.Typer(
    help="Train an image classifier on your own photos in seconds.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
PANELS = {
    "From photos to answers": (train, predict, score, serve, demo),
    "Know what you have": (evaluate, inspect),
    "Step by step": (export, embed, merge, tune),
}
"""The commands by what people want to do, in the order of `--help`."""

for title, modules in PANELS.items():
    for module in modules:
        app.command(module.__name__.rpartition(".")[2], rich_help_panel=title)(module.run)


def _version(is_wanted: bool) -> None:
    if is_wanted:
        from importlib.metadata import version

        typer.echo(f"headstart {version('headstart')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = (
        False
    ),
) -> None:
    pass


def main() -> None:
    """Run the command line."""
    prepare()
    try:
        app()
    finally:
        if stopped := console.StoppedError.latest:
            leave(stopped.code)
