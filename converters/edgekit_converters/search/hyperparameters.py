"""A model started anew with another initialiser and another hidden activation (Table 16)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from edgekit_converters.activations import (
    activation_name,
    gate_activations,
    output_activations,
)
from edgekit_converters.errors import RewriteError
from edgekit_converters.graph import Call, read_graph
from edgekit_converters.rewriting import Replacement, rewrite

_INITIALIZERS = {"uniform": "random_uniform"}
"""The paper's names that are not Keras'."""
_KERNELS = ("kernel_initializer", "depthwise_initializer", "pointwise_initializer")
_RECTIFIERS = (keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.ELU)
_KNOWN = (
    keras.layers.Activation,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
    keras.layers.Dense,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
    *_RECTIFIERS,
)


def restarted(model: Any, initializer: str, activation: str) -> Any:
    """A copy with fresh weights from the initialiser and with the activation in hidden layers.

    What makes the output, gates (sigmoids that are multiplied with another tensor), recurrent
    layers and classes of the user's own keep their activation; frozen layers stay as they are.

    Raises:
        RewriteError: the model has nothing to train.
    """
    if not model.trainable_weights:
        raise RewriteError(
            f"{model.name!r} has no weights to train; unfreeze its layers before the search."
        )
    graph = read_graph(model)
    fixed = output_activations(graph) | gate_activations(graph)
    kernels = _INITIALIZERS.get(initializer, initializer)
    replacements: dict[str, Replacement] = {}
    for call in graph.calls:
        changes = _changes(call, kernels, None if id(call.layer) in fixed else activation)
        if changes is not None:
            replacements[call.path] = _replacing(changes)
    return rewrite(model, replacements, fresh=True)


def optimizer(name: str, learning_rate: float) -> Any:
    """A fresh optimiser by its name in Keras."""
    return getattr(keras.optimizers, name)(learning_rate=learning_rate)


def _changes(call: Call, kernels: str, activation: str | None) -> dict[str, Any] | None:
    """What becomes other in a layer's configuration; None where the layer stays as it is."""
    layer = call.layer
    if type(layer) not in _KNOWN or (layer.weights and not layer.trainable_weights):
        return None
    if isinstance(layer, _RECTIFIERS):
        return None if activation is None else {"activation": activation}
    config = layer.get_config()
    changes: dict[str, Any] = {name: kernels for name in _KERNELS if config.get(name) is not None}
    if activation is not None and activation_name(layer) not in ("", "linear"):
        changes["activation"] = activation
    return changes or None


def _replacing(changes: dict[str, Any]) -> Replacement:
    def replace(layer: Any) -> Callable[[Any], Any]:
        if isinstance(layer, _RECTIFIERS):
            made = keras.layers.Activation(name=layer.name, dtype=layer.dtype_policy, **changes)
        else:
            made = type(layer).from_config({**layer.get_config(), **changes})
        apply: Callable[[Any], Any] = made
        return apply

    return replace
