"""What `tune` raises on purpose."""


class TuneError(Exception):
    """A tail cannot be tuned in the way asked for; its message is one line that says why and what to do."""
