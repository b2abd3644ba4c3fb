"""What a server accepts, and from whom."""

from dataclasses import dataclass

from headstart.files.errors import OptionError

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
LARGEST_PORT = 65_535


@dataclass(frozen=True)
class ServeOptions:
    """Where a server listens, and its limits.

    Attributes
    ----------
    host, port
        The address to listen on; port 0 takes a free one.
    max_bytes
        Of a request's body.
    max_images
        Of a request.
    max_requests
        How many requests may be read, wait for a thread or be classified at the same time; more are answered with 503.
    read_seconds
        How long the head of a request, and then its body, may take to arrive.
    stop_seconds
        How long requests may go on after SIGTERM or Ctrl-C.

    Raises
    ------
    OptionError
        If a number is out of range.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    max_bytes: int = 32 << 20
    max_images: int = 32
    max_requests: int = 32
    read_seconds: float = 30.0
    stop_seconds: float = 5.0

    def __post_init__(self) -> None:
        if not 0 <= self.port <= LARGEST_PORT:
            raise OptionError(f"port must be between 0 and {LARGEST_PORT}, found {self.port}")
        for name in ("max_bytes", "max_images", "max_requests", "read_seconds", "stop_seconds"):
            if getattr(self, name) <= 0:
                raise OptionError(f"{name} must be more than 0, found {getattr(self, name)}")

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine reach the server."""
        return self.host in LOOPBACK
