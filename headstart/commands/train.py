"""`headstart train`: photos or an embedding store -> classifier file."""

from collections import Counter
from math import isnan, nan
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from headstart import options
from headstart.commands.embed import show as show_run
from headstart.console import (
    check_failures,
    command,
    fail,
    print_json,
    progress,
    require_some,
    say,
    working,
)
from headstart.results.training import show_training, training_to_json

if TYPE_CHECKING:
    from headstart.extract import Store


@command
def run(
    source: Annotated[
        str,
        typer.Argument(
            help="Photos: a folder with one folder per class, a list (.csv, .jsonl, .parquet), an archive (.tar) or a "
            "URL; or a store from `headstart embed`."
        ),
    ],
    head: Annotated[
        str, typer.Option(help="Kind of head; auto takes the best in cross-validation, an unknown name lists all.")
    ] = "logreg",
    output: Annotated[str, typer.Option("-o", "--output", help="The classifier to write.")] = "classifier.onnx",
    c: Annotated[
        float | None,
        typer.Option(
            "--C", help="logreg, svm: inverse strength of the penalty.", show_default="found by cross-validation"
        ),
    ] = None,
    scaling: Annotated[
        str | None,
        typer.Option(
            help="All but mlp: standardised (each feature by its own deviation) or raw (all by one number).",
            show_default="found by cross-validation; with --C, standardised",
        ),
    ] = None,
    hidden: Annotated[str, typer.Option(help="mlp: units per hidden layer, for example 1024,1024,512.")] = "256",
    budget: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="auto: seconds for the search, by an estimate for one core; heads beyond it are named.",
            show_default="60",
        ),
    ] = None,
    class_weight: Annotated[
        str, typer.Option(help="none, or balanced to give every class the same total weight.")
    ] = "none",
    holdout: Annotated[
        float,
        typer.Option(
            help="Share of images held out for evaluation, if the store has no val or test split.",
            show_default="0.2; fewer than 5 per class are cross-validated",
        ),
    ] = 0.2,
    folds: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Evaluate on every photo by cross-validation with this many folds, then train on all of them.",
            show_default="evaluate on the hold-out",
        ),
    ] = None,
    refit: Annotated[bool, typer.Option(help="After the evaluation, train once more on all labelled photos.")] = False,
    min_photos: Annotated[
        int | None,
        typer.Option(min=1, help="Leave out classes with fewer training images.", show_default="1"),
    ] = None,
    false_alarms: Annotated[
        float, typer.Option(help="Accepted share of known images flagged `unknown`; 0 turns the flag off.")
    ] = 0.05,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            help="Flag uncertain answers of a class `unknown`, so that this share of the others is right: daisy=0.98, "
            "or all=0.95. Can be repeated."
        ),
    ] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(help="Compare with a store of the same images by another backbone. Can be repeated."),
    ] = None,
    untrained: Annotated[
        str | None, typer.Option(help="Compare with a store of the same images by an untrained backbone.")
    ] = None,
    suspects: Annotated[bool, typer.Option(help="List likely label mistakes (needs the extra `report`).")] = False,
    report: Annotated[str | None, typer.Option(help="Write a report to NAME.html (needs the extra `report`).")] = None,
    memory_gb: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Memory for embeddings; a larger store is read in passes.",
            show_default="half of the machine's",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed for the hold-out split and the head.")] = 0,
    backbone: Annotated[
        str | None,
        typer.Option(
            help="A backbone (.onnx), or the name of one, which is exported on first use.",
            show_default="mobilenet_v2",
            rich_help_panel=options.PHOTOS,
        ),
    ] = None,
    labels: options.Labels = None,
    label_column: options.LabelColumn = None,
    group: options.Group = None,
    time: options.Time = None,
    split_by_time: options.SplitByTime = False,
    where: options.Where = None,
    root: options.Root = None,
    follow_links: options.FollowLinks = False,
    provider: options.Provider = "auto",
    workers: options.Workers = None,
    max_failures: options.MaxFailures = None,
    json: options.Json = False,
) -> None:
    """Train a classifier on photos: one file from image to probabilities.

    Photos are embedded first, into a store next to the classifier. Later runs embed only what is new or has changed.
    """
    from headstart.classify import HeadOptions, TrainOptions, train
    from headstart.extract import EngineOptions, SourceOptions
    from headstart.jobs import embed_for, is_embedded, require_no_options

    training = TrainOptions(
        head=head,
        options=HeadOptions(
            c=c, scaling=scaling, hidden=_units(hidden), class_weight=class_weight, seed=seed, budget=budget
        ),
        holdout=holdout,
        folds=folds,
        refit=refit,
        min_photos=min_photos,
        false_alarms=false_alarms,
        precision=_precision(precision or []),
        compare=compare or (),
        untrained=untrained,
        suspects=suspects,
        report=report,
        memory=None if memory_gb is None else memory_gb * 1e9,
        labels=labels,
        label_column=None if labels is None else label_column,
        group=group,
        time=time,
        split_by_time=split_by_time,
        where=where,
    )
    listed = label_column if labels is None else None
    store: str | Store = source
    if is_embedded(source):
        given = {
            "--backbone": backbone, "--label-column": listed, "--root": root, "--follow-links": follow_links,
            "--provider": provider != "auto", "--workers": workers, "--max-failures": max_failures,
        }  # fmt: skip
        require_no_options(source, [name for name, value in given.items() if value not in (None, False)])
    else:
        engine, photos = EngineOptions(provider, workers), SourceOptions(listed, root, follow_links)
        with progress("embedding") as callback:
            store, summary = embed_for(output, source, backbone, engine, photos, callback, training)
        if not json:
            show_run(store, summary, store.location)
        check_failures(summary.failed, max_failures)
        require_some(summary.embedded, "embedded", Counter(store.failures.values()))
    with working() as callback:
        result = train(store, output, progress=callback, **vars(training))
    if json:
        print_json(training_to_json(result))
        return
    show_training(result)
    if report:
        say(f"report: {report}")
    name = quote(str(result.path))
    if len(result.split.test):
        say("to train on the evaluated photos too, add --refit")
    say(f"next: headstart predict {name} PHOTO, or headstart score FOLDER --classifier {name} -o predictions.csv")


def _units(hidden: str) -> tuple[int, ...]:
    try:
        return tuple(int(units) for units in hidden.split(","))
    except ValueError:
        fail(f"--hidden {hidden!r}: expected whole numbers with commas between them, as in 1024,1024,512", 2)


def _precision(given: list[str]) -> dict[str, float]:
    """Parse ``daisy=0.98``; a class name may hold ``=`` itself."""
    wanted: dict[str, float] = {}
    for text in given:
        name, _, share = text.rpartition("=")
        try:
            value = float(share)
        except ValueError:
            value = nan
        if not name or isnan(value):
            fail(f"--precision {text!r}: expected a class and the share of its answers to be right: daisy=0.98", 2)
        if wanted.setdefault(name, value) != value:
            fail(f"--precision: found two values for {name!r}, {wanted[name]:g} and {value:g}; give one", 2)
    return wanted
