"""The stores that training takes: opened, and checked for what they hold."""

import os

from headstart.classify.errors import LabelError
from headstart.extract.store.store import Store, open_store


def opened_store(store: str | os.PathLike[str] | Store) -> Store:
    """Open a store, if it is not open already."""
    return store if isinstance(store, Store) else open_store(store)


def opened_embeddings(store: str | os.PathLike[str] | Store) -> Store:
    """Open a store of embeddings.

    Raises
    ------
    LabelError
        If it holds tensors of a trunk.
    """
    opened = opened_store(store)
    if len(opened.header.shape) > 1:
        shape = " x ".join(map(str, opened.header.shape))
        raise LabelError(
            f"{opened.location}: expected a store of embeddings, found one of tensors ({shape}); run them through a "
            f"tail first, such as one of `headstart tune`: headstart embed {opened.location} --model BACKBONE "
            "-o embeddings.h5"
        )
    return opened


def opened_untrained(store: str | os.PathLike[str] | Store) -> Store:
    """Open a store of embeddings from an untrained backbone.

    Raises
    ------
    LabelError
        If the backbone is trained, or the store holds tensors.
    """
    opened = opened_embeddings(store)
    if opened.header.model.get("weights", {}).get("trained"):
        raise LabelError(
            f"{opened.location}: expected a store from an untrained backbone, found a trained one; make one with "
            "`headstart export --weights random` and embed the same images with it"
        )
    return opened
