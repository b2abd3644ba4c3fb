"""Epochs over cached tensors: a tail and a linear head behind it, trained together until it no longer helps."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.confidence.calibration import fit_temperature
from headstart.classify.heads.loss import log_loss, softmax
from headstart.export.conversion.frameworks import Frameworks
from headstart.tune.batches import Rows
from headstart.tune.checkpoint import Epoch, State, load_state, save_state
from headstart.tune.recipe import Recipe

Listener = Callable[[Epoch], None]


@dataclass(frozen=True)
class Head:
    """The linear head that training begins with: weights (d, k) and bias (k,)."""

    weights: NDArray[np.floating] = field(repr=False)
    bias: NDArray[np.floating] = field(repr=False)


@dataclass(frozen=True)
class Course:
    """A tuning on its way: the network, its optimizer, and what has happened so far."""

    tail: Any
    whole: Any
    optimizer: Any
    recipe: Recipe
    frameworks: Frameworks
    history: list[Epoch] = field(default_factory=list)

    @classmethod
    def begin(cls, tail: Any, head: Head, recipe: Recipe, frameworks: Frameworks) -> "Course":
        """Put a head behind a tail, with an optimizer that has not done anything yet."""
        keras = frameworks.keras
        keras.utils.set_random_seed(recipe.seed)
        last = keras.layers.Dense(len(head.bias), name="head")
        whole = keras.Model(tail.input, last(tail.output))
        last.set_weights([head.weights.astype(np.float32), head.bias.astype(np.float32)])
        optimizer = keras.optimizers.AdamW(
            recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            use_ema=bool(recipe.averaging),
            ema_momentum=recipe.averaging,
        )
        optimizer.exclude_from_weight_decay(var_list=[v for v in whole.trainable_variables if len(v.shape) == 1])
        optimizer.build(whole.trainable_variables)
        return cls(tail, whole, optimizer, recipe, frameworks)

    @property
    def best(self) -> Epoch:
        """The epoch with the least log loss on the held-out images."""
        return min(self.history, key=lambda epoch: epoch.log_loss)

    @property
    def is_over(self) -> bool:
        """Whether all epochs are done, or so many of them in a row have not helped."""
        done = len(self.history)
        return done >= self.recipe.epochs or (done > 0 and done - self.best.number >= self.recipe.patience)

    def run(self, train: Rows, held_out: Rows, place: Path, of: str, listener: Listener) -> None:
        """Train to the end, from where a run `of` the same has left its state in a file; the best weights stay.

        The head's weights are the last ones of the network's.
        """
        best = self._resume(place, of, listener)
        weights = class_weights(train.labels, self.whole.output.shape[-1], self.recipe)
        step = self._step()
        while not self.is_over:
            started, number = time.monotonic(), len(self.history) + 1
            loss = self._epoch(step, train, number, weights)
            now = self.whole.get_weights()
            self._take_average()
            logits = self.logits(held_out)
            temperature = fit_temperature(logits, held_out.labels).temperature
            losses = log_loss(softmax(logits / temperature), held_out.labels)
            right = float((logits.argmax(axis=1) == held_out.labels).mean())
            epoch = Epoch(number, loss, losses, right, temperature, time.monotonic() - started)
            self.history.append(epoch)
            if self.best is epoch:
                best = self.whole.get_weights()
            self.whole.set_weights(now)
            optimizer = [variable.numpy() for variable in self.optimizer.variables]
            save_state(place, State(self.history, now, optimizer, best), of)
            listener(epoch)
        self.whole.set_weights(best)

    def _take_average(self) -> None:
        """Put the average of the weights over the last steps into the network."""
        if self.recipe.averaging:
            self.optimizer.finalize_variable_values(self.whole.trainable_variables)

    def logits(self, rows: Rows) -> NDArray[np.float32]:
        """Give logits, (n, k), of rows: of each the mean over its views."""
        answer = self._compiled(lambda tensors: self.whole(tensors, training=False))
        parts: list[NDArray[np.float32]] = []
        for tensors in rows.in_order():
            every = answer(tensors.reshape(-1, *tensors.shape[2:])).numpy()
            parts.append(every.reshape(*tensors.shape[:2], -1).mean(axis=1))
        return np.concatenate(parts)

    def embeddings(self, tensors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give what the tail makes of tensors, (n, h, w, c): float32 (n, d)."""
        found: NDArray[np.float32] = self._compiled(lambda given: self.tail(given, training=False))(tensors).numpy()
        return found

    def _compiled(self, function: Callable[[Any], Any]) -> Any:
        """Compile a function of tensors, (n, h, w, c): called as it is, Keras would keep what every layer gave."""
        tensorflow = self.frameworks.tensorflow
        spec = tensorflow.TensorSpec((None, *self.tail.input.shape[1:]), tensorflow.float32)
        return tensorflow.function(function, input_signature=[spec])

    def _resume(self, place: Path, of: str, listener: Listener) -> list[NDArray[Any]]:
        shapes = {
            "now": [tuple(weight.shape) for weight in self.whole.weights],
            "optimizer": [tuple(variable.shape) for variable in self.optimizer.variables],
        }
        state = load_state(place, of, shapes)
        if state is None:
            return list(self.whole.get_weights())
        self.whole.set_weights(state.now)
        for variable, value in zip(self.optimizer.variables, state.optimizer, strict=True):
            variable.assign(value)
        self.history.extend(state.history)
        for epoch in state.history:
            listener(epoch)
        return state.best

    def _epoch(self, step: Any, train: Rows, number: int, weights: NDArray[np.float32]) -> float:
        size = min(self.recipe.batch_size, len(train))
        steps = len(train) // size
        losses = []
        for place, (tensors, truth) in enumerate(train.epoch(number, self.recipe, weights)):
            rate = self.recipe.rate_at((number - 1) * steps + place, self.recipe.epochs * steps)
            self.optimizer.learning_rate.assign(rate)
            losses.append(step(tensors, truth))
        return float(np.mean([float(loss) for loss in losses]))

    def _step(self) -> Any:
        tensorflow = self.frameworks.tensorflow
        variables, smoothing = self.whole.trainable_variables, self.recipe.label_smoothing
        shape, classes = self.tail.input.shape[1:], self.whole.output.shape[-1]
        floats = tensorflow.float32

        @tensorflow.function(  # type: ignore[untyped-decorator]
            input_signature=[
                tensorflow.TensorSpec((None, *shape), floats),
                tensorflow.TensorSpec((None, classes), floats),
            ]
        )
        def step(tensors: Any, truth: Any) -> Any:
            weight = tensorflow.reduce_sum(truth, axis=1, keepdims=True)
            wanted = (1 - smoothing) * truth + smoothing * weight / classes
            with tensorflow.GradientTape() as tape:
                likely = tensorflow.nn.log_softmax(self.whole(tensors, training=True))
                loss = -tensorflow.reduce_mean(tensorflow.reduce_sum(wanted * likely, axis=1))
            self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
            return loss

        return step


def class_weights(labels: NDArray[np.int32], classes: int, recipe: Recipe) -> NDArray[np.float32]:
    """Give what an image of each class counts, float32 (k,): 1, or n / (k * images of its class)."""
    if recipe.class_weight == "none":
        return np.ones(classes, np.float32)
    counts = np.bincount(labels, minlength=classes)
    return (len(labels) / (classes * np.maximum(counts, 1))).astype(np.float32)


def epochs_of(history: list[Epoch]) -> Iterator[dict[str, Any]]:
    """Give epochs as plain values, rounded, for a file's metadata."""
    for epoch in history:
        yield {
            "epoch": epoch.number,
            "training_loss": round(epoch.training_loss, 4),
            "log_loss": round(epoch.log_loss, 4),
            "accuracy": round(epoch.accuracy, 4),
        }
