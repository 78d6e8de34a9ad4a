"""A small trained model whose layers have something to hand on."""

from __future__ import annotations

from functools import cache
from typing import Any

import keras
import numpy as np
from keras import layers

from edgekit_converters import TrainingData


@cache
def learned() -> tuple[Any, TrainingData]:
    """A trained model in which every case occurs, and harder data than the cascades have."""
    rng = np.random.default_rng(7)
    labels = rng.integers(0, 4, 900)
    images = rng.normal(0, 0.6, (900, 8, 8, 3)).astype(np.float32)
    for image, label in zip(images, labels, strict=True):
        (row, column), upright = rng.integers(0, 6, 2), label % 2
        image[row : row + 1 + 2 * upright, column : column + 3 - 2 * upright, label // 2] += 2
    keras.utils.set_random_seed(1)
    x = image = keras.Input((8, 8, 3))
    for number, filters in enumerate((8, 20, 24, 24, 16), start=1):
        x = layers.Conv2D(filters, 3, padding="same", name=f"conv{number}")(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9, name=f"bn{number}")(x))
    x = layers.Dense(4, activation="softmax", name="out")(layers.GlobalMaxPooling2D()(x))
    model = keras.Model(image, x, name="learned")
    given = TrainingData((images[300:], labels[300:]), (images[:300], labels[:300]), 4)
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    model.fit(*given.train, epochs=25, batch_size=32, verbose=0)
    return model, given
