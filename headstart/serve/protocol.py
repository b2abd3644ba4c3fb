"""HTTP/1.1 by uvicorn, with a limit on the time in which the head of a request arrives: uvicorn has none."""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


class TimedProtocol(H11Protocol):
    """A connection that is closed if the head of a request takes too long."""

    seconds = 30.0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Start the time of a new connection."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take bytes of a request."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()

    def _watch(self) -> None:
        """Start the time with the first byte of a head, and stop it with the last."""
        is_waiting = self.conn.their_state is h11.IDLE
        if self._timer is None and is_waiting:
            self._timer = self.loop.call_later(self.seconds, self.transport.close)
        elif self._timer is not None and not is_waiting:
            self._timer.cancel()
            self._timer = None
