"""A server from its first connection to its end."""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import uvicorn

from headstart.classify.classifier import Classifier
from headstart.files.cores import cores
from headstart.files.errors import LocationError
from headstart.serve.app import make_app
from headstart.serve.options import ServeOptions
from headstart.serve.protocol import TimedProtocol

MOST_CONNECTIONS = 512
KEEP_ALIVE_SECONDS = 15


def serve(
    classifier: Classifier,
    options: ServeOptions | None = None,
    *,
    workers: int | None = None,
    started: Callable[[str], object] = lambda _: None,
) -> None:
    """Serve a classifier until SIGTERM or Ctrl-C arrives, then let requests end; call it in the main thread.

    It closes the classifier, without waiting for images that take longer.

    Parameters
    ----------
    workers
        How many requests are classified at the same time; by default one per core.
    started
        Called with the server's URL once it accepts connections.

    Raises
    ------
    LocationError
        If the address cannot be used.
    """
    options = options or ServeOptions()
    height, width = classifier.file.model.rule.shape[:2]
    with _listening(options) as listener:
        threads = ThreadPoolExecutor(workers or cores(), thread_name_prefix="headstart-serve")
        try:
            classifier.predictions([np.zeros((height, width, 3), np.uint8)])  # opens the model, or says why it cannot
            server = _Server(_config(classifier, threads, options))
            host, port = listener.getsockname()[:2]
            started(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
            server.run([listener])
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
            # It waits for what still runs, a decoder that hangs perhaps; the caller need not.
            threading.Thread(target=classifier.close, name="headstart-serve-close").start()


def _config(classifier: Classifier, threads: ThreadPoolExecutor, options: ServeOptions) -> uvicorn.Config:
    class Protocol(TimedProtocol):
        seconds = options.read_seconds

    return uvicorn.Config(
        make_app(classifier, threads, options),
        http=Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=max(MOST_CONNECTIONS, 4 * options.max_requests),
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, round(options.stop_seconds)),
    )


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let a signal end the server and not, as uvicorn would afterwards, the process too."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def _listening(options: ServeOptions) -> Iterator[socket.socket]:
    try:
        family, *_, address = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family, backlog=MOST_CONNECTIONS)
    except UnicodeError:  # of a name that is none, as `a..b`
        raise LocationError(f"{options.host}: expected the name or address of this machine; choose --host") from None
    except OSError as error:
        number = (
            error.errno or 0
        )  # of a system's reason, to which Python adds the address; those of look-ups are negative
        reason = (os.strerror(number) if number > 0 else error.strerror or str(error)).lower()
        raise LocationError(
            f"{options.host}:{options.port}: cannot be served: {reason}; choose another --port or --host"
        ) from None
    with listener:
        yield listener
