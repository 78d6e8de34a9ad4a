"""What must hold for any model that is brought to tf_keras and back."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from edgekit_converters.graph import functional
from edgekit_converters.keras2.bridge import Bridged, to_tf_keras, weights_back


def model_of(*chain: Any, shape: tuple[int | None, ...] = (9, 8, 4), dtype: str = "float32") -> Any:
    """The layers one behind the other, with random weights where Keras begins with 0 or 1."""
    x = image = keras.Input(shape, dtype=dtype)
    for layer in chain:
        x = layer(x)
    return shaken(keras.Model(image, x))


def shaken(model: Any) -> Any:
    """The model with weights none of which is 0 or 1, and variances that stay positive."""
    generator = np.random.default_rng(5)
    for variable in model.weights:
        if "float" in variable.dtype:
            variable.assign(variable.numpy() + generator.uniform(0.05, 0.3, variable.shape))
    return model


def samples(model: Any, seed: int = 7) -> list[Any]:
    """Random inputs, flat, in the order of the model's inputs."""
    generator = np.random.default_rng(seed)
    return [
        generator.normal(size=(3, *(size or 40 for size in tensor.shape[1:]))).astype(tensor.dtype)
        if "float" in tensor.dtype
        else generator.integers(0, 2, (3, *(size or 40 for size in tensor.shape[1:]))).astype(
            tensor.dtype
        )
        for tensor in model.inputs
    ]


def outputs(model: Any, inputs: list[Any]) -> list[Any]:
    """The Keras 3 model's outputs in inference, flat."""
    structure = functional(model).input
    given = keras.tree.pack_sequence_as(structure, inputs)
    return [np.asarray(value) for value in keras.tree.flatten(model(given, training=False))]


def tf_outputs(model: Any, inputs: list[Any]) -> list[Any]:
    """The tf_keras model's outputs in inference, flat."""
    given = inputs[0] if len(inputs) == 1 else inputs
    return [np.asarray(value) for value in tf.nest.flatten(model(given, training=False))]


def agree(one: list[Any], other: list[Any], tolerance: float = 1e-5) -> None:
    """Asserts that two lists of arrays are the same up to a part of their range."""
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        assert left.shape == right.shape
        scale = max(np.abs(left.astype(np.float64)).max(initial=0), 1e-6)
        assert np.abs(left.astype(np.float64) - right).max(initial=0) <= tolerance * scale


def round_trip(model: Any, tolerance: float = 1e-5) -> Bridged:
    """Brings the model to tf_keras and back, untouched and changed, and checks all of it."""
    inputs, config = samples(model), model.to_json()
    before = outputs(model, inputs)
    weights = [weight.numpy() for weight in model.variables]

    bridged = to_tf_keras(model)
    same_weights(model.get_weights(), weights_back(bridged, bridged.model).get_weights())
    agree(before, tf_outputs(bridged.model, inputs), tolerance)

    generator = np.random.default_rng(3)
    for variable in bridged.model.weights:
        if variable.dtype.is_floating:
            variable.assign_add(generator.uniform(0.01, 0.1, variable.shape).astype("float32"))
    changed = tf_outputs(bridged.model, inputs)
    agree(outputs(weights_back(bridged, bridged.model), inputs), changed, tolerance)

    assert model.to_json() == config
    same_weights(weights, [weight.numpy() for weight in model.variables])
    agree(before, outputs(model, inputs), 0)
    return bridged


def same_weights(one: list[Any], other: list[Any]) -> None:
    """Asserts that two lists of arrays are the same, bit for bit."""
    for left, right in zip(one, other, strict=True):
        assert left.dtype == right.dtype
        assert np.array_equal(left, right)
