"""Moments of what a convolution sees and gives, batch by batch: no activation is kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from edgekit_converters.lcrm.rewrite import crop_to_centres
from edgekit_converters.lcrm.separable import Moments

_CHUNK_BYTES = 2**27
_ROWS_PER_INPUT = 64
_FEWEST_ROWS = 2**15


def gather(
    batches: Iterable[tuple[Any, Any]],
    conv: Any,
    shape: Any,
    images: int,
    *,
    windows: bool,
    centres: bool,
) -> tuple[Moments | None, Moments | None]:
    """Moments of the windows (taps x channels) and of their centres alone (channels), where asked.

    Args:
        batches: inputs (batch, height, width, channels) and outputs of the convolution, as arrays.
        conv: the Conv2D layer whose kernel size, strides, padding and dilation count.
        shape: that of its input in the graph, where sizes may be open: what crops go by.
        images: how many there are in all. Where they have far more positions than the fit has
            unknowns, whole rows of each image's output are drawn, others from batch to batch.
        windows, centres: which of the two to gather.
    """
    generator = np.random.default_rng(0)
    wide, narrow = _Sums(), _Sums()
    for x, y in batches:
        inputs = int(np.prod(conv.kernel_size)) * x.shape[-1]
        wanted = max(_ROWS_PER_INPUT * inputs, _FEWEST_ROWS)
        count = min(-(-wanted // (images * y.shape[2])), y.shape[1])
        rows = np.sort(generator.permutation(y.shape[1])[:count])
        # All of a chunk's windows are in memory at a time.
        step = max(_CHUNK_BYTES // (4 * inputs * count * y.shape[2]), 1)
        for start in range(0, len(x), step):
            part = x[start : start + step]
            target = y[start : start + step, rows].reshape(-1, y.shape[-1])
            if windows:
                wide.add(window_rows(part, conv, rows, y.shape[2]), target)
            if centres:
                narrow.add(centre_rows(part, conv, shape, rows), target)
    return wide.moments() if windows else None, narrow.moments() if centres else None


def window_rows(x: Any, conv: Any, rows: Any, columns: int) -> Any:
    """The windows of some output rows, (positions, taps x channels), taps in the kernel's order."""
    strides, dilation = conv.strides, conv.dilation_rate
    if conv.padding == "same":
        x = np.pad(x, ((0, 0), *(_same(conv, x.shape, axis) for axis in range(2)), (0, 0)))
    taps = []
    for down in range(conv.kernel_size[0]):
        band = x[:, rows * strides[0] + down * dilation[0]]
        for right in range(conv.kernel_size[1]):
            first = right * dilation[1]
            last = first + (columns - 1) * strides[1] + 1
            taps.append(band[:, :, first : last : strides[1]])
    return np.stack(taps, axis=3).reshape(-1, len(taps) * x.shape[-1])


def centre_rows(x: Any, conv: Any, shape: Any, rows: Any) -> Any:
    """What a pointwise substitute sees at some output rows, (positions, channels)."""
    (top, bottom), (left, right) = crop_to_centres(conv, shape)
    cropped = x[:, top : x.shape[1] - bottom, left : x.shape[2] - right]
    strided = cropped[:, :: conv.strides[0], :: conv.strides[1]]
    return strided[:, rows].reshape(-1, x.shape[-1])


def _same(conv: Any, shape: Any, axis: int) -> tuple[int, int]:
    """TensorFlow's "same" padding along rows (axis 0) or columns (1): before and behind."""
    size, stride = shape[1 + axis], conv.strides[axis]
    reach = (conv.kernel_size[axis] - 1) * conv.dilation_rate[axis]
    padding = max((-(-size // stride) - 1) * stride + reach + 1 - size, 0)
    return padding // 2, padding - padding // 2


class _Sums:
    """Running sums in float64, about the first chunk's means: products of float32 stay exact."""

    def __init__(self) -> None:
        self.rows = 0

    def add(self, x: Any, y: Any) -> None:
        if not self.rows:
            self.origin = x.mean(0), y.mean(0)
            self.x, self.y, self.yy = np.zeros(x.shape[1]), np.zeros(y.shape[1]), 0.0
            self.xx = np.zeros((x.shape[1], x.shape[1]))
            self.xy = np.zeros((x.shape[1], y.shape[1]))
        x, y = x - self.origin[0], y - self.origin[1]
        self.rows += len(x)
        self.x += x.sum(0, dtype=np.float64)
        self.y += y.sum(0, dtype=np.float64)
        self.yy = self.yy + (y * y).sum(0, dtype=np.float64)
        self.xx += x.T @ x
        self.xy += x.T @ y

    def moments(self) -> Moments:
        n = self.rows
        x, y = self.x / n, self.y / n
        self.xx /= n
        self.xx -= np.outer(x, x)
        return Moments(
            n, self.origin[0] + x, self.origin[1] + y,
            self.xx, self.xy / n - np.outer(x, y), np.maximum(self.yy / n - y * y, 0),
        )  # fmt: skip
