"""A Ray cluster: Ray itself, the way in, and faults that come back from its nodes."""

import signal
import socket
import threading
from typing import Any

from headstart.extract import errors
from headstart.extract.errors import EngineError, ExtractError
from headstart.files.errors import one_line


def import_ray() -> Any:
    """Import Ray, or say how it is installed."""
    try:
        import ray
        import ray.data
    except ImportError:
        raise EngineError('--engine ray needs Ray, which is not installed: pip install "headstart[ray]"') from None
    return ray


def connect(ray: Any, address: str | None) -> bool:
    """Join or start a cluster; tell whether it is ours to end."""
    if ray.is_initialized():
        return False
    quiet = {"log_to_driver": False, "logging_level": "ERROR", "include_dashboard": False}
    _check_reachable(address or "")
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        if address is None:
            ray.init(address="local", **quiet)
        else:
            quiet.pop("include_dashboard")
            ray.init(address=address, **quiet)
    except Exception as error:  # Ray raises what its many parts do
        where = f"the Ray cluster at {address} cannot be reached" if address else "no Ray cluster can be started here"
        raise EngineError(f"{where}: {one_line(error)}") from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_sigterm)  # Ray puts its own in place, which ends without a word
    return True


def _check_reachable(address: str) -> None:
    """Knock at a cluster's door: Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:
        return
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, ValueError) as error:
        raise EngineError(f"the Ray cluster at {address} cannot be reached: {one_line(error)}") from None


def fault_of(error: Exception) -> ExtractError:
    """Give the fault of ours that an actor raised, of which Ray keeps the text, or Ray's own in one line."""
    text = next(reversed(str(error).strip().splitlines()), type(error).__name__)
    name, _, message = text.strip().partition(": ")
    kind = getattr(errors, name.removeprefix("headstart.extract.errors."), None)
    if isinstance(kind, type) and issubclass(kind, ExtractError):
        return kind(message)
    return EngineError(f"Ray gave up: {text}; what is finished is kept: run the same command again to go on")
