"""Train an image classifier on your own photos in seconds.

>>> import headstart
>>> headstart.train("photos/", "flowers.onnx")  # doctest: +SKIP
>>> headstart.load("flowers.onnx").predict("photo.jpg")  # doctest: +SKIP
>>> headstart.score("new/", "flowers.onnx", "predictions.csv")  # doctest: +SKIP

Names are loaded when they are first used; `__init__.pyi` lists them.
"""

import os

import lazy_loader

# Nothing leaves the machine. Libraries read these when they are imported, and child processes inherit them; the second
# is the first's name in later releases of onnxruntime.
for _name, _value in (
    ("ORT_DISABLE_TELEMETRY", "1"),
    ("ORT_TELEMETRY_DISABLED", "1"),
    ("RAY_USAGE_STATS_ENABLED", "0"),
):
    os.environ.setdefault(_name, _value)

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
