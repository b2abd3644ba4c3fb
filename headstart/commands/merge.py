"""`headstart merge`: stores of several runs -> one store."""

from typing import Annotated

import typer

from headstart import options
from headstart.console import command, print_json, say


@command
def run(
    stores: Annotated[list[str], typer.Argument(help="Stores of one image folder, made by `headstart embed --shard`.")],
    output: Annotated[str, typer.Option("-o", "--output", help="The store to write: NAME.h5, local or at a URL.")],
    json: options.Json = False,
) -> None:
    """Join the stores of several `embed --shard` runs into one file."""
    from headstart.extract import merge

    store = merge(stores, output)
    embedded = int(store.is_embedded.sum())
    if json:
        print_json({"output": output, "stores": len(stores), "rows": len(store), "embedded": embedded})
        return
    say(
        f"{output}: {embedded} embedded, {len(store) - embedded} failed, of {len(store)} images in {len(stores)} stores"
    )
