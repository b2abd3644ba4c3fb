"""TensorFlow, Keras and tf2onnx: imported when first needed, quietly, with their settings checked."""

import contextlib
import importlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType

from headstart.export.errors import ExportError
from headstart.files.errors import HeadstartError, MissingExtraError, one_line


@dataclass(frozen=True)
class Frameworks:
    """The imported modules."""

    tensorflow: ModuleType
    keras: ModuleType
    tf2onnx: ModuleType


def require(name: str, package: str) -> ModuleType:
    """Import a module of a package that may be missing.

    Raises
    ------
    MissingExtraError
        If it cannot be imported; the message has the command that installs it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        install = f'pip install "{package}"'
        raise MissingExtraError(f"cannot import {name} ({one_line(error)}): {install}") from error


def load_frameworks(*, with_gpu: bool = False) -> Frameworks:
    """Import the packages that an export needs, for the CPU alone; tuning also uses a GPU if there is one.

    Raises
    ------
    MissingExtraError
        If TensorFlow, Keras, or tf2onnx cannot be imported.
    ExportError
        If Keras is set to another backend, layout or precision, by its environment or ``keras.json``.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Otherwise tf2onnx copies the graph with its weights before each pass, to restore it if the pass fails.
    os.environ.setdefault("TF2ONNX_CATCH_ERRORS", "FALSE")
    with quiet():
        tensorflow, keras, tf2onnx = (require(name, "headstart[export]") for name in ("tensorflow", "keras", "tf2onnx"))
    # The user's GPU is for embedding: TensorFlow would reserve nearly all of its memory, and compute in TF32.
    with quiet():
        with_gpu = with_gpu and bool(tensorflow.config.list_physical_devices("GPU"))
    if not with_gpu:
        with contextlib.suppress(RuntimeError):
            tensorflow.config.set_visible_devices([], "GPU")
    _check_settings(keras)
    return Frameworks(tensorflow, keras, tf2onnx)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hold back the output of TensorFlow on stderr, from C++ and Python; an unexpected error prints it after all."""
    logger = logging.getLogger("tf2onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), _held_stderr():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def _held_stderr() -> Iterator[None]:
    # C++ writes to descriptor 2 directly, whatever Python's settings: only the descriptor can be redirected.
    try:
        saved = os.dup(2)
    except OSError:
        yield
        return
    failed = False
    with tempfile.TemporaryFile() as held:
        sys.stderr.flush()
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception as error:
            failed = not isinstance(error, HeadstartError)
            raise
        finally:
            _restore(saved)
            if failed:
                held.seek(0)
                sys.stderr.write(held.read().decode(errors="replace"))


def _restore(saved: int) -> None:
    sys.stderr.flush()
    os.dup2(saved, 2)
    os.close(saved)


def _check_settings(keras: ModuleType) -> None:
    needed = {
        "backend": (keras.config.backend(), "tensorflow"),
        "image_data_format": (keras.config.image_data_format(), "channels_last"),
        "floatx": (keras.config.floatx(), "float32"),
        "dtype policy": (keras.config.dtype_policy().name, "float32"),
    }
    for setting, (value, expected) in needed.items():
        if value != expected:
            raise ExportError(
                f"Keras' {setting} is {value!r}, and an export needs {expected!r}: "
                "change it in keras.json, in KERAS_BACKEND, or in the program that imported Keras"
            )
