"""Whether an output is a probability or a logit, whatever stands behind the last activation."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from edgekit_converters.outputs import gives_probabilities


def model(*last: Any) -> Any:
    return keras.Sequential([keras.Input((6, 6, 2)), *last])


def flat(*last: Any) -> Any:
    return model(layers.Flatten(), *last)


def averaged() -> Any:
    inputs = keras.Input((4,))
    heads = [layers.Dense(3, activation="softmax")(inputs) for _ in range(2)]
    return keras.Model(inputs, layers.Average()(heads))


@keras.saving.register_keras_serializable("tests")
def own_sigmoid(x: Any) -> Any:
    return 1 / (1 + keras.ops.exp(-x))


PROBABILITIES = {
    "softmax": lambda: flat(layers.Dense(3, activation="softmax")),
    "softmax layer": lambda: flat(layers.Dense(3), layers.Softmax()),
    "sigmoid then reshape": lambda: flat(
        layers.Dense(1, activation="sigmoid"), layers.Reshape((1,))
    ),
    "hard sigmoid": lambda: flat(layers.Dense(1, activation="hard_sigmoid")),
    "dropout behind": lambda: flat(layers.Dense(1, activation="sigmoid"), layers.Dropout(0.1)),
    "float32 behind": lambda: flat(
        layers.Dense(3, activation="softmax"), layers.Activation("linear", dtype="float32")
    ),
    "pooled softmax": lambda: model(
        layers.Conv2D(3, 1, activation="softmax"), layers.GlobalAveragePooling2D()
    ),
    "average of softmaxes": averaged,
    "nested": lambda: flat(keras.Sequential([layers.Dense(3, activation="softmax")])),
    "own function": lambda: flat(layers.Dense(1, activation=own_sigmoid)),
}
LOGITS = {
    "linear": lambda: flat(layers.Dense(3)),
    "relu": lambda: flat(layers.Dense(3, activation="relu")),
    "one linear unit": lambda: flat(layers.Dense(1)),
    "tanh": lambda: flat(layers.Dense(1, activation="tanh")),
    "scaled softmax": lambda: flat(layers.Dense(3, activation="softmax"), layers.Rescaling(9.0)),
    "dense behind softmax": lambda: flat(layers.Dense(3, activation="softmax"), layers.Dense(3)),
}


@pytest.mark.parametrize("make", PROBABILITIES.values(), ids=PROBABILITIES)
def test_probabilities_are_seen(make: Callable[[], Any]) -> None:
    keras.utils.set_random_seed(0)
    assert gives_probabilities(make())


@pytest.mark.parametrize("make", LOGITS.values(), ids=LOGITS)
def test_logits_are_seen(make: Callable[[], Any]) -> None:
    keras.utils.set_random_seed(0)
    assert not gives_probabilities(make())


def test_a_binary_file_is_scored_at_one_half(tmp_path: Any) -> None:
    from edgekit_converters import Quantize, classification_objective, correct, export_tflite

    keras.utils.set_random_seed(0)
    built = flat(layers.Dense(1, activation="sigmoid"), layers.Reshape((1,)))
    x = np.random.default_rng(0).normal(size=(40, 6, 6, 2)).astype("float32")
    labels = (np.asarray(built(x)).ravel() > 0.5).astype(int)
    assert 0 < labels.mean() < 1
    export_tflite(built, Quantize("float32"), tmp_path / "m.tflite")
    objective = classification_objective(built, 2)
    right = correct(tmp_path / "m.tflite", x, labels, from_logits=objective.from_logits)
    assert all(right)
