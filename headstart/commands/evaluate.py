"""`headstart evaluate`: measure a classifier on labelled embeddings."""

from math import isfinite
from typing import TYPE_CHECKING, Annotated

import typer

from headstart import options
from headstart.console import command, fail, print_json, say, warn
from headstart.results.evaluation import show_evaluation, show_labels

if TYPE_CHECKING:
    from headstart.classify.evaluation.comparison import Comparison


@command
def run(
    store: Annotated[str, typer.Argument(help="A labelled store from `headstart embed`.")],
    classifier: Annotated[str, typer.Option(help="A classifier from `headstart train`.")],
    against: Annotated[
        str | None, typer.Option(help="Compare with this classifier on the same images, with a paired test.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Use only this split: train, val or test.")] = None,
    require_accuracy: Annotated[
        float | None, typer.Option(min=0, max=1, help="Exit with code 1 if accuracy is lower.")
    ] = None,
    labels: options.Labels = None,
    label_column: options.LabelColumn = None,
    group: options.Group = None,
    time: options.Time = None,
    split_by_time: options.SplitByTime = False,
    where: options.Where = None,
    json: options.Json = False,
) -> None:
    """Measure a classifier on the labelled images of a store."""
    from headstart.classify import compare_classifiers, evaluate

    evaluation = evaluate(
        store, classifier, split=split, labels=labels, label_column=label_column, group=group, time=time,
        split_by_time=split_by_time, where=where,
    )  # fmt: skip
    comparison = compare_classifiers(store, evaluation, classifier, against) if against else None
    if json:
        print_json(evaluation.to_json() | ({"comparison": vars(comparison)} if comparison else {}))
    else:
        say(f"{classifier} on {evaluation.images} images of {store} ({evaluation.judged_on}):")
        show_labels(evaluation.labels)
        show_evaluation(evaluation)
        if comparison:
            show_comparison(comparison, against)
            if left_out := evaluation.images - comparison.images:
                say(f"  {left_out:,} images that {against} was trained on are left out of this comparison")
    for warning in evaluation.warnings:
        warn(warning)
    if require_accuracy is not None and evaluation.accuracy < require_accuracy:
        fail(f"{classifier}: accuracy {evaluation.accuracy:.4f} is below the required {require_accuracy}")


def show_comparison(comparison: "Comparison", against: str | None) -> None:
    """Print the comparison of two classifiers."""
    low, high = comparison.accuracy_interval
    loss_low, loss_high = comparison.log_loss_interval
    loss = f"{loss_low:+.3f} to {loss_high:+.3f}" if isfinite(loss_high) else "too few different images for an interval"
    say(f"against {against}: accuracy {comparison.accuracy_old:.4f}, {comparison.verdict}")
    say(
        f"  difference (95 % interval): accuracy {comparison.accuracy_difference:+.4f} ({low:+.3f} to {high:+.3f}), "
        f"log loss {comparison.log_loss_difference:+.4f} ({loss})"
    )
