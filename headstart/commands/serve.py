"""`headstart serve`: a classifier -> an HTTP server."""

from typing import Annotated

import typer

from headstart import options
from headstart.console import command, note, say, warn
from headstart.process import leave

LIMITS = "Limits"


@command
def run(
    classifier: Annotated[str, typer.Argument(help="A classifier from `headstart train`.")],
    host: Annotated[str, typer.Option(help="Listen on this address; 0.0.0.0 stands for all of this machine.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Listen on this port; 0 takes a free one.")] = 8000,
    max_megabytes: Annotated[int, typer.Option(min=1, help="Size of a request.", rich_help_panel=LIMITS)] = 32,
    max_images: Annotated[int, typer.Option(min=1, help="Images per request.", rich_help_panel=LIMITS)] = 32,
    max_requests: Annotated[
        int, typer.Option(min=1, help="Requests in progress; more are told to try again.", rich_help_panel=LIMITS)
    ] = 32,
    provider: options.Provider = "auto",
    workers: options.Workers = None,
) -> None:
    """Classify images that are posted over HTTP, until Ctrl-C."""
    from headstart.classify import load
    from headstart.extract import EngineOptions
    from headstart.serve.options import ServeOptions
    from headstart.serve.packages import require_packages

    require_packages()
    from headstart.serve.server import serve

    limits = ServeOptions(host, port, max_megabytes << 20, max_images, max_requests)
    model = load(classifier, options=EngineOptions(provider, workers))
    if not limits.is_loopback:
        warn(
            f"{host}: every machine that reaches this address can use the server: it asks for no password, and "
            "sends images and answers unencrypted. Put a proxy with TLS and authentication in front of it"
        )
    serve(model, limits, workers=workers, started=lambda url: say(f"{classifier} at {url}; stop it with Ctrl-C"))
    note("stopped")
    leave(0)
