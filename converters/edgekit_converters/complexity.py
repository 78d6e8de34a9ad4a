"""Parameters and multiply-accumulates (MACs) of Keras layers."""

from __future__ import annotations

import math
from typing import Any

import keras

from edgekit_converters.graph import Call, Graph, Shape

_FREE = (
    "Activation", "ActivityRegularization", "Add", "AlphaDropout", "Average", "AveragePooling1D",
    "AveragePooling2D", "AveragePooling3D", "BatchNormalization", "CenterCrop", "Concatenate",
    "Cropping1D", "Cropping2D", "Cropping3D", "CustomScaleLayer", "Dropout", "ELU", "Embedding",
    "Flatten",
    "GaussianDropout", "GaussianNoise", "GlobalAveragePooling1D", "GlobalAveragePooling2D",
    "GlobalAveragePooling3D", "GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D",
    "GroupNormalization", "Identity", "InputLayer", "LayerNormalization", "LayerScale", "LeakyReLU",
    "Masking", "MaxPooling1D", "MaxPooling2D", "MaxPooling3D", "Maximum", "Minimum", "Multiply",
    "Normalization", "PReLU", "Permute", "ReLU", "RepeatVector", "Rescaling", "Reshape", "Resizing",
    "Softmax", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "StochasticDepth",
    "Subtract", "UnitNormalization", "UpSampling1D", "UpSampling2D", "UpSampling3D",
    "ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D",
)  # fmt: skip
"""Layers without a sum of products, or (normalisations) one multiply that conversion folds away."""

_PRODUCTS = (
    "Conv", "ConvTranspose", "Correlate", "DepthwiseConv", "Dot", "DotProductAttention", "Einsum",
    "Inner", "Matmul", "Outer", "SeparableConv", "Tensordot", "Vdot",
)  # fmt: skip
"""Bare operations that sum products of tensors; the kit does not count them."""


def parameters(layer: Any) -> int:
    """Number of weights, trainable or not."""
    return sum(math.prod(weight.shape) for weight in layer.weights)


def macs(call: Call) -> int | None:
    """Multiply-accumulates of one call on one sample, bias left out; None where not known.

    A spatial size that the graph leaves open, or a layer type the kit cannot count, gives None:
    never 0.
    """
    layer, into, out = call.layer, call.input_shapes[0], call.output_shapes[0]
    first_last = getattr(layer, "data_format", None) != "channels_first"
    if isinstance(layer, keras.layers.SeparableConv2D):
        positions = _positions(out, first_last)
        channels = into[-1 if first_last else 1]
        deep = channels * layer.depth_multiplier
        return _times(positions, math.prod(layer.kernel_size) * deep + deep * layer.filters)
    if isinstance(layer, keras.layers.DepthwiseConv1D | keras.layers.DepthwiseConv2D):
        channels = out[-1 if first_last else 1]
        return _times(_positions(out, first_last), math.prod(layer.kernel_size) * channels)
    transposed = (
        keras.layers.Conv1DTranspose | keras.layers.Conv2DTranspose | keras.layers.Conv3DTranspose
    )
    if isinstance(layer, transposed):
        return _times(_positions(into, first_last), math.prod(layer.kernel.shape))
    if isinstance(layer, keras.layers.Conv1D | keras.layers.Conv2D | keras.layers.Conv3D):
        # The kernel holds c_in/groups x filters, which is each position's work.
        return _times(_positions(out, first_last), math.prod(layer.kernel.shape))
    if isinstance(layer, keras.layers.Dense):
        return _times(_product(out[1:-1]), math.prod(layer.kernel.shape))
    if isinstance(layer, keras.layers.EinsumDense):
        return None
    if not isinstance(layer, keras.layers.Layer) or type(layer).__name__ in _FREE:
        return 0 if not _multiplies_tensors(layer) else None
    return None


def total_macs(graph: Graph) -> tuple[int, tuple[str, ...]]:
    """The MACs of all calls that can be counted, and the paths of the calls that cannot."""
    counted = [(call.path, macs(call)) for call in graph.calls]
    unknown = tuple(path for path, value in counted if value is None)
    return sum(value for _, value in counted if value is not None), unknown


def _multiplies_tensors(operation: Any) -> bool:
    return type(operation).__name__ in _PRODUCTS


def _positions(shape: Shape, channels_last: bool) -> int | None:
    return _product(shape[1:-1] if channels_last else shape[2:])


def _product(sizes: Shape) -> int | None:
    known = [size for size in sizes if size is not None]
    return math.prod(known) if len(known) == len(sizes) else None


def _times(count: int | None, work: int) -> int | None:
    return None if count is None else count * work
