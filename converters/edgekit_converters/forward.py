"""A model of a recipe, rounded to int8 in training or not, as a function on lists of tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from edgekit_converters.graph import functional


@dataclass(frozen=True)
class Forward:
    """Inference of a model: flat inputs to flat outputs, and the variables that it reads."""

    call: Callable[[list[Any]], list[Any]]
    variables: tuple[Any, ...]


def architecture(model: Any) -> Any:
    """The Keras 3 model that says what a stage's model is made of."""
    return model if isinstance(model, keras.Model) else model.keras


def forward(model: Any) -> Forward:
    """How a Keras 3 model, or one from quantisation-aware training, is run."""
    if not isinstance(model, keras.Model):
        # Only these models are TensorFlow's: those of Keras 3 run on any of its backends.
        import tensorflow as tf

        rounded = model.trained
        single = len(rounded.inputs) == 1
        return Forward(
            lambda inputs: tf.nest.flatten(
                rounded(inputs[0] if single else inputs, training=False)
            ),
            tuple(rounded.variables),
        )
    structure = functional(model).input
    return Forward(
        # A Sequential itself, not the graph behind it, whose name changes between processes.
        lambda inputs: list(
            keras.tree.flatten(
                model(keras.tree.pack_sequence_as(structure, inputs), training=False)
            )
        ),
        tuple(variable.value for variable in model.variables),
    )
