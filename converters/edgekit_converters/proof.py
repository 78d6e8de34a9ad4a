"""What a pass achieved, counted on the weights themselves. Needs no TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class LayerProof:
    """Zeros and distinct values of one kernel, asked and got; None where nothing was asked.

    `distinct` counts over the whole kernel, `distinct_per_channel` is the most that one output
    channel has. `distinct_asked` bounds the former, or the latter where `per_channel`.
    """

    layer: str
    weights: int
    sparsity: float
    distinct: int
    distinct_per_channel: int
    sparsity_asked: float | None = None
    distinct_asked: int | None = None
    per_channel: bool = False


@dataclass(frozen=True)
class WeightTensor:
    """Zeros and distinct values of one constant tensor of a .tflite file.

    `layer` is the Keras layer's path, empty where the file does not say it.
    """

    layer: str
    tensor: str
    dtype: str
    weights: int
    sparsity: float
    distinct: int
    distinct_per_channel: int


@dataclass(frozen=True)
class FloatOperator:
    """An operator of an int8 file that computes in float, and why."""

    operator: str
    tensor: str
    reason: str


@dataclass(frozen=True)
class FileProof:
    """What stands in a .tflite file: its operators by arithmetic, and its weights.

    Operators that only convert the file's inputs and outputs, or handle shapes, are not counted.
    `not_found` are layers of which something was asked and whose kernel the file does not name.
    """

    operators: int
    integer_operators: int
    floats: tuple[FloatOperator, ...]
    weights: tuple[WeightTensor, ...]
    not_found: tuple[str, ...] = ()


def count_values(kernel: Any, channel_axis: int = -1) -> tuple[float, int, int]:
    """Share of zeros, distinct values, and the most distinct values of one output channel."""
    import numpy as np  # Reports read these values and count nothing.

    values = np.asarray(kernel)
    channels = np.moveaxis(values, channel_axis, 0).reshape(values.shape[channel_axis], -1)
    most = max((len(np.unique(channel)) for channel in channels), default=0)
    sparsity = float((values == 0).mean()) if values.size else 0.0
    return sparsity, len(np.unique(values)), most
