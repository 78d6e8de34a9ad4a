"""Small models of convolutions one behind another, and what they should answer."""

import numpy as np
import tflite_file as tf
from delegate_models import (
    input_tensor,
    invoke,
    reference,
    weights,
)
from tflite_file import ModelFile

from edgekit_device.delegate import Nepu

SAME = {"padding": 0, "stride_h": 1, "stride_w": 1, "dilation_h": 1, "dilation_w": 1}
Q = {"scales": (0.05,), "zero": 3}


def conv(model: ModelFile, rng: np.random.Generator, x: int, **quantized: object) -> int:
    """Add a 3 x 3 convolution that keeps the shape."""
    shape = model.tensors[x].shape
    constants = weights(model, rng, (shape[3], 3, 3, shape[3]), 0, x)
    out = model.tensor(shape, **(quantized or Q))
    return model.node(tf.CONV_2D, [x, *constants], out, activation=0, **SAME)


def chain(rng: np.random.Generator, between: int | None = None) -> ModelFile:
    """Two convolutions, and between them perhaps a node that the delegate leaves."""
    model = ModelFile()
    x = input_tensor(model, rng, (1, 6, 6, 4), **Q)
    middle = conv(model, rng, x)
    if between is not None:
        out = model.tensor((1, 6, 6, 4), scales=(1 / 128,), zero=0)
        middle = model.node(between, [middle], out)
    model.outputs = [conv(model, rng, middle)]
    return model


def reshaped(rng: np.random.Generator, shape: tuple[int, ...], to: tuple[int, ...]) -> ModelFile:
    """A model of one RESHAPE, with the sizes as given, be they right or not."""
    model = ModelFile()
    x = input_tensor(model, rng, shape, **Q)
    sizes = model.constant(np.array(to, np.int32))
    model.outputs = [model.node(tf.RESHAPE, [x, sizes], model.tensor(shape, **Q))]
    return model


def same_as_reference(content: bytes, inputs: list[np.ndarray], nepu: Nepu) -> None:
    actual = invoke(nepu.interpreter(content, reference=True), inputs)
    for ours, theirs in zip(actual, invoke(reference(content), inputs), strict=True):
        np.testing.assert_array_equal(ours, theirs)
