"""A batch normalisation with fixed statistics that computes in int8 by itself.

Behind a convolution the converter folds it into the kernel. Elsewhere it becomes a multiplication
and an addition, and TFMOT gives the product between them no range: both would stay float.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tf_keras

from edgekit_converters.cascades.library import quantizers


@tf_keras.utils.register_keras_serializable("edgekit")
class FixedNormalisation(tf_keras.layers.Layer):  # type: ignore[misc]
    """Channels (the last axis) times a scale, rounded to int8 in training, plus an offset."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._quantizer = quantizers.MovingAverageQuantizer(
            num_bits=8, per_axis=False, symmetric=False, narrow_range=False
        )

    def build(self, input_shape: Any) -> None:
        """Makes scale, offset and the product's range."""
        channels = input_shape[-1]
        self.scale = self.add_weight("scale", shape=(channels,), initializer="ones")
        self.offset = self.add_weight("offset", shape=(channels,), initializer="zeros")
        self.range = self._quantizer.build(None, "product", self)
        super().build(input_shape)

    def call(self, inputs: Any, training: Any = None) -> Any:
        """The normalised tensor."""
        product = inputs * self.scale
        rounded = tf_keras.backend.in_train_phase(
            lambda: self._quantizer(product, True, self.range),
            lambda: self._quantizer(product, False, self.range),
            training=training,
        )
        return rounded + self.offset

    def get_config(self) -> dict[str, Any]:
        """Name and data type; the weights travel apart."""
        return dict(super().get_config())


def can_fix(layer: Any) -> bool:
    """Whether the layer is a batch normalisation over the last axis."""
    if type(layer).__name__ != "BatchNormalization":
        return False
    return list(layer.axis) == [len(_shape(layer)) - 1]


def _shape(layer: Any) -> tuple[Any, ...]:
    return tuple(layer.get_input_shape_at(0))


def fixed(layer: Any) -> FixedNormalisation:
    """The layer with its statistics as they are, under the same name; still trainable."""
    made = FixedNormalisation(name=layer.name, trainable=layer.trainable)
    made.build(_shape(layer))
    deviation = np.sqrt(layer.moving_variance.numpy() + layer.epsilon)
    scale = (layer.gamma.numpy() if layer.scale else 1.0) / deviation
    offset = (layer.beta.numpy() if layer.center else 0.0) - layer.moving_mean.numpy() * scale
    made.scale.assign(scale)
    made.offset.assign(offset)
    return made
