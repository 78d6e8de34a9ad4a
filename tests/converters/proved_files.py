"""Files made of small models, and what their proofs say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
from converter_models import randomise, samples
from keras import layers

from edgekit_converters import Quantize, export_tflite
from edgekit_converters.graph import read_graph
from edgekit_converters.proof import FileProof, LayerProof, WeightTensor, count_values

VALUES = (0.0, -1.0, 0.5, 2.0)
"""Centroids that int8 tells apart in every channel."""


def filled() -> Any:
    """Every kind of kernel, half of each zero and the rest of three values; two outputs."""
    image = keras.Input((8, 8, 4), name="image")
    x = layers.Conv2D(8, 3, name="conv")(image)
    x = layers.ReLU()(layers.BatchNormalization(name="bn")(x))
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(x)
    x = layers.Conv2DTranspose(6, 3, strides=2, padding="same", name="transposed")(x)
    y = layers.Dense(12, activation="relu", name="hidden")(layers.GlobalAveragePooling2D()(x))
    outputs = [layers.Dense(5, name="one")(y), layers.Conv2D(7, 1, name="two")(x)]
    model = randomise(keras.Model(image, outputs, name="filled"))
    rng = np.random.default_rng(2)
    for name in KINDS:
        kernel = model.get_layer(name).kernel
        size = int(np.prod(kernel.shape))
        flat = np.resize(VALUES[1:], size)
        flat[rng.permutation(size)[: size // 2]] = 0.0
        kernel.assign(rng.permutation(flat).reshape(kernel.shape))
    return model


KINDS = {
    "conv": -1,
    "depthwise": None,
    "transposed": -2,
    "hidden": -1,
    "one": -1,
    "two": -1,
}  # the axis of the output channels in Keras; a depthwise kernel has two


def keras_proofs(model: Any, **asked: Any) -> list[LayerProof]:
    """Proofs of all kernels of a Keras model, each asked the same."""
    found = {}
    for call in read_graph(model).calls:
        kernel = getattr(call.layer, "kernel", None)
        if kernel is not None and id(call.layer) not in found:
            values = np.asarray(kernel)
            axis = KINDS.get(call.layer.name, -1)
            if axis is None:
                values, axis = values.reshape(*values.shape[:2], -1), -1
            found[id(call.layer)] = LayerProof(
                call.path, values.size, *count_values(values, axis), **asked
            )
    return list(found.values())


def written(model: Any, folder: Path, scheme: str = "float32", **options: Any) -> Path:
    path = folder / f"{model.name}.tflite"
    given = samples(model, 12)
    export_tflite(model, Quantize(scheme), path, representative=given, **options)  # type: ignore[arg-type]
    return path


def by_layer(proof: FileProof) -> dict[str, WeightTensor]:
    named = [tensor for tensor in proof.weights if tensor.layer]
    assert len({tensor.layer for tensor in named}) == len(named)
    return {tensor.layer: tensor for tensor in named}
