"""How a store gets other labels, splits and groups: those of a list of its photos, or of its own metadata."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from headstart.classify.errors import LabelError
from headstart.classify.labels.facts import Facts, Gathered, gather_facts
from headstart.classify.labels.match import MISMATCHES, LabelMatch, Mismatch
from headstart.classify.labels.options import LabelOptions
from headstart.classify.labels.pairs import Pairs, pair_rows
from headstart.classify.labels.rows import LabelRows, read_rows
from headstart.classify.labels.times import latest, text_of
from headstart.classify.labels.where import parse_condition
from headstart.extract.sources.items import SPLITS
from headstart.extract.sources.labels import notes_on_classes
from headstart.extract.store.store import Store

NOBODY = Facts(None, "", None, None)


def labelled_view(store: Store, options: LabelOptions, holdout: float) -> tuple[Store, LabelMatch]:
    """Give a store the labels, splits and groups that the options name (see `join_labels`)."""
    condition = parse_condition(options.where) if options.where else None
    has_file, rows = options.path is not None, read_rows(store, options, options.columns)
    pairs = pair_rows(store, rows) if has_file else Pairs()
    bare = np.setdiff1d(np.flatnonzero(store.is_embedded), pairs.photo) if has_file else np.empty(0, np.int64)
    if rows.labels is None:
        pairs.add_photos_without_row(len(store))
    gathered = gather_facts(store, rows, pairs, options, condition)
    gathered.mismatches.update(pairs.mismatches)
    gathered.mismatches["photos_without_row"] = [store.paths[photo] for photo in bare]
    joined, evaluated_from = _joined(store, rows, gathered, options, holdout)
    match = _match(joined, rows, gathered, options)
    return joined, replace(match, joined_by=dict(pairs.joined_by), evaluated_from=evaluated_from)


def _joined(
    store: Store, rows: LabelRows, gathered: Gathered, options: LabelOptions, holdout: float
) -> tuple[Store, str]:
    """Return the store under its new labels, splits and groups; and from when on a split by time evaluates."""
    facts = [gathered.facts.get(photo, NOBODY) for photo in range(len(store))]
    counts = _which_count(store, rows, gathered, facts, options)
    names = [fact.label if kept else None for fact, kept in zip(facts, counts, strict=True)]
    classes = sorted({name for name in names if name is not None})
    code: dict[str | None, int] = {None: -1} | {name: number for number, name in enumerate(classes)}
    view = replace(
        store.rows,
        label=np.array([code[name] for name in names], np.int32),
        split=np.array([SPLITS.index(fact.split) for fact in facts], np.int8),
    )
    groups = _groups([fact.group for fact in facts]) if options.group else None
    joined = replace(store, header=replace(store.header, classes=tuple(classes)), rows=view, groups=groups)
    if not options.split_by_time:
        return joined, ""
    if np.isin(joined.splits[counts], ("val", "test")).any():
        rows.notes.append("the split by time replaces the splits train, val and test")
    times = np.array([fact.time for fact in facts], np.float64)
    return _split_by_time(joined, times, counts, options.time_column, holdout)


def _which_count(
    store: Store, rows: LabelRows, gathered: Gathered, facts: Sequence[Facts], options: LabelOptions
) -> NDArray[np.bool_]:
    """Tell which photos, bool (n,), have all that is needed; note which lack something."""

    def note(kind: str, photos: NDArray[np.bool_]) -> None:
        gathered.mismatches[kind] = [store.paths[photo] for photo in np.flatnonzero(photos)]

    counts = store.is_embedded & [fact.label is not None for fact in facts]
    if rows.labels is not None:
        is_listed = np.isin(np.arange(len(store)), list(gathered.facts))
        note("photos_without_label", store.is_embedded & is_listed & ~counts)
    if options.split_by_time:
        is_timed = np.array([fact.time is not None for fact in facts], bool)
        note("photos_without_time", counts & ~is_timed)
        counts &= is_timed
    if options.group:
        note("photos_without_group", counts & [fact.group is None for fact in facts])
    if not counts.any():
        match = _match(store, rows, gathered, options)
        out = f"{match.left_out:,} photo{'s' * (match.left_out > 1)}"
        unmet = [f"--where {match.where!r} leaves out {out}"] * bool(match.left_out)
        raise LabelError(
            f"{rows.file or store.location}: expected labels for photos of {store.location}, but no photo is left: "
            + "; ".join([*unmet, *match.warnings()])
        )
    return counts


def _groups(names: Sequence[str | None]) -> NDArray[np.int64]:
    """Return each row the first row with the same name, int64 (n,); its own number without a name."""
    first: dict[str, int] = {}
    numbers = [row if name is None else first.setdefault(name, row) for row, name in enumerate(names)]
    return np.array(numbers, np.int64)


def _split_by_time(
    store: Store, times: NDArray[np.float64], counts: NDArray[np.bool_], column: str, share: float
) -> tuple[Store, str]:
    """Put the latest photos into the split val, and all others that count into train."""
    rows = np.flatnonzero(counts)
    groups = rows if store.groups is None else store.groups[rows]
    chosen, start = latest(times[rows], groups, share)
    if not chosen.any():
        raise LabelError(
            f"{store.location}: expected photos of different times in the column {column!r} to split by, but all are "
            "of one time, or in one group that reaches to the latest"
        )
    splits = np.zeros(len(store), np.int8)
    splits[rows] = np.where(chosen, SPLITS.index("val"), SPLITS.index("train"))
    origin = f"the latest {chosen.mean():.0%} of the images, from {text_of(start)} on ({column!r})"
    return replace(store, rows=replace(store.rows, split=splits), split_origin=origin), text_of(start)


def _match(store: Store, rows: LabelRows, gathered: Gathered, options: LabelOptions) -> LabelMatch:
    counts = store.is_embedded & (store.labels >= 0)
    return LabelMatch(
        store=store.location.name,
        file=rows.file,
        label_column=rows.label_column,
        group=options.group or "",
        time=options.time_column,
        where=options.where or "",
        rows=len(rows.names),
        photos=int(np.count_nonzero(counts)),
        groups=0 if store.groups is None else len(np.unique(store.groups[counts])),
        left_out=int(np.count_nonzero(store.is_embedded[list(gathered.left_out)])),
        mismatches=[Mismatch.of(kind, names) for kind in MISMATCHES if (names := gathered.mismatches.get(kind))],
        notes=[*rows.notes, *notes_on_classes(store.classes)],
        recorded=options.recorded(),
    )
