"""Small Keras 3 models, each with one trait that the converters must respect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers


def sequential() -> Any:
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, activation="relu", name="first"),
            layers.Conv2D(8, 3, padding="same", use_bias=False, name="second"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ],
        name="sequential",
    )


def skip() -> Any:
    image = keras.Input((8, 8, 4), name="image")
    x = layers.Conv2D(6, 3, padding="same", name="enter")(image)
    y = layers.Conv2D(6, 3, padding="same", activation="relu", name="inside")(x)
    y = layers.Add()([x, y])
    y = layers.Conv2D(9, 3, strides=2, padding="same", name="down")(y)
    return keras.Model(image, layers.Dense(2)(layers.GlobalAveragePooling2D()(y)), name="skip")


def two_by_two() -> Any:
    """Two inputs of unlike shapes and two outputs, no name in alphabetical order."""
    zebra, ant = keras.Input((6, 6, 2), name="zebra"), keras.Input((3,), name="ant")
    x = layers.Flatten()(layers.Conv2D(4, 3, activation="relu")(zebra))
    x = layers.Concatenate()([x, layers.Dense(4)(ant)])
    right = layers.Dense(3, name="right")(x)
    left = layers.Dense(2, activation="tanh", name="left")(x)
    return keras.Model([zebra, ant], [right, left], name="two_by_two")


def shared() -> Any:
    """One convolution serves both inputs."""
    one, two = keras.Input((6, 6, 3), name="one"), keras.Input((6, 6, 3), name="two")
    twin = layers.Conv2D(5, 3, padding="same", name="twin")
    x = layers.Concatenate()([twin(one), twin(two)])
    x = layers.Conv2D(12, 3, name="own")(x)
    return keras.Model([one, two], layers.Dense(2)(layers.Flatten()(x)), name="shared")


def block(name: str = "block", channels: int = 4) -> Any:
    return keras.Sequential(
        [
            keras.Input((8, 8, channels)),
            layers.Conv2D(channels, 3, padding="same", name="conv"),
            layers.ReLU(name="relu"),
        ],
        name=name,
    )


def nested() -> Any:
    """A Sequential inside a functional model inside a functional model."""
    inside = keras.Input((8, 8, 4))
    middle = keras.Model(inside, layers.Add()([inside, block()(inside)]), name="middle")
    image = keras.Input((8, 8, 3))
    x = middle(layers.Conv2D(4, 3, padding="same", name="stem")(image))
    return keras.Model(image, layers.Dense(2)(layers.Flatten()(x)), name="nested")


def nested_twice() -> Any:
    """The same nested model is called twice."""
    twice, image = block("twice"), keras.Input((8, 8, 3))
    x = twice(twice(layers.Conv2D(4, 3, padding="same", name="stem")(image)))
    return keras.Model(image, layers.Dense(2)(layers.Flatten()(x)), name="nested_twice")


def operators() -> Any:
    """Bare operations between the layers."""
    image = keras.Input((8, 8, 4))
    x = layers.Conv2D(8, 3, padding="same", name="stem")(image)
    x = keras.ops.reshape(x[:, 1:5] * 2.0 - 1.0, (-1, 8, 4, 8))
    x = keras.ops.concatenate([x, keras.ops.transpose(x, (0, 1, 2, 3)) + x], axis=-1)
    x = layers.Conv2D(16, 3, name="body")(x)
    return keras.Model(image, layers.Dense(3)(keras.ops.mean(x, axis=(1, 2))), name="operators")


def recurrent() -> Any:
    signal = keras.Input((7, 3))
    x = layers.Bidirectional(layers.GRU(4, return_sequences=True))(signal)
    return keras.Model(signal, layers.Dense(2)(layers.LSTM(5)(x)), name="recurrent")


BUILDERS = (sequential, skip, two_by_two, shared, nested, nested_twice, operators, recurrent)
MODELS: dict[str, Callable[[], Any]] = {builder.__name__: builder for builder in BUILDERS}


def samples(model: Any, count: int = 3, seed: int = 5) -> list[Any]:
    """Random samples, one array per input."""
    rng = np.random.default_rng(seed)
    return [
        rng.uniform(-1, 1, (count, *tensor.shape[1:])).astype(tensor.dtype)
        for tensor in model.inputs
    ]


def outputs(model: Any, inputs: list[Any]) -> list[Any]:
    result = model(inputs[0] if len(inputs) == 1 else inputs, training=False)
    return [np.asarray(value) for value in keras.tree.flatten(result)]


def randomise(model: Any, seed: int = 3) -> Any:
    """Gives biases and statistics values that show where one gets lost."""
    rng = np.random.default_rng(seed)
    model.set_weights([w + rng.uniform(0.05, 0.3, w.shape) for w in model.get_weights()])
    return model


def frozen(model: Any) -> tuple[str, list[bytes]]:
    """Everything of a model that must not change behind its owner's back."""
    return model.to_json(), [weight.tobytes() for weight in model.get_weights()]


def assert_same(got: list[Any], wanted: list[Any], tolerance: float = 1e-6) -> None:
    assert len(got) == len(wanted)
    for value, expected in zip(got, wanted, strict=True):
        assert value.shape == expected.shape
        np.testing.assert_allclose(value, expected, atol=tolerance, rtol=tolerance)
