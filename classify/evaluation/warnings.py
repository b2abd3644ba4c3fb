"""What the reader of an evaluation should know before believing it, each in one sentence with its numbers."""

from collections.abc import Iterator

import numpy as np

from headstart.classify.evaluation.metrics import Evaluation
from headstart.classify.heads.options import HeadOptions
from headstart.classify.split.duplicates import LEAST, Duplicates
from headstart.classify.split.holdout import Split
from headstart.extract.store.store import Store

FEW_JUDGED = 10
"""On fewer test images the recall of a class is hardly more than a guess."""
IMBALANCE = 10


def find_warnings(
    table: Store,
    split: Split,
    evaluation: Evaluation,
    duplicates: Duplicates,
    options: HeadOptions,
    is_backbone_trained: bool,
) -> list[str]:
    """List what makes the figures less than they seem."""
    return [
        *_of_backbone(is_backbone_trained),
        *_of_baselines(evaluation),
        *_of_small_classes(evaluation),
        *_of_imbalance(table, split, options),
        *_of_copies(duplicates, split),
        *_of_near_copies(table, duplicates),
    ]


def _of_backbone(is_trained: bool) -> Iterator[str]:
    if not is_trained:
        yield "the backbone's weights are untrained: this is only a baseline"


def _of_baselines(evaluation: Evaluation) -> Iterator[str]:
    low, high = evaluation.accuracy_interval
    between = f"accuracy {evaluation.accuracy:.3f} (95 %: {low:.3f} to {high:.3f})"
    if low <= evaluation.majority:
        yield (
            f"{between} is hardly better than always answering the commonest class ({evaluation.majority:.3f}): what "
            "the backbone learnt may not tell these classes apart, or there are too few images"
        )
    if evaluation.untrained is not None and low <= evaluation.untrained:
        yield (
            f"{between} is hardly better than with an untrained backbone ({evaluation.untrained:.3f}): what it learnt "
            "from ImageNet does not seem to help with these images"
        )


def _of_small_classes(evaluation: Evaluation) -> Iterator[str]:
    small = sorted((one for one in evaluation.classes if one.images < FEW_JUDGED), key=lambda one: one.images)
    if small:
        named = ", ".join(f"{one.name!r} ({one.images})" for one in small[:5])
        more = f" and {len(small) - 5} more" if len(small) > 5 else ""
        yield (
            f"too few test images to judge {len(small)} of {len(evaluation.classes)} classes: {named}{more}; with "
            f"fewer than {FEW_JUDGED}, one image moves the recall by {1 / FEW_JUDGED:.0%} or more"
        )


def _of_imbalance(table: Store, split: Split, options: HeadOptions) -> Iterator[str]:
    counts = np.bincount(table.labels[split.train], minlength=len(table.classes))
    most, least = int(counts.argmax()), int(counts.argmin())
    if options.class_weight == "none" and counts[most] >= IMBALANCE * counts[least]:
        yield (
            f"class {table.classes[most]!r} has {counts[most]} training images, {table.classes[least]!r} only "
            f"{counts[least]}: rare classes will be answered too rarely; try --class-weight balanced, or add images"
        )


def _of_copies(duplicates: Duplicates, split: Split) -> Iterator[str]:
    contradictory = sum(group.crosses_labels for group in duplicates.groups)
    crossing = sum(group.crosses_splits for group in duplicates.groups)
    if contradictory:
        yield f"{contradictory} images have copies under another label; look at them, and remove one of each"
    if split.contradictory:
        yield (
            f"{split.contradictory} images of the split were not judged on, because the same bytes stand under another "
            "label too: nobody knows which is right"
        )
    if split.left_out:
        yield (
            f"{split.left_out} training images were left out, because the split holds copies of them "
            f"({crossing} images are in more than one split)"
        )


def _of_near_copies(table: Store, duplicates: Duplicates) -> Iterator[str]:
    if np.isnan(duplicates.threshold) and int(table.is_embedded.sum()) >= LEAST:
        yield "near copies were not looked for, for want of memory: they may stand on both sides of the judgement"
