"""Samples in batches that fit into memory, and single tensors of a graph over all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from edgekit_converters.graph import Graph

_BATCH_BYTES = 2**26
_MOST_IMAGES = 256


def in_batches(graph: Graph, samples: list[Any]) -> list[list[Any]]:
    """The samples, one array per model input, in batches of nearly equal size.

    A batch's largest tensor stays below 64 MiB, unless a single sample's does not.
    """
    open_size = max(max(array.shape) for array in samples)
    largest = max(
        (
            int(np.prod([size or open_size for size in shape[1:]]))
            for call in graph.calls
            for shape in call.output_shapes
        ),
        default=1,
    )
    count = len(samples[0])
    images = int(np.clip(_BATCH_BYTES // (4 * max(largest, 1)), 1, _MOST_IMAGES))
    pieces = [np.array_split(array, -(-count // images)) for array in samples]
    return [list(batch) for batch in zip(*pieces, strict=True)]


def as_array(tensor: Any, channels_first: bool = False) -> Any:
    """A float32 array with channels last."""
    array = np.asarray(keras.ops.cast(tensor, "float32"))
    return np.ascontiguousarray(np.moveaxis(array, 1, -1)) if channels_first else array


def downstream(graph: Graph, tensors: set[int]) -> set[int]:
    """The given tensors and all that are computed from them."""
    reached = set(tensors)
    for call in graph.calls:
        if reached.intersection(call.inputs):
            reached.update(call.outputs)
    return reached


def upstream(graph: Graph, tensors: set[int]) -> set[int]:
    """The given tensors and all that they are computed from."""
    reached = set(tensors)
    for call in reversed(graph.calls):
        if reached.intersection(call.outputs):
            reached.update(call.inputs)
    return reached


def weighted_means(parts: Iterator[tuple[int, Any, Any]]) -> tuple[Any, Any]:
    """Mean and variance of all from (count, mean, variance) of each part."""
    counts, means, variances = (np.array(column, np.float64) for column in zip(*parts, strict=True))
    shares = (counts / counts.sum())[:, None]
    mean = (shares * means).sum(0)
    return mean, (shares * (variances + (means - mean) ** 2)).sum(0)
