"""How a tail is trained; docs/performance.md has the measurements behind the defaults."""

import math
from dataclasses import dataclass

from headstart.files.errors import OptionError


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the result of a tuning, apart from the rows.

    Attributes
    ----------
    epochs
        Passes over the images, each seen in one of its views at a time.
    learning_rate
        Peak learning rate of AdamW (Loshchilov and Hutter 2019): it rises over the first `warmup` of the steps, and
        falls to 0 along a cosine.
    warmup
        Share of the steps, 0..1.
    weight_decay
        Of AdamW, per step and unit of learning rate.
    label_smoothing
        Share of the probability that is spread over all classes, 0..1 (Szegedy et al. 2016).
    mixup
        Tensors are mixed in pairs, in proportions drawn from Beta(mixup, mixup) (Zhang et al. 2018); 0 for never.
    averaging
        Share of the old in the moving average of the weights, per step (Polyak and Juditsky 1992); the average is what
        is evaluated and kept. 0 for none.
    batch_size
        Images per step.
    patience
        Training ends after this many epochs without a lower log loss on the held-out images.
    class_weight
        ``"balanced"`` weights each image by the inverse share of its class; ``"none"`` weights all alike.
    seed
        Seed of the order, the views, the proportions and the split.

    Raises
    ------
    OptionError
        If a value is outside its bounds.
    """

    epochs: int = 10
    learning_rate: float = 2e-4
    warmup: float = 0.1
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    mixup: float = 0.4
    averaging: float = 0.99
    batch_size: int = 32
    patience: int = 4
    class_weight: str = "none"
    seed: int = 0

    def __post_init__(self) -> None:
        bounds = {
            "epochs": (1, 10_000), "learning_rate": (1e-8, 1.0), "warmup": (0.0, 1.0), "weight_decay": (0.0, 10.0),
            "label_smoothing": (0.0, 0.9), "mixup": (0.0, 100.0), "averaging": (0.0, 0.9999),
            "batch_size": (1, 65_536), "patience": (1, 10_000), "seed": (0, 2**31 - 1),
        }  # fmt: skip
        for name, (least, most) in bounds.items():
            if not least <= getattr(self, name) <= most:
                raise OptionError(f"{name} must lie between {least:g} and {most:g}, found {getattr(self, name)}")
        if self.class_weight not in ("none", "balanced"):
            raise OptionError(f"class_weight must be none or balanced, found {self.class_weight!r}")

    def rate_at(self, step: int, steps: int) -> float:
        """Return the learning rate of a step, 0..steps - 1: a linear rise, then half a cosine (same, 2017)."""
        rising = max(1, round(self.warmup * steps))
        if step < rising:
            return self.learning_rate * (step + 1) / rising
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))
