"""The packages of the extra `serve`."""

from importlib import import_module

from headstart.files.errors import MissingExtraError, one_line

PACKAGES = ("starlette", "uvicorn", "python_multipart", "prometheus_client")


def require_packages() -> None:
    """Raise `MissingExtraError`, whose message has the command that installs them, if one cannot be imported."""
    try:
        for name in PACKAGES:
            import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            f'the server needs more packages ({one_line(error)}): pip install "headstart[serve]"'
        ) from None
