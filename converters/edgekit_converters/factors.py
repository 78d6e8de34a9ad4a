"""One convolution or dense layer as two in a row, from the matrix that its kernel is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def matrix_of(kernel: Any, form: str) -> Any:
    """The kernel as the matrix that the form factorises: rows are the first layer's inputs."""
    if form == "spatial":
        high, wide, inputs, outputs = kernel.shape
        return np.transpose(kernel, (0, 2, 1, 3)).reshape(high * inputs, wide * outputs)
    return np.reshape(kernel, (-1, kernel.shape[-1]))


def split(matrix: Any, rank: int) -> tuple[Any, Any]:
    """The best factors of that rank; each inner channel's norm is shared evenly between them.

    From the eigenvectors of the smaller Gram matrix, much faster than a full SVD of a large matrix:
    their being orthonormal is all that the product's exactness needs.
    """
    rows, columns = matrix.shape
    if rows > columns:
        right, left = (part.T for part in split(matrix.T, rank))
        return left, right
    squares, vectors = np.linalg.eigh(matrix @ matrix.T)
    left = vectors[:, ::-1][:, :rank]
    values = np.sqrt(np.clip(squares[::-1][:rank], 0, None))
    balance = np.sqrt(np.maximum(values, 1e-6 * values[0]))
    return left * balance, (left.T @ matrix) / balance[:, None]


def build_factors(layer: Any, form: str, rank: int) -> Callable[[Any], Any]:
    """A function tensor -> tensor of two layers that hold the kernel's best factors.

    The first has neither bias nor activation; the second has the layer's. Strides, padding and
    dilation go to the layer that spans the window, or each to the one along its axis.
    """
    left, right = split(matrix_of(np.asarray(layer.kernel, np.float64), form), rank)
    config = {**layer.get_config(), "trainable": True}
    first = {
        **config,
        "use_bias": False,
        "activation": None,
        "activity_regularizer": None,
        "name": f"{layer.name}_basis",
        "units" if form == "dense" else "filters": rank,
    }
    second = {**config, "name": f"{layer.name}_mix"}
    if form == "channels":
        high, wide, inputs, _ = layer.kernel.shape
        left, right = left.reshape(high, wide, inputs, rank), right[None, None]
        second |= {"kernel_size": (1, 1), "strides": (1, 1), "dilation_rate": (1, 1)}
    if form == "spatial":
        high, wide, inputs, outputs = layer.kernel.shape
        left = left.reshape(high, 1, inputs, rank)
        right = right.reshape(rank, wide, outputs).transpose(1, 0, 2)[None]
        for key in ("kernel_size", "strides", "dilation_rate"):
            along_rows, along_columns = config[key]
            first[key], second[key] = (along_rows, 1), (1, along_columns)
    basis, mix = type(layer).from_config(first), type(layer).from_config(second)
    bias = [np.asarray(layer.bias)] if layer.use_bias else []

    def apply(tensor: Any) -> Any:
        between = basis(tensor)
        result = mix(between)
        basis.set_weights([left])
        mix.set_weights([right, *bias])
        return result

    return apply
