"""Train an image classifier on your own photos in seconds.

>>> import headstart
>>> store, _ = headstart.embed("photos/", "backbone.onnx", "photos.h5")  # doctest: +SKIP
>>> X, y = store.embeddings(store.is_embedded), store.labels[store.is_embedded]  # doctest: +SKIP
>>> result = headstart.train(store, "flowers.onnx")  # doctest: +SKIP
>>> headstart.score("new/", "flowers.onnx", "predictions.csv")  # doctest: +SKIP

Names are loaded when they are first used; `__init__.pyi` lists them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
