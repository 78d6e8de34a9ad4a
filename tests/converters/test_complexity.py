"""MACs and parameters against numbers worked out by hand; unknown is None, never 0."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from converter_models import MODELS
from keras import layers

from edgekit_converters import inspect_model
from edgekit_converters.complexity import macs, parameters, total_macs
from edgekit_converters.graph import read_graph
from edgekit_converters.parents import alexnet

IMAGE, SIGNAL, VECTOR = (10, 12, 6), (10, 6), (7,)
COUNTED: dict[str, tuple[tuple[int, ...], Callable[[], Any], int]] = {
    "Conv2D valid": (IMAGE, lambda: layers.Conv2D(4, 3), 8 * 10 * 9 * 6 * 4),
    "Conv2D same stride 2": (
        IMAGE,
        lambda: layers.Conv2D(4, (3, 5), strides=2, padding="same"),
        5 * 6 * 15 * 6 * 4,
    ),
    "Conv2D dilated": (IMAGE, lambda: layers.Conv2D(4, 3, dilation_rate=2), 6 * 8 * 9 * 6 * 4),
    "Conv2D grouped": (IMAGE, lambda: layers.Conv2D(4, 3, groups=2), 8 * 10 * 9 * 3 * 4),
    "Conv2D channels first": (
        (6, 10, 12),
        lambda: layers.Conv2D(4, 3, data_format="channels_first"),
        8 * 10 * 9 * 6 * 4,
    ),
    "Conv1D": (SIGNAL, lambda: layers.Conv1D(4, 3, padding="causal"), 10 * 3 * 6 * 4),
    "Conv3D": ((4, 5, 6, 2), lambda: layers.Conv3D(3, 2), 3 * 4 * 5 * 8 * 2 * 3),
    "DepthwiseConv2D": (
        IMAGE,
        lambda: layers.DepthwiseConv2D(3, depth_multiplier=2),
        8 * 10 * 9 * 6 * 2,
    ),
    "DepthwiseConv1D": (SIGNAL, lambda: layers.DepthwiseConv1D(3), 8 * 3 * 6),
    "SeparableConv2D": (
        IMAGE,
        lambda: layers.SeparableConv2D(4, 3, depth_multiplier=2),
        8 * 10 * (9 * 12 + 12 * 4),
    ),
    "Conv2DTranspose": (
        IMAGE,
        lambda: layers.Conv2DTranspose(4, 3, strides=2),
        10 * 12 * 9 * 6 * 4,
    ),
    "Dense": (VECTOR, lambda: layers.Dense(5), 7 * 5),
    "Dense on a sequence": (SIGNAL, lambda: layers.Dense(5), 10 * 6 * 5),
    "BatchNormalization": (IMAGE, layers.BatchNormalization, 0),
    "MaxPooling2D": (IMAGE, layers.MaxPooling2D, 0),
    "Flatten": (IMAGE, layers.Flatten, 0),
    "ReLU": (IMAGE, layers.ReLU, 0),
}
UNKNOWN: dict[str, tuple[tuple[int | None, ...], Callable[[], Any]]] = {
    "open size": ((None, None, 3), lambda: layers.Conv2D(4, 3)),
    "open sequence": ((None, 3), lambda: layers.Dense(4)),
    "LSTM": (SIGNAL, lambda: layers.LSTM(4)),
    "Bidirectional": (SIGNAL, lambda: layers.Bidirectional(layers.GRU(4))),
    "TimeDistributed": ((3, *IMAGE), lambda: layers.TimeDistributed(layers.Conv2D(4, 3))),
    "EinsumDense": (SIGNAL, lambda: layers.EinsumDense("abc,cd->abd", (None, 4))),
    "SeparableConv1D": (SIGNAL, lambda: layers.SeparableConv1D(4, 3)),
    "ConvLSTM2D": ((3, *IMAGE), lambda: layers.ConvLSTM2D(4, 3)),
    "Lambda": (VECTOR, lambda: layers.Lambda(lambda x: x * 2)),
    "ops.matmul": (VECTOR, lambda: lambda x: keras.ops.matmul(x, np.ones((7, 3), "float32"))),
    "ops.einsum": (
        VECTOR,
        lambda: lambda x: keras.ops.einsum("ab,bc->ac", x, np.ones((7, 3), "float32")),
    ),
    "ops.conv": (
        IMAGE,
        lambda: lambda x: keras.ops.conv(x, np.ones((3, 3, 6, 4), "float32")),
    ),
    "ops.depthwise_conv": (
        IMAGE,
        lambda: lambda x: keras.ops.depthwise_conv(x, np.ones((3, 3, 6, 1), "float32")),
    ),
}


@pytest.mark.parametrize("kind", COUNTED)
def test_macs_are_those_worked_out_by_hand(kind: str) -> None:
    shape, make, wanted = COUNTED[kind]
    x = keras.Input(shape)
    (call,) = read_graph(keras.Model(x, make()(x))).calls
    assert macs(call) == wanted


@pytest.mark.parametrize("kind", UNKNOWN)
def test_what_cannot_be_counted_is_none_and_named(kind: str) -> None:
    shape, make = UNKNOWN[kind]
    x = keras.Input(shape)
    graph = read_graph(keras.Model(x, make()(x)))
    assert [macs(call) for call in graph.calls] == [None]
    assert total_macs(graph) == (0, (graph.calls[0].path,))


def test_attention_is_not_free() -> None:
    x = keras.Input((5, 8))
    graph = read_graph(keras.Model(x, layers.MultiHeadAttention(2, 4)(x, x)))
    assert total_macs(graph)[1] == (graph.calls[0].path,)


def test_a_shared_layer_works_twice_but_is_stored_once() -> None:
    inspection = inspect_model(MODELS["shared"]())
    assert [layer.macs for layer in inspection.layers if layer.path == "twin"] == [
        6 * 6 * 9 * 3 * 5
    ] * 2
    assert all(layer.shared == (layer.path == "twin") for layer in inspection.layers)
    assert inspection.parameters == MODELS["shared"]().count_params()


@pytest.mark.parametrize("name", MODELS)
def test_parameters_are_those_keras_counts(name: str) -> None:
    model = MODELS[name]()
    assert parameters(model) == model.count_params()
    inspection = inspect_model(model)
    frozen = sum(int(np.prod(weight.shape)) for weight in model.non_trainable_weights)
    assert inspection.trainable_parameters == model.count_params() - frozen


def test_alexnet_computes_what_table_3_and_the_dense_layers_say() -> None:
    conv1 = 54 * 54 * 11 * 11 * 3 * 64
    dense = 6400 * 1024 + 1024 * 1024 + 1024 * 10
    middle = 276_889_600 + 128_065_536 + 193_098_816 + 128_065_536
    # Table 3 multiplies with 386 but its D2 has 26 x 26 positions, D3 to D5 have 12 x 12.
    exact = 26 * 26 * 25 * 64 * 256 + 144 * 9 * (256 * 386 + 386 * 386 + 386 * 256)
    assert middle == exact
    total, unknown = total_macs(read_graph(alexnet(filters=386)))
    assert (total, unknown) == (conv1 + middle + dense, ())
