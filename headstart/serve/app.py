"""The server's answers: /predict, /health and /metrics, as an ASGI application."""

import asyncio
import logging
import time
from concurrent.futures import Executor
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headstart.classify.classifier import Classifier
from headstart.classify.scoring.predictions import Prediction, printable
from headstart.extract.errors import IsolationError
from headstart.files.errors import HeadstartError, one_line
from headstart.serve.errors import RefusedError
from headstart.serve.metrics import Metrics
from headstart.serve.options import LOOPBACK, ServeOptions
from headstart.serve.uploads import discard, read_uploads

TOP = 3
RETRY = {"Retry-After": "1"}


def make_app(classifier: Classifier, threads: Executor, options: ServeOptions) -> Starlette:
    """Return the ASGI application.

    Parameters
    ----------
    threads
        Where requests are classified, as many at a time as there are threads; the others wait.
    """
    service = _Service(classifier, threads, options)
    return Starlette(
        routes=[
            Route("/predict", service.predict, methods=["POST"]),
            Route("/health", service.health),
            Route("/metrics", service.show_metrics),
        ],
        middleware=[Middleware(_Counted, metrics=service.metrics)],
        exception_handlers={
            RefusedError: service.refuse,
            HTTPException: lambda _, error: _error(error.status_code, str(error.detail), error.headers),
            IsolationError: lambda _, error: _error(503, one_line(error), RETRY),  # memory may be short for a while
            HeadstartError: lambda _, error: _error(500, one_line(error)),
        },
    )


class _Service:
    def __init__(self, classifier: Classifier, threads: Executor, options: ServeOptions) -> None:
        self._classifier, self._threads, self._options = classifier, threads, options
        self._in_flight = 0
        self.metrics = Metrics()

    async def predict(self, request: Request) -> Response:
        """Classify the images of a request, at most `max_requests` requests at a time."""
        self._check_sender(request)
        if self._in_flight >= self._options.max_requests:
            raise RefusedError(503, f"{self._in_flight} requests are in progress, and no more are taken; try again")
        self._in_flight += 1
        try:
            with self.metrics.in_flight.track_inprogress(), self.metrics.seconds.time():
                return await self._predict(request)
        except asyncio.CancelledError:  # the server ends, and requests have had their time
            return _error(503, "the server is being stopped", {"Connection": "close"} | RETRY)
        finally:
            self._in_flight -= 1

    async def health(self, request: Request) -> Response:
        """Say that the server runs, and what it knows."""
        self._check_sender(request)
        return JSONResponse({"status": "ok", "classes": [printable(name) for name in self._classifier.file.classes]})

    async def show_metrics(self, request: Request) -> Response:
        """Return the counters for Prometheus."""
        self._check_sender(request)
        return Response(self.metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def refuse(self, request: Request, error: Any) -> Response:
        """Answer a request that is refused, once it has been sent."""
        await discard(request, self._options)
        return _error(error.status, str(error), {"Connection": "close"} | (RETRY if error.status == 503 else {}))

    async def _predict(self, request: Request) -> Response:
        top = self._top(request)
        started = time.perf_counter()
        uploads = await read_uploads(request, self._options)
        self.metrics.upload_seconds.observe(time.perf_counter() - started)
        images = [data for _, data in uploads]
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, self._classifier.predictions, images, top)
        self.metrics.count_images(one.reason for one in found)
        answers = [_answer(printable(name), one) for (name, _), one in zip(uploads, found, strict=True)]
        return JSONResponse({"predictions": answers})

    def _top(self, request: Request) -> int:
        text, most = request.query_params.get("top", str(TOP)), len(self._classifier.file.classes)
        if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= max(TOP, most)):
            raise RefusedError(400, f"top: expected a whole number from 1 to {most}, found {text[:30]!r}")
        return min(int(text), most)

    def _check_sender(self, request: Request) -> None:
        """Refuse web pages of other sites: a browser sends their requests here too, under any name for this machine.

        A server that other machines reach accepts every name, as it does not know its own.
        """
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        if self._options.is_loopback and _name(f"//{host}") not in LOOPBACK:
            raise RefusedError(403, f"Host: expected localhost, found {host[:100]!r}")
        if origin is not None and _page(origin) != host:
            raise RefusedError(403, f"Origin: expected no other web page than this server's, found {origin[:100]!r}")


class _Counted:
    """Counts the answers of an application by their status; what nobody foresaw is one too, and is logged."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_answered = False

        async def counting(message: Message) -> None:
            nonlocal is_answered
            if message["type"] == "http.response.start":
                is_answered = True
                self._metrics.requests.labels(str(message["status"])).inc()
            await send(message)

        try:
            await self._app(scope, receive, counting)
        except Exception as error:
            if is_answered:  # uvicorn logs it
                raise
            logging.getLogger(__name__).exception("a request failed")
            reason = f"an error of the server ({type(error).__name__}), which its log describes; please report it"
            await _error(500, reason, {"Connection": "close"})(scope, receive, counting)


def _answer(name: str, prediction: Prediction) -> dict[str, Any]:
    """Return the JSON of one image; the numbers are rounded as `headstart score` writes them."""
    if prediction.reason:
        return {"image": name, "status": "failed", "reason": prediction.reason}
    top = [{"label": printable(label), "probability": round(value, 7)} for label, value in prediction.top]
    distance = prediction.distance if prediction.distance is None else round(prediction.distance, 5)
    return {"image": name, "status": "ok", **top[0], "top": top, "unknown": prediction.unknown, "distance": distance}


def _error(status: int, reason: str, headers: Any = None) -> JSONResponse:
    return JSONResponse({"error": printable(reason)}, status, headers)


def _page(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        raise RefusedError(400, f"Origin: expected the address of a web page, found {origin[:100]!r}") from None


def _name(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:  # as of "//["
        return None
