"""Epochs over cached tensors: a tail and a linear head are trained together until it no longer helps."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.confidence.calibration import fit_temperature
from headstart.classify.heads.layers import Layer
from headstart.classify.heads.loss import log_loss, softmax
from headstart.export.conversion.frameworks import Frameworks
from headstart.tune.batches import Rows
from headstart.tune.checkpoint import Epoch, State, load_state, save_state
from headstart.tune.recipe import Recipe


@dataclass(frozen=True)
class Training:
    """A tuning under way: the tail, the tail with its head, the optimizer, and the epochs so far."""

    tail: Any
    network: Any
    optimizer: Any
    recipe: Recipe
    frameworks: Frameworks
    history: list[Epoch] = field(default_factory=list)

    @classmethod
    def start(cls, tail: Any, head: Layer, recipe: Recipe, frameworks: Frameworks) -> "Training":
        """Put a head on a tail, with a fresh optimizer."""
        keras = frameworks.keras
        keras.utils.set_random_seed(recipe.seed)
        last = keras.layers.Dense(len(head.bias), name="head")
        network = keras.Model(tail.input, last(tail.output))
        last.set_weights([np.asarray(values, np.float32) for values in (head.weights, head.bias)])
        optimizer = keras.optimizers.AdamW(
            recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            use_ema=bool(recipe.averaging),
            ema_momentum=recipe.averaging,
        )
        optimizer.exclude_from_weight_decay(var_list=[v for v in network.trainable_variables if len(v.shape) == 1])
        optimizer.build(network.trainable_variables)
        return cls(tail, network, optimizer, recipe, frameworks)

    @property
    def best(self) -> Epoch:
        """The epoch with the least log loss on the held-out images."""
        return min(self.history, key=lambda epoch: epoch.log_loss)

    @property
    def is_over(self) -> bool:
        """Whether all epochs are done, or the last `patience` ones have not helped."""
        done = len(self.history)
        return done >= self.recipe.epochs or (done > 0 and done - self.best.number >= self.recipe.patience)

    def run(self, train: Rows, held_out: Rows, checkpoint: Path, key: str, report: Callable[[Epoch], None]) -> None:
        """Train to the end, from the checkpoint of a run with the same key if there is one; keep the best weights."""
        best = self._resume(checkpoint, key)
        for epoch in self.history:
            report(epoch)
        weights = class_weights(train.labels, self.network.output.shape[-1], self.recipe)
        step = self._step()
        while not self.is_over:
            started = time.monotonic()
            loss = self._epoch(step, train, weights)
            current = self.network.get_weights()
            if self.recipe.averaging:  # what is evaluated is the average of the weights over the last steps
                self.optimizer.finalize_variable_values(self.network.trainable_variables)
            epoch = self._evaluate(held_out, loss, started)
            self.history.append(epoch)
            if self.best is epoch:
                best = self.network.get_weights()
            self.network.set_weights(current)
            optimizer = [variable.numpy() for variable in self.optimizer.variables]
            save_state(checkpoint, State(self.history, current, optimizer, best), key)
            report(epoch)
        self.network.set_weights(best)

    def embeddings(self, tensors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Embed tensors, (n, h, w, c), with the tail: float32 (n, d)."""
        embeddings: NDArray[np.float32] = self._compiled(self.tail)(tensors).numpy()
        return embeddings

    def _logits(self, rows: Rows) -> NDArray[np.float32]:
        """Return logits, (n, k), averaged over the views of each row."""
        run = self._compiled(self.network)
        parts: list[NDArray[np.float32]] = []
        for tensors in rows.all_views():
            logits = run(tensors.reshape(-1, *tensors.shape[2:])).numpy()
            parts.append(logits.reshape(*tensors.shape[:2], -1).mean(axis=1))
        return np.concatenate(parts)

    def _evaluate(self, rows: Rows, loss: float, started: float) -> Epoch:
        figures = evaluate(self._logits(rows), rows.labels)
        return Epoch(len(self.history) + 1, loss, *figures, time.monotonic() - started)

    def _compiled(self, model: Any) -> Any:
        """Compile a model of tensors, (n, h, w, c): called directly, Keras would keep every layer's output."""
        return self.frameworks.tensorflow.function(
            lambda tensors: model(tensors, training=False), input_signature=[self._spec(self.tail.input.shape[1:])]
        )

    def _spec(self, shape: Any) -> Any:
        return self.frameworks.tensorflow.TensorSpec((None, *shape), self.frameworks.tensorflow.float32)

    def _resume(self, checkpoint: Path, key: str) -> list[NDArray[Any]]:
        """Take over the state of an interrupted run, if there is one; return the best weights so far."""
        shapes = {
            "now": [tuple(weight.shape) for weight in self.network.weights],
            "optimizer": [tuple(variable.shape) for variable in self.optimizer.variables],
        }
        state = load_state(checkpoint, key, shapes)
        if state is None:
            return list(self.network.get_weights())
        self.network.set_weights(state.now)
        for variable, value in zip(self.optimizer.variables, state.optimizer, strict=True):
            variable.assign(value)
        self.history.extend(state.history)
        return state.best

    def _epoch(self, step: Any, train: Rows, weights: NDArray[np.float32]) -> float:
        """Train for one epoch; return the mean loss."""
        done, steps = len(self.history), len(train) // min(self.recipe.batch_size, len(train))
        losses = []
        for number, (tensors, truth) in enumerate(train.epoch(done + 1, self.recipe, weights)):
            self.optimizer.learning_rate.assign(self.recipe.rate_at(done * steps + number, self.recipe.epochs * steps))
            losses.append(step(tensors, truth))
        return float(np.mean([float(loss) for loss in losses]))

    def _step(self) -> Any:
        """Compile one step of training: tensors, (n, h, w, c), and class shares, (n, k), to the loss."""
        tensorflow = self.frameworks.tensorflow
        variables, smoothing = self.network.trainable_variables, self.recipe.label_smoothing
        classes = self.network.output.shape[-1]

        def step(tensors: Any, truth: Any) -> Any:
            weight = tensorflow.reduce_sum(truth, axis=1, keepdims=True)
            target = (1 - smoothing) * truth + smoothing * weight / classes
            with tensorflow.GradientTape() as tape:
                log_probabilities = tensorflow.nn.log_softmax(self.network(tensors, training=True))
                loss = -tensorflow.reduce_mean(tensorflow.reduce_sum(target * log_probabilities, axis=1))
            self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
            return loss

        signature = [self._spec(self.tail.input.shape[1:]), self._spec((classes,))]
        return tensorflow.function(step, input_signature=signature)


def evaluate(logits: NDArray[np.floating], labels: NDArray[np.int32]) -> tuple[float, float, float]:
    """Return log loss (nats, at the best temperature), accuracy (0..1), and that temperature."""
    temperature = fit_temperature(logits, labels).temperature
    accuracy = float((logits.argmax(axis=1) == labels).mean())
    return log_loss(softmax(logits / temperature), labels), accuracy, temperature


def class_weights(labels: NDArray[np.int32], classes: int, recipe: Recipe) -> NDArray[np.float32]:
    """Return the weight of an image of each class, float32 (k,): 1, or n / (k * images of the class)."""
    if recipe.class_weight == "none":
        return np.ones(classes, np.float32)
    counts = np.bincount(labels, minlength=classes)
    return (len(labels) / (classes * np.maximum(counts, 1))).astype(np.float32)
