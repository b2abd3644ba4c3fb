"""When photos were taken: times in the usual spellings, and the latest photos as those to evaluate on."""

import re
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from headstart.classify.errors import LabelError

EXIF = re.compile(r"(\d{4}):(\d\d):(\d\d)(?: (\d\d:\d\d:\d\d.*))?")
NOT_SET = re.compile(r"[0: ]*")
"""What cameras write whose clock was never set: ``0000:00:00 00:00:00``."""
FIRST_SECOND, LAST_SECOND = 1e8, 1e11
"""Seconds since 1970 lie between: in 1973 and 5138. Smaller numbers are years or days, larger ones milliseconds."""


def seconds_of(text: str | None, where: str) -> float | None:
    """Return a time in seconds since 1970; None if it is missing.

    Parameters
    ----------
    text
        An ISO 8601 date or date and time (``2024-05-01``, ``20240501``, ``2024-05-01T12:30:00+02:00``), EXIF's form
        (``2024:05:01 12:30:00``), or Unix seconds. A time without a zone counts as UTC, so that photos of one camera
        keep their order.
    where
        The row and column, for messages.

    Raises
    ------
    LabelError
        If it is anything else.
    """
    if text is None or NOT_SET.fullmatch(text):
        return None
    try:
        if re.fullmatch(r"\d{9,}(\.\d*)?", text):
            seconds = float(text)
            if FIRST_SECOND <= seconds < LAST_SECOND:
                return seconds
            raise ValueError
        if exif := EXIF.fullmatch(text):
            text = "-".join(exif.groups()[:3]) + (f"T{exif[4]}" if exif[4] else "")
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise LabelError(
            f"{where}: expected a time such as 2024-05-01, 2024-05-01T12:30:00, 2024:05:01 12:30:00 or seconds since "
            f"1970, found {text[:80]!r}"
        ) from None


def text_of(seconds: float) -> str:
    """Write a time in ISO 8601, in UTC and without saying so."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat(timespec="seconds")


def latest(times: NDArray[np.float64], groups: NDArray[np.int64], share: float) -> tuple[NDArray[np.bool_], float]:
    """Choose about this share of photos: the latest, whole groups, and equal times together.

    A group counts by its latest photo. So every photo that is not chosen was taken before the latest photo of each
    chosen group: nothing is trained on that is newer than all of what it is evaluated on.

    Parameters
    ----------
    times
        float64, (n,): seconds, none of them NaN.
    groups
        int64, (n,): the same number for photos that stay together.
    share
        Above 0 and below 1.

    Returns
    -------
    bool, (n,): some and not all, or none if all have one time; and the time before which all others were taken.
    """
    _, group = np.unique(groups, return_inverse=True)
    ends = np.full(group.max(initial=-1) + 1, -np.inf)
    np.maximum.at(ends, group, times)
    moments, moment = np.unique(ends[group], return_inverse=True)
    if len(moments) < 2:
        return np.zeros(len(times), bool), float("nan")
    counts = np.cumsum(np.bincount(moment)[::-1])[:-1]  # chosen with the latest moment, the latest two, ...
    wanted = int(np.abs(counts - share * len(times)).argmin()) + 1
    return moment >= len(moments) - wanted, float(moments[len(moments) - wanted])
