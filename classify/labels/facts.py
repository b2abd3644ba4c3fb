"""What a labels file and a store say about each photo, once a condition is applied and repeated rows are merged."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from headstart.classify.labels.options import LabelOptions
from headstart.classify.labels.pairs import Pairs
from headstart.classify.labels.rows import LabelRows
from headstart.classify.labels.times import seconds_of
from headstart.classify.labels.where import Condition
from headstart.extract.store.store import Store


class Facts(NamedTuple):
    """What is known about a photo; None for what is missing, and the time in seconds since 1970."""

    label: str | None
    split: str
    group: str | None
    time: float | None


@dataclass(frozen=True)
class Gathered:
    """Facts about photos.

    Attributes
    ----------
    facts
        By the number of the photo.
    left_out
        Photos that the condition leaves out.
    mismatches
        Kind -> the names of photos or rows.
    """

    facts: dict[int, Facts] = field(default_factory=dict)
    left_out: set[int] = field(default_factory=set)
    mismatches: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def gather_facts(
    store: Store, rows: LabelRows, pairs: Pairs, options: LabelOptions, condition: Condition | None
) -> Gathered:
    """Collect what the rows say about each photo; rows for which the condition does not hold say nothing.

    Raises
    ------
    LabelError
        If a time makes no sense, or a value cannot be compared.
    """
    found = Gathered()
    unknown: set[int] = set()
    conflicting: set[int] = set()
    paths = store.paths
    places = [rows.where[row] if row >= 0 else f"{store.location}: {paths[photo]}" for row, photo in pairs]
    columns = {name: pairs.texts(rows, store, name) for name in (condition.columns if condition else ())}
    facts = _facts_of_pairs(store, rows, pairs, options, places)
    for at, (row, photo) in enumerate(pairs):
        if condition is not None:
            holds = condition.holds({name: texts[at] for name, texts in columns.items()}, places[at])
            if not holds:
                (found.left_out if holds is False else unknown).add(photo)
                continue
        known = found.facts.setdefault(photo, facts[at])
        if known is not facts[at] and known == facts[at]:
            found.mismatches["repeated_rows"].append(rows.names[row])
        elif known is not facts[at]:
            conflicting.add(photo)
    found.left_out.difference_update(found.facts, unknown)
    for kind, photos in (("conflicting_rows", conflicting), ("photos_without_condition", unknown - set(found.facts))):
        found.mismatches[kind] = [paths[photo] for photo in sorted(photos) if store.is_embedded[photo]]
    for photo in conflicting:
        del found.facts[photo]
    return found


def _facts_of_pairs(
    store: Store, rows: LabelRows, pairs: Pairs, options: LabelOptions, places: list[str]
) -> list[Facts]:
    labels, splits = np.array([*store.classes, None], object)[store.labels].tolist(), store.splits.tolist()
    groups, times = pairs.texts(rows, store, options.group), pairs.texts(rows, store, options.time_column)
    seconds = [seconds_of(text, place) for text, place in zip(times, places, strict=True)]
    return [
        Facts(
            labels[photo] if rows.labels is None else rows.labels[row],
            splits[photo] if rows.splits is None or row < 0 else rows.splits[row],
            group,
            time,
        )
        for (row, photo), group, time in zip(pairs, groups, seconds, strict=True)
    ]
