"""Fine-tuning in Keras, for comparison: the last blocks are trained, and the whole network runs in every epoch."""

import os
import time
from typing import Any

import numpy as np

EPOCHS, RATE, BATCH = 6, 2e-4, 32
FIRST_TRAINED = "block_13_expand"


def fine_tune(store: Any, splits: list[Any], weights: str | None) -> tuple[float, float, float]:
    """Fine-tune on each split of a store's photos, and return mean accuracy, log loss and seconds.

    Batch normalisation stays frozen, photos are flipped at random, and Adam uses a cosine decay.
    """
    found = [_one(store, train, test, weights) for train, test in splits]
    accuracy, loss, seconds = np.mean(np.array(found), axis=0).tolist()
    return accuracy, loss, seconds


def _one(store: Any, train: Any, test: Any, weights: str | None) -> tuple[float, float, float]:
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    started = time.perf_counter()
    model = _network(weights, len(store.classes))
    steps = EPOCHS * -(-len(train) // BATCH)
    schedule = keras.optimizers.schedules.CosineDecay(RATE, steps)
    model.compile(keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy")
    photos = _photos(store, train).shuffle(1000, seed=0).batch(BATCH).prefetch(tf.data.AUTOTUNE)
    model.fit(photos, epochs=EPOCHS, verbose=0)
    probabilities = model.predict(_photos(store, test).batch(BATCH), verbose=0)
    seconds = time.perf_counter() - started
    labels = store.labels[test]
    of_label = probabilities[np.arange(len(labels)), labels]
    return float((probabilities.argmax(axis=1) == labels).mean()), float(-np.log(of_label).mean()), seconds


def _network(weights: str | None, classes: int) -> Any:
    import keras

    base = keras.applications.MobileNetV2(include_top=False, weights=weights, input_shape=(224, 224, 3), pooling="avg")
    is_trained = False
    for layer in base.layers:
        is_trained = is_trained or layer.name == FIRST_TRAINED
        layer.trainable = is_trained and not isinstance(layer, keras.layers.BatchNormalization)
    image = keras.Input((224, 224, 3))
    mirrored = keras.layers.RandomFlip("horizontal")(image)
    features = base(keras.applications.mobilenet_v2.preprocess_input(mirrored), training=False)
    dropped = keras.layers.Dropout(0.2)(features)
    return keras.Model(image, keras.layers.Dense(classes, "softmax")(dropped))


def _photos(store: Any, rows: Any) -> Any:
    import tensorflow as tf

    paths = [os.path.join(store.header.root, store.paths[row]) for row in rows]

    def load(path: Any, label: Any) -> Any:
        pixels = tf.io.decode_image(tf.io.read_file(path), channels=3, expand_animations=False)
        return tf.image.resize(pixels, (224, 224), antialias=True), label

    labels = store.labels[rows].astype(np.int64)
    return tf.data.Dataset.from_tensor_slices((paths, labels)).map(load, num_parallel_calls=tf.data.AUTOTUNE)
