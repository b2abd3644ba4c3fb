"""Ray itself: importing it, connecting to a cluster, and errors that come back from its nodes."""

import re
import signal
import socket
import threading
from typing import Any

from headstart.extract import errors
from headstart.extract.errors import EngineError
from headstart.files import errors as file_errors
from headstart.files.errors import HeadstartError, MissingExtraError, one_line


def import_ray() -> Any:
    """Import Ray.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    try:
        import ray
        import ray.data
    except ImportError:
        raise MissingExtraError(
            '--engine ray needs Ray, which is not installed: pip install "headstart[ray]"'
        ) from None
    return ray


def connect(ray: Any, address: str | None) -> bool:
    """Join or start a cluster; return whether the caller must end it.

    Raises
    ------
    EngineError
        If the cluster cannot be reached or started.
    """
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
    except Exception as error:  # Ray's parts raise many types
        where = f"the Ray cluster at {address} cannot be reached" if address else "no Ray cluster can be started here"
        raise EngineError(f"{where}: {one_line(error)}") from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_sigterm)  # Ray installs its own, which ends silently
    return True


def _check_reachable(address: str) -> None:
    """Try to connect to a cluster's port: Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:
        return
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, ValueError) as error:
        raise EngineError(f"the Ray cluster at {address} cannot be reached: {one_line(error)}") from None


def original_error(error: Exception) -> HeadstartError:
    """Rebuild the error that an actor raised from the text that Ray keeps, or wrap Ray's own error.

    The text is a traceback, after which Ray may give hints of its own.
    """
    text = str(error).strip()
    ours = re.findall(r"^\s*headstart\.(extract|files)\.errors\.(\w+): (.*)$", text, re.M)
    for part, name, message in reversed(ours):
        kind = getattr(errors if part == "extract" else file_errors, name, None)
        if isinstance(kind, type) and issubclass(kind, HeadstartError):
            return kind(message)
    faults = re.findall(r"^\s*(?:\w+\.)*(\w+(?:Error|Exception): .+)$", text, re.M) or text.splitlines()
    fault = one_line(faults[-1] if faults else type(error).__name__)
    return EngineError(f"Ray failed: {fault}; finished rows are kept: run the same command again to resume")
