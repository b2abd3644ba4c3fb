"""The `headstart` command. Each file of `headstart.commands` is one command: it parses, makes one call and prints."""

from typing import Annotated

import typer

from headstart import console
from headstart.commands import demo, embed, evaluate, export, inspect, merge, score, train, tune
from headstart.process import leave, prepare

app = typer.Typer(
    help="Train an image classifier on your own photos in seconds.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (export, embed, merge, tune, train, evaluate, score, inspect, demo):
    app.command(module.__name__.rpartition(".")[2])(module.run)


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
