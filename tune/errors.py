"""What `tune` raises on purpose."""

from headstart.files.errors import HeadstartError


class TuneError(HeadstartError):
    """A tail cannot be tuned on these rows; the message says why and what to do."""
