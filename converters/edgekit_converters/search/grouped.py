"""Group convolutions that train fast on a CPU.

TensorFlow hands the gradient of a group convolution to XLA, which takes ten times and more as long
as a convolution without groups, and minutes to compile. With the same weights in a dense kernel
that is 0 between groups it takes no longer than that one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from edgekit_converters.graph import read_graph
from edgekit_converters.rewriting import rewrite


class BlockConv2D(keras.layers.Conv2D):  # type: ignore[misc]
    """A Conv2D with groups, of the same weights and outputs, that computes with zeros."""

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """The convolution with the kernel (rows, columns, M / groups, N) spread out to M x N."""
        within, filters = kernel.shape[-2:]
        group_in = np.repeat(np.arange(self.groups), within)
        group_out = np.repeat(np.arange(self.groups), filters // self.groups)
        inside = keras.ops.cast(group_in[:, None] == group_out[None, :], kernel.dtype)
        return keras.ops.conv(
            inputs,
            keras.ops.tile(kernel, (1, 1, self.groups, 1)) * inside,
            strides=self.strides,
            padding=self.padding,
            data_format=self.data_format,
            dilation_rate=self.dilation_rate,
        )


def plain(model: Any) -> Any:
    """The model with Keras' own Conv2D in the place of every BlockConv2D; weights are copied."""
    blocks = {
        call.path: _plain for call in read_graph(model).calls if isinstance(call.layer, BlockConv2D)
    }
    return rewrite(model, blocks) if blocks else model


def _plain(layer: Any) -> Callable[[Any], Any]:
    made = keras.layers.Conv2D.from_config(layer.get_config())

    def apply(tensor: Any) -> Any:
        result = made(tensor)
        made.set_weights(layer.get_weights())
        return result

    return apply
