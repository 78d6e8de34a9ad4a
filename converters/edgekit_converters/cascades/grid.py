"""An NPU's grid of 2 to 8 bits in training, and what of it stands in an int8 file.

Weights of b bits are whole numbers from -(2^(b-1) - 1) to 2^(b-1) - 1 times a step. The step is
learned as the largest weight that the grid reaches (Esser et al. 2020, "Learned Step Size
Quantization", with the range in the step's place as in Uhlich et al. 2020, "Mixed Precision DNNs:
All you need is a good parametrization"). In the file they are int8 codes, multiples of 2^(8-b).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from edgekit_converters.cascades.kernels import KERNELS
from edgekit_converters.cascades.library import quantizers
from edgekit_converters.cascades.preserve import kept

_REACHES = np.linspace(0.2, 1.0, 33)
LEAST_BITS = 2
_LEAST_REACH = 0.05
"""Training may not shrink a grid below this share of where it began: bias would overflow."""


class GridKernel(quantizers.Quantizer):  # type: ignore[misc]
    """Rounds a kernel to `bits` bits, and keeps of it what the quantizer before it kept.

    Args:
        wrapper: TFMOT's wrapper around the layer; it gets the learned reach of the grid.
        kernel: the variable that is rounded.
        weights: what the quantizer before built, with the zeros and clusters to keep.
        bits: of a weight.
    """

    def __init__(self, wrapper: Any, kernel: Any, weights: dict[str, Any], bits: int) -> None:
        self.bits = bits
        self.learned: Callable[[], Any] | None = None
        self._weights = weights
        self._kernel = kernel
        usual = weights.get("usual", weights)
        self.per_channel = usual["min_var"].shape.rank == 1
        began = best_reach(self.values(), bits, per_channel=self.per_channel)
        self._shares = {bits: np.ones_like(began)}
        self._least = tf.constant(_LEAST_REACH * began)
        self._reach = wrapper.add_weight(
            f"{wrapper.layer.name}_reach",
            shape=began.shape,
            initializer=tf_keras.initializers.Constant(began),
            trainable=True,
        )

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """Nothing: all was built with the quantizer before."""
        return {}

    def __call__(self, inputs: Any, training: Any, weights: Any, **kwargs: Any) -> Any:
        """The kernel on its grid, or between two grids while its bits are learned."""
        kernel = kept(inputs, weights)
        if self.learned is None:
            return snap(kernel, self.reach * self._shares[self.bits], self.bits)
        bits = self.learned()
        lower = tf.clip_by_value(tf.floor(bits), LEAST_BITS, float(max(self._shares)) - 1)
        share = tf.stack([self._shares[whole] for whole in sorted(self._shares)])
        place = tf.cast(lower, tf.int32) - LEAST_BITS
        below = snap(kernel, self.reach * share[place], lower)
        above = snap(kernel, self.reach * share[place + 1], lower + 1)
        return below + (bits - lower) * (above - below)

    def learn(self, bits: Callable[[], Any]) -> None:
        """From now on the bits are what the function gives, between 2 and those so far.

        Fewer bits reach less far: by how much is set once, from the kernel as it is.
        """
        most, values = self.bits, self.values()
        reach = best_reach(values, most, per_channel=self.per_channel)
        for fewer in range(LEAST_BITS, most):
            best = best_reach(values, fewer, per_channel=self.per_channel)
            self._shares[fewer] = best / reach
        self.learned = bits

    def get_config(self) -> dict[str, Any]:
        """Nothing: such a model is stored as its weights."""
        return {}

    @property
    def reach(self) -> Any:
        """The largest weight on the grid, per output channel where the file has such scales."""
        return tf.maximum(self._reach, self._least)

    def values(self) -> Any:
        """The kernel before rounding, with what is kept of it."""
        return np.asarray(kept(self._kernel, self._weights))

    def settled(self) -> tuple[Any, Any]:
        """The kernel on its grid, and the scale of its int8 codes."""
        step = np.asarray(self.reach) * self._shares[self.bits] / np.float32(levels(self.bits))
        codes = np.rint(np.clip(self.values() / step, -levels(self.bits), levels(self.bits)))
        return codes * step, step / np.float32(2 ** (8 - self.bits))


class GridActivation(quantizers.Quantizer):  # type: ignore[misc]
    """Rounds as the usual quantizer, then to `bits` bits as the NPU rounds an operand."""

    def __init__(self, usual: Any, weights: Any, bits: int) -> None:
        self._usual, self._weights, self._bits = usual, weights, bits

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """Nothing: all was built with the usual quantizer."""
        return {}

    def __call__(self, inputs: Any, training: Any, weights: Any, **kwargs: Any) -> Any:
        """The tensor as its readers multiply it."""
        rounded = self._usual(inputs, training, weights, **kwargs)
        # An activation function's input has ranges of its own, and stays within the operator.
        if weights is not self._weights:
            return rounded
        coarse = operand(rounded, weights["min_var"], weights["max_var"], self._bits)
        return rounded + tf.stop_gradient(coarse - rounded)

    def get_config(self) -> dict[str, Any]:
        """Nothing: such a model is stored as its weights."""
        return {}


def levels(bits: int) -> int:
    """The largest whole number on a symmetric grid of that many bits."""
    return int(2 ** (bits - 1)) - 1


def snap(kernel: Any, reach: Any, bits: Any) -> Any:
    """The nearest point of the grid; gradients pass straight through the rounding.

    `bits` may be a float tensor of whole numbers; `reach` is per channel (last axis) or one for
    all.
    """
    most = 2.0 ** (tf.cast(bits, tf.float32) - 1.0) - 1.0
    step = reach / most
    place = tf.clip_by_value(kernel / step, -most, most)
    return (place + tf.stop_gradient(tf.round(place) - place)) * step


def operand(values: Any, smallest: Any, largest: Any, bits: int) -> Any:
    """What the NPU multiplies in the place of int8 activations within a range.

    The code q becomes clamp((q + 2^(7-b)) >> (8-b), -2^(b-1), 2^(b-1)-1) << (8-b), and so does the
    zero point, which keeps zero exact.
    """
    scale = (largest - smallest) / 255.0
    zero = tf.round(tf.clip_by_value(tf.math.divide_no_nan(-smallest, scale), 0.0, 255.0)) - 128.0
    code = tf.round(tf.math.divide_no_nan(values, scale)) + zero
    return (_coarse(code, bits) - _coarse(zero, bits)) * scale


def _coarse(code: Any, bits: int) -> Any:
    size, half = 2.0 ** (8 - bits), 2.0 ** (7 - bits)
    most = 2.0 ** (bits - 1)
    return tf.clip_by_value(tf.floor((code + half) / size), -most, most - 1.0) * size


def best_reach(kernel: Any, bits: int, *, per_channel: bool) -> Any:
    """The reach whose grid is nearest to the kernel in the least squares sense, float32.

    A channel of zeros gets the others' largest: its scale must not overflow the bias.
    """
    values = kernel.reshape(-1, kernel.shape[-1]) if per_channel else kernel.reshape(-1, 1)
    largest = np.abs(values).max(axis=0)
    overall = largest.max() or 1.0
    largest = np.where(largest < 1e-6 * overall, overall, largest)
    most = levels(bits)
    least = np.full(largest.shape, np.inf)
    best = largest
    for share in _REACHES:
        step = share * largest / most
        error = (values - np.clip(np.rint(values / step), -most, most) * step) ** 2
        total = error.sum(axis=0, dtype=np.float64)
        best = np.where(total < least, share * largest, best)
        least = np.minimum(total, least)
    return (best if per_channel else best[0]).astype(np.float32)


def put_on_grid(rounded: Any, weight_bits: int, activation_bits: int) -> dict[str, GridKernel]:
    """Gives a rounded model the NPU's grid in the place of int8; its quantizers by layer name.

    Weights of every rounded kernel, and every activation that such a kernel reads.
    """
    found = {}
    for wrapper in rounded.layers:
        if getattr(wrapper, "_weight_vars", None):
            ((kernel, _, weights),) = wrapper._weight_vars
            quantizer = GridKernel(wrapper, kernel, weights, weight_bits)
            wrapper._weight_vars = [(kernel, quantizer, weights)]
            found[wrapper.layer.name] = quantizer
        if activation_bits < 8 and any(_kernels_behind(wrapper)):
            _coarsen(wrapper, activation_bits)
    return found


def _coarsen(wrapper: Any, bits: int) -> None:
    """Rounds a layer's output to so many bits, if it is rounded at all."""
    if getattr(wrapper, "_output_quantizers", None):
        usual, weights = wrapper._output_quantizers[0], wrapper._output_quantizer_vars
        wrapper._output_quantizers = [GridActivation(usual, weights, bits)]
    elif hasattr(wrapper, "quantizer_vars"):
        wrapper.quantizer = GridActivation(wrapper.quantizer, wrapper.quantizer_vars, bits)
    for activation in getattr(wrapper, "_quantize_activations", ()):
        weights = getattr(activation, "_post_activation_vars", None)
        if weights:
            activation.quantizer = GridActivation(activation.quantizer, weights, bits)


def _kernels_behind(layer: Any) -> Iterator[Any]:
    """The layers with a kernel that read a layer's output, past those that only hand it on."""
    for node in layer.outbound_nodes:
        reader = node.outbound_layer
        inner = getattr(reader, "layer", reader)
        if type(inner).__name__ in KERNELS:
            yield reader
        elif hasattr(reader, "quantize_config") and not (
            reader._output_quantizers or reader._quantize_activations
        ):
            yield from _kernels_behind(reader)
