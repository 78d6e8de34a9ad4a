"""What a pass achieved, counted on the weights themselves. Needs no TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class LayerProof:
    """Zeros and distinct values of one kernel, asked and got; None where nothing was asked.

    `distinct` counts over the whole kernel, `distinct_per_channel` is the most that one output
    channel has. `distinct_asked` bounds the former, or the latter where `per_channel`. `bits_asked`
    is the grid that the int8 codes are to lie on (all multiples of 2^(8 - bits)), `levels` how many
    of its `levels_asked` points they take.
    """

    layer: str
    weights: int
    sparsity: float
    distinct: int
    distinct_per_channel: int
    sparsity_asked: float | None = None
    distinct_asked: int | None = None
    per_channel: bool = False
    bits_asked: int | None = None
    levels: int | None = None

    @property
    def levels_asked(self) -> int | None:
        """How many points a symmetric grid of the bits has."""
        return None if self.bits_asked is None else int(2**self.bits_asked) - 1

    @property
    def asks(self) -> bool:
        """Whether anything was asked of the kernel."""
        asked = (self.sparsity_asked, self.distinct_asked, self.bits_asked)
        return any(value is not None for value in asked)


@dataclass(frozen=True)
class WeightTensor:
    """Zeros and distinct values of one constant tensor of a .tflite file.

    `layer` is the Keras layer's path, empty where the file does not say it. `bits` are the fewest
    on whose grid all int8 codes lie: where all are multiples of 16 it is 4.
    """

    layer: str
    tensor: str
    dtype: str
    weights: int
    sparsity: float
    distinct: int
    distinct_per_channel: int
    bits: int | None = None


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


def count_bits(codes: Any) -> int:
    """The fewest bits on whose grid int8 codes lie: 8 less the zeros that all of them end in."""
    import numpy as np  # As above.

    joined = int(np.bitwise_or.reduce(np.asarray(codes, np.int8).view(np.uint8), axis=None))
    ending = (joined & -joined).bit_length() - 1 if joined else 7
    return 8 - ending
