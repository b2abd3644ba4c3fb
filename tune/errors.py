"""What `tune` raises on purpose."""

from headstart.files.errors import HeadstartError


class TuneError(HeadstartError):
    """A tail cannot be tuned in the way asked for; its message is one line that says why and what to do."""
