"""`headstart merge`: the stores of several runs -> one store."""

from typing import Annotated

import typer

from headstart.console import Json, command, print_json, say


@command
def run(
    stores: Annotated[list[str], typer.Argument(help="Stores of one folder of images, as `embed --shard` makes.")],
    output: Annotated[str, typer.Option("-o", "--output", help="The store to write, NAME.h5, here or at a URL.")],
    json: Json = False,
) -> None:
    """Join stores that several runs made of one folder into a single file."""
    from headstart.extract import merge

    store = merge(stores, output)
    embedded = int(store.is_embedded.sum())
    if json:
        print_json({"output": output, "stores": len(stores), "rows": len(store), "embedded": embedded})
        return
    say(
        f"{output}: {embedded} embedded, {len(store) - embedded} failed, of {len(store)} images in {len(stores)} stores"
    )
