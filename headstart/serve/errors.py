"""Why a request is refused."""


class RefusedError(Exception):
    """A request that is not answered; `status` is the HTTP status, and the message a line that says why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
