"""Images to embeddings as a step of a scikit-learn pipeline."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin

from headstart.extract.engines.images import ImageEngine, require_all
from headstart.extract.errors import StoreError
from headstart.extract.inference.model import Model, read_model
from headstart.extract.inference.subgraph import uncut
from headstart.extract.options import EngineOptions
from headstart.extract.store.reuse import ReusableRows
from headstart.extract.store.schema import DECODER
from headstart.extract.store.store import Store, open_store
from headstart.files.errors import OptionError


class ImageEmbedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turn images into embeddings, float32 (n, d); nothing is learned from them.

    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> pipe = make_pipeline(ImageEmbedder(), LogisticRegression()).fit(paths, labels)  # doctest: +SKIP

    Parameters
    ----------
    backbone : path, URL or Model, optional
        Made by ``headstart export``. By default that of `store`, or else the default backbone, which is downloaded on
        first use.
    store : path, URL or Store, optional
        Embeddings made by `headstart.embed` with the same backbone: images with the same content are not computed
        again, whatever their names. It is only read. Embeddings in float16 are rounded, those of other images are not.
    options : EngineOptions, optional
        How this machine is used.

    Attributes
    ----------
    model_ : Model
        The backbone, once `fit` has been called.
    n_features_out_ : int
        d.
    """

    def __init__(
        self,
        backbone: str | os.PathLike[str] | Model | None = None,
        *,
        store: str | os.PathLike[str] | Store | None = None,
        options: EngineOptions | None = None,
    ) -> None:
        self.backbone = backbone
        self.store = store
        self.options = options

    def fit(self, X: Iterable[Any], y: Any = None) -> "ImageEmbedder":
        """Open the backbone; the images are only counted.

        Raises
        ------
        OptionError
            If `X` is not a list of images.
        ExtractError
            If the backbone or the store cannot be used, or do not belong together.
        ExportError
            If the default backbone cannot be made.
        """
        listed(X)
        self._open()
        return self

    def transform(self, X: Iterable[Any]) -> NDArray[np.float32]:
        """Compute the embedding of each image.

        Parameters
        ----------
        X
            A list, array, series or column of n images, each a path or URL, bytes of an image file, an image of Pillow,
            or an array uint8 (H, W, 3) RGB or (H, W) grey, 0-255; or an array uint8 (n, H, W, 3).

        Returns
        -------
        float32, (n, d).

        Raises
        ------
        ImagesError
            Naming the images that have no embedding, and why.
        OptionError
            If `X` is not a list of images.
        """
        images = listed(X)
        if not hasattr(self, "_engine"):
            self._open()
        outcomes = list(self._engine.outcomes(images, self._reuse))
        require_all([(os.fsdecode(outcome.item.path), outcome.reason) for outcome in outcomes])
        return np.array([outcome.vector for outcome in outcomes], np.float32).reshape(-1, self.n_features_out_)

    def _open(self) -> None:
        store = None if self.store is None else self.store if isinstance(self.store, Store) else open_store(self.store)
        self.model_ = _model_of(self.backbone, store)
        self.n_features_out_ = self._n_features_out = self.model_.outputs["embedding"][0]
        current = None if store is None else replace(store.header, decoder=DECODER)
        self._reuse = None if current is None else ReusableRows(store, current).by_content
        self._engine = ImageEngine(self.model_, "embedding", self.options)

    def __getstate__(self) -> dict[str, Any]:
        # Threads and processes stay in the process that opened them; a copy opens its own.
        return {name: value for name, value in super().__getstate__().items() if name not in ("_engine", "_reuse")}

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.input_tags.two_d_array, tags.input_tags.one_d_array, tags.input_tags.string = False, True, True
        return tags


def listed(X: Any) -> Sequence[Any]:
    """Return images as a list.

    Raises
    ------
    OptionError
        If they are none.
    """
    expected = "expected a list of images (paths, bytes, images of Pillow or uint8 arrays)"
    if isinstance(X, str | os.PathLike | bytes) or not isinstance(X, Iterable):
        raise OptionError(f"{expected}, found one {type(X).__name__}; for a single image give a list of one")
    if not hasattr(X, "__array__"):
        return list(X)
    array = np.asarray(X)
    if array.dtype.kind in "OU" and (array.ndim == 1 or array.shape[1:] == (1,)):
        return list(array.ravel().tolist())
    if array.dtype == np.uint8 and array.ndim == 4:
        return list(array)
    raise OptionError(f"{expected} or an array uint8 (n, H, W, 3), found {array.dtype} {array.shape}")


def _model_of(backbone: str | os.PathLike[str] | Model | None, store: Store | None) -> Model:
    if backbone is None:
        if store is not None:
            return store.model()
        from headstart.export import default_backbone

        return read_model(default_backbone())
    model = uncut(backbone if isinstance(backbone, Model) else read_model(backbone))
    if store is not None and store.header.model_sha256 != model.sha256:
        raise StoreError(
            f"{store.location}: expected embeddings of backbone {model.sha256[:16]} ({model.source}), found those of "
            f"{store.header.model_sha256[:16]}; leave the backbone out, or embed the images with it"
        )
    return model
