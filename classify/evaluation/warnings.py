"""Reasons to doubt an evaluation, each in one sentence with its numbers and what to do."""

from collections.abc import Iterator

import numpy as np

from headstart.classify.evaluation.metrics import Evaluation
from headstart.classify.heads.options import HeadOptions
from headstart.classify.split.classes import UNSEEN, listed
from headstart.classify.split.duplicates import LEAST, Duplicates
from headstart.classify.split.groups import classes_of_one_group
from headstart.classify.split.holdout import Split
from headstart.extract.store.store import Store

FEW_IMAGES = 10
"""On fewer test images the recall of a class is hardly more than a guess."""
IMBALANCE = 10


def find_warnings(
    store: Store,
    split: Split,
    evaluation: Evaluation,
    duplicates: Duplicates,
    options: HeadOptions,
    is_backbone_trained: bool,
) -> list[str]:
    """List what a reader of the figures should know before believing them."""
    warnings = [] if is_backbone_trained else ["the backbone's weights are untrained: use this only as a baseline"]
    return [
        *warnings,
        *_single_images(store, split, evaluation),
        *_baselines(evaluation),
        *_small_classes(evaluation),
        *_imbalance(store, split, options),
        *_groups(store, split),
        *_duplicates(store, duplicates, split),
    ]


def _single_images(store: Store, split: Split, evaluation: Evaluation) -> Iterator[str]:
    if not evaluation.images:
        yield (
            "nothing was evaluated: every class has a single image, which is trained on; add images, or run `headstart "
            "evaluate` on others"
        )
        return
    trained = np.bincount(store.labels[split.train], minlength=len(store.classes))
    singles = [
        repr(one.name) for one, count in zip(evaluation.classes, trained, strict=True) if count == 1 and not one.images
    ]
    if singles:
        yield (
            f"{listed(singles)}: trained on a single image per class, so none could be held out, and nothing tells how "
            "well it is recognised; add images, or leave such classes out with `--min-photos 2`"
        )


def _baselines(evaluation: Evaluation) -> Iterator[str]:
    low, high = evaluation.accuracy_interval
    accuracy = f"accuracy {evaluation.accuracy:.3f} (95 % interval {low:.3f} to {high:.3f})"
    if low <= evaluation.majority:
        yield (
            f"{accuracy} is hardly better than always predicting the most common class ({evaluation.majority:.3f}): "
            "the backbone's features may not separate these classes, or there are too few images"
        )
    if evaluation.untrained is not None and low <= evaluation.untrained:
        yield (
            f"{accuracy} is hardly better than with an untrained backbone ({evaluation.untrained:.3f}): its pretrained "
            "features do not seem to help with these images"
        )


def _small_classes(evaluation: Evaluation) -> Iterator[str]:
    small = sorted((one for one in evaluation.classes if one.images < FEW_IMAGES), key=lambda one: one.images)
    if small and evaluation.images:
        named = ", ".join(f"{one.name!r} ({one.images})" for one in small[:5])
        more = f" and {len(small) - 5} more" if len(small) > 5 else ""
        yield (
            f"too few test images to evaluate {len(small)} of {len(evaluation.classes)} classes: {named}{more}; with "
            f"fewer than {FEW_IMAGES}, one image moves the recall by {1 / FEW_IMAGES:.0%} or more"
        )


def _imbalance(store: Store, split: Split, options: HeadOptions) -> Iterator[str]:
    counts = np.bincount(store.labels[split.train], minlength=len(store.classes))
    most, least = int(counts.argmax()), int(counts.argmin())
    if options.class_weight == "none" and counts[most] >= IMBALANCE * counts[least]:
        yield (
            f"class {store.classes[most]!r} has {counts[most]} training images, {store.classes[least]!r} only "
            f"{counts[least]}: rare classes will be predicted too rarely; try --class-weight balanced, or add images"
        )


def _groups(store: Store, split: Split) -> Iterator[str]:
    names = classes_of_one_group(store, np.concatenate([split.train, split.test]))
    if names:
        named = ", ".join(map(repr, names[:5])) + f" and {len(names) - 5} more" * (len(names) > 5)
        yield (
            f"all photos of {len(names)} of {len(store.classes)} classes come from one group each: {named}; no unseen "
            "group tells how well they are recognised, so add photos of other groups"
        )


def _duplicates(store: Store, duplicates: Duplicates, split: Split) -> Iterator[str]:
    contradictory = sum(group.crosses_labels for group in duplicates.groups)
    crossing = sum(group.crosses_splits for group in duplicates.groups)
    if contradictory:
        yield f"{contradictory} images have duplicates with another label; check them, and remove one of each"
    if split.contradictory:
        yield (
            f"{split.contradictory} images of the split were left out of the evaluation, because identical files"
            f"{' or near duplicates' * split.is_grouped} have another label; check which label is right"
        )
    if split.strays:
        yield (
            f"{split.strays} images were left out of training and evaluation, because they have duplicates in another "
            "group; if these are one group, give them one name"
        )
    if split.left_out:
        yield (
            f"{split.left_out} training images were left out, because val or test has duplicates of them"
            f"{' or images of their groups' * split.is_grouped} ({crossing} images are in more than one split)"
        )
    elif crossing and set(store.splits[split.test]) <= set(UNSEEN):  # cross-validation keeps them together
        yield f"{crossing} images are in more than one split: figures on val and test are not independent"
    if np.isnan(duplicates.threshold) and int(store.is_embedded.sum()) >= LEAST:
        yield (
            "near-duplicates were not searched for, because memory is short: training and evaluation images may be "
            "near-duplicates of each other"
        )
