"""Whether a classifier's output is probabilities or logits."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from edgekit_converters.graph import Call, functional, read_graph

_TRIALS = 64
_PROBABILITIES = {"hard_sigmoid", "sigmoid", "softmax", "sparse_sigmoid", "sparsemax"}
_PASSING = {
    "Activation", "AlphaDropout", "Average", "Dropout", "Flatten", "GaussianDropout",
    "GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalMaxPooling1D", "GlobalMaxPooling2D",
    "Identity", "Reshape", "Squeeze",
}  # fmt: skip
"""Layers behind which probabilities are still probabilities (an Activation only if linear)."""


def gives_probabilities(model: Any) -> bool:
    """Whether the model's one output lies in 0..1 by its construction.

    Decided by the last activation, looking through layers that keep its range; where that is a
    layer or function of the user's own, by what the model gives for random inputs.
    """
    graph = read_graph(model)
    made_by = {tensor: call for call in graph.calls for tensor in call.outputs}
    tensor = graph.outputs[0]
    while tensor in made_by:
        call = made_by[tensor]
        activation = _activation(call)
        if activation in _PROBABILITIES:
            return True
        own = not type(call.layer).__module__.startswith("keras.")
        if activation != "linear" or own:
            return _seen_in_unit_interval(model)
        if type(call.layer).__name__ not in _PASSING:
            return False
        tensor = call.inputs[0]
    return False


def _activation(call: Call) -> str:
    name = type(call.layer).__name__.lower()
    if name in _PROBABILITIES:
        return name
    return str(getattr(getattr(call.layer, "activation", None), "__name__", "linear"))


def _seen_in_unit_interval(model: Any) -> bool:
    inner, generator = functional(model), np.random.default_rng(0)
    inputs = [
        generator.normal(size=(_TRIALS, *(size or 32 for size in tensor.shape[1:])))
        for tensor in inner.inputs
    ]
    given = keras.tree.pack_sequence_as(inner.input, inputs)
    scores = keras.ops.convert_to_numpy(keras.tree.flatten(inner(given, training=False))[0])
    if scores.shape[-1] == 1:
        return bool(((scores >= 0) & (scores <= 1)).all())
    return bool((scores >= 0).all() and np.allclose(scores.sum(axis=-1), 1, atol=1e-3))
