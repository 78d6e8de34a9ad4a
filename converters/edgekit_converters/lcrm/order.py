"""Channels in another order: what has to follow, from the layer that gives them to their readers.

Case 1.2 computes some outputs with its pointwise branch and the rest with the deep one, so its
outputs come in an order of their own.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from edgekit_converters.graph import Call, Graph

_PASSING = (
    "Activation", "ActivityRegularization", "AlphaDropout", "AveragePooling2D", "Cropping2D",
    "Dropout", "ELU", "GaussianDropout", "GaussianNoise", "GlobalAveragePooling2D",
    "GlobalMaxPooling2D", "Identity", "LeakyReLU", "MaxPooling2D", "ReLU", "SpatialDropout2D",
    "UpSampling2D", "ZeroPadding2D",
)  # fmt: skip
"""Keras' layers that treat all channels alike and leave them where they are."""


@dataclass
class Followers:
    """Whom a new order reaches, by path: the axis of each weight to reorder, and by what.

    `refitted` holds the order in which substitutes that are fitted later see their inputs.
    """

    weights: dict[str, tuple[tuple[int | None, Any], ...]] = field(default_factory=dict)
    refitted: dict[str, Any] = field(default_factory=dict)


def followers(graph: Graph, tensor: int, order: Any, substituted: Collection[str]) -> Followers:
    """Follows the tensor whose channel i is to be what is now channel `order[i]`.

    Raises:
        LookupError: the path of a layer through which it cannot be followed.
    """
    held = {tensor: np.asarray(order)}
    times = graph.times_called()
    found = Followers()
    for call in graph.calls:
        if not any(number in held for number in call.inputs):
            continue
        if call.path in substituted:
            found.refitted[call.path] = held[call.inputs[0]]
            continue
        if type(call.layer) is not getattr(keras.layers, type(call.layer).__name__, None):
            raise LookupError(call.path)
        if call.layer.weights and times[id(call.layer)] > 1:
            raise LookupError(call.path)
        passed = _passed(call, held, found)
        if passed is not None:
            held[call.outputs[0]] = passed
    if any(number in held for number in graph.outputs):
        raise LookupError("the model's output")
    return found


def reorder(layer: Any, axes: tuple[tuple[int | None, Any], ...]) -> None:
    """Reorders the weights of a layer, in `get_weights()` order, each along its axis."""
    layer.set_weights(
        [
            weight if axis is None else np.take(weight, order, axis)
            for weight, (axis, order) in zip(layer.get_weights(), axes, strict=True)
        ]
    )


def _passed(call: Call, held: dict[int, Any], found: Followers) -> Any:
    """The order of what the layer gives, None if its own; its weights are noted."""
    layer, shape = call.layer, call.input_shapes[0]
    name, behind = type(layer).__name__, len(layer.weights) - 1
    if getattr(layer, "data_format", None) == "channels_first":
        raise LookupError(call.path)
    if name == "Concatenate":
        return _joined(call, held)
    order = held[call.inputs[0]]
    if name in _PASSING:
        return order
    if name == "BatchNormalization" and layer.axis in (-1, len(shape) - 1):
        found.weights[call.path] = ((0, order),) * len(layer.weights)
        return order
    if name == "Flatten" and None not in shape[1:]:
        sizes = [int(size or 1) for size in shape[1:]]
        positions = np.arange(int(np.prod(sizes[:-1])))
        return (positions[:, None] * sizes[-1] + order).ravel()
    if name in ("Conv2D", "Conv2DTranspose") and getattr(layer, "groups", 1) == 1:
        axis = 3 if name == "Conv2DTranspose" else 2
        found.weights[call.path] = ((axis, order), *((None, None),) * behind)
        return None
    if name == "DepthwiseConv2D":
        many = layer.depth_multiplier
        spread = (order[:, None] * many + np.arange(many)).ravel()
        found.weights[call.path] = ((2, order), *((0, spread),) * behind)
        return spread
    if name == "Dense":
        found.weights[call.path] = ((0, order), *((None, None),) * behind)
        return None
    raise LookupError(call.path)


def _joined(call: Call, held: dict[int, Any]) -> Any:
    shapes, axis = call.input_shapes, call.layer.axis
    if axis not in (-1, len(shapes[0]) - 1):
        raise LookupError(call.path)
    starts = np.cumsum([0, *(int(shape[-1] or 0) for shape in shapes)])
    return np.concatenate(
        [
            start + held.get(number, np.arange(end - start))
            for number, start, end in zip(call.inputs, starts[:-1], starts[1:], strict=True)
        ]
    )
