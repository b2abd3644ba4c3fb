"""What a server counts, in the text format of Prometheus."""

import re
from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
MOST_KINDS = 50
"""Kinds of failures that have a counter of their own: clients choose the images, and must not fill the memory."""


class Metrics:
    """Counters of one server.

    Attributes
    ----------
    requests
        Answered requests by status.
    images, failures
        Classified images; and failed ones by kind, which is the reason without its details.
    seconds, upload_seconds
        From the head of a request to its answer, and of that until its body had arrived.
    in_flight
        Requests to classify that are in progress.
    """

    def __init__(self) -> None:
        self._registry, self._kinds = CollectorRegistry(), set[str]()
        kept: dict[str, Any] = {"registry": self._registry, "namespace": "headstart"}
        self.requests = Counter("requests", "Answered requests.", ["status"], **kept)
        self.images = Counter("images", "Classified images.", **kept)
        self.failures = Counter("image_failures", "Images that could not be classified.", ["kind"], **kept)
        self.seconds = Histogram("request_seconds", "Duration of requests to classify.", buckets=SECONDS, **kept)
        self.upload_seconds = Histogram(
            "upload_seconds", "Of that, until the body had arrived.", buckets=SECONDS, **kept
        )
        self.in_flight = Gauge("requests_in_flight", "Requests to classify that are in progress.", **kept)
        ProcessCollector(registry=self._registry)

    def count_images(self, reasons: Iterable[str]) -> None:
        """Count images by their reasons, which are empty for those that were classified."""
        for reason in reasons:
            if not reason:
                self.images.inc()
                continue
            kind = kind_of(reason)
            if len(self._kinds) < MOST_KINDS:
                self._kinds.add(kind)
            self.failures.labels(kind if kind in self._kinds else "other").inc()

    def text(self) -> bytes:
        """Return all of it as Prometheus reads it."""
        return generate_latest(self._registry)


def kind_of(reason: str) -> str:
    """Return a reason without its details: up to the first colon, semicolon or bracket, and without numbers."""
    return re.sub(r"\d[\d,.]*", "N", re.split(r"[:;(]", reason, maxsplit=1)[0].strip())[:80] or "other"
