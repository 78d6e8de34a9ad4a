"""The NEPU's arithmetic from its definition, in numpy: every product of every sum, one by one.

Nothing here is taken from the delegate but the products of approximate multipliers, which are
handed in as a table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tflite_file as tf
from tflite_file import ModelFile

from edgekit_device.arithmetic import Arithmetic

_MASK = (1 << 64) - 1


@dataclass
class Result:
    output: np.ndarray
    macs: int
    skipped_macs: int
    saturations: int


def on_grid(codes: np.ndarray, bits: int) -> np.ndarray:
    """Round half up to multiples of 2^(8 - bits), within the range of `bits` bits."""
    step = 2 ** (8 - bits)
    return np.clip(np.floor(codes / step + 0.5), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1) * step


def conv_family(
    model: ModelFile, x: np.ndarray, arithmetic: Arithmetic, table: np.ndarray, in_double: bool
) -> Result:
    """Run the model's only node, of the convolution family, on int8 codes [N, H, W, C]."""
    code, indices, (out_index,), options = model.nodes[0]
    if code == tf.TRANSPOSE_CONV:
        _, w_index, x_index, *bias_index = indices
    else:
        x_index, w_index, *bias_index = indices
    x_spec, w_spec, out_spec = (model.tensors[i] for i in (x_index, w_index, out_index))
    weights = on_grid(w_spec.data.astype(np.int64), arithmetic.weight_bits).astype(np.int64)
    zero = int(on_grid(np.array(x_spec.zero), arithmetic.activation_bits))
    codes = on_grid(x.astype(np.int64), arithmetic.activation_bits).astype(np.int64)
    if code == tf.FULLY_CONNECTED:
        codes = codes.reshape(-1, 1, 1, weights.shape[1])
        weights = weights[:, None, None, :]
    filters = weights.shape[3] if code == tf.DEPTHWISE_CONV_2D else weights.shape[0]
    present = [i for i in bias_index if i >= 0]
    bias = model.tensors[present[0]].data if present else np.zeros(filters, np.int32)
    taps = _taps(code, options, codes.shape, weights.shape, out_spec.shape)
    sums = _Sums(arithmetic, table, zero, (len(codes), *taps.size, filters))
    sums.count(codes, weights, taps, code == tf.DEPTHWISE_CONV_2D)
    sums.start(bias.astype(np.int64))
    sums.add(codes, weights, taps, code == tf.DEPTHWISE_CONV_2D)
    scales = np.broadcast_to(np.float32(w_spec.scales), (filters,))
    activation = (
        0 if code == tf.TRANSPOSE_CONV and "activation" not in options else options["activation"]
    )
    per_tensor_dense = code == tf.FULLY_CONNECTED and len(w_spec.scales) == 1 and not in_double
    output = _rescaled(
        sums.values,
        x_spec,
        scales,
        out_spec,
        activation,
        code == tf.FULLY_CONNECTED and in_double,
        per_tensor_dense,
    )
    shape = output.shape if code != tf.FULLY_CONNECTED else out_spec.shape
    return Result(output.reshape(shape), sums.macs, sums.skipped, sums.saturations)


@dataclass
class _Taps:
    """For each tap (kernel row, column): the input row and column of each output, -1: outside.

    None stands for a tap that an output does not have at all (transposed convolutions).
    """

    size: tuple[int, int]
    rows: list[list[int | None]]
    columns: list[list[int | None]]


def _taps(code: int, options: Any, x: Any, w: Any, out: Any) -> _Taps:
    if code == tf.FULLY_CONNECTED:
        return _Taps((1, 1), [[0]], [[0]])
    both = []
    for i, side in enumerate("hw"):
        size, kernel, stride = x[1 + i], w[1 + i], options[f"stride_{side}"]
        outer = out[1 + i]
        dilation = options.get(f"dilation_{side}", 1)
        inner, span = (size, outer) if code != tf.TRANSPOSE_CONV else (outer, -(-outer // stride))
        reach = (kernel - 1) * dilation + 1
        if options["padding"] == 1 and code == tf.TRANSPOSE_CONV:
            span = (outer - reach) // stride + 1
        before = max(0, (span - 1) * stride + reach - inner) // 2
        lines: list[list[int | None]] = []
        for k in range(kernel):
            line: list[int | None] = []
            for o in range(outer):
                if code == tf.TRANSPOSE_CONV:
                    at, rest = divmod(o + before - k, stride)
                    line.append(None if rest else at if 0 <= at < size else -1)
                else:
                    at = o * stride - before + k * dilation
                    line.append(at if 0 <= at < size else -1)
            lines.append(line)
        both.append(lines)
    return _Taps((out[1], out[2]), both[0], both[1])


class _Sums:
    def __init__(self, arithmetic: Arithmetic, table: np.ndarray, zero: int, shape: Any) -> None:
        self.arithmetic, self.table, self.zero = arithmetic, table, zero
        self.values = np.zeros(shape, np.int64)
        self.active = np.zeros(shape, np.int64)
        self.macs = self.skipped = self.saturations = 0
        self.most = 2 ** (arithmetic.accumulator_bits - 1) - 1

    def products(self, codes: Any, weights: Any, taps: _Taps, depthwise: bool) -> Any:
        """Yield the operands of one product of every sum at a time, in the device's order."""
        n, height, width, _ = self.values.shape
        channels = 1 if depthwise else codes.shape[3]
        for rows, ky in zip(taps.rows, range(weights.shape[1]), strict=True):
            for columns, kx in zip(taps.columns, range(weights.shape[2]), strict=True):
                has = np.array([[r is not None and c is not None for c in columns] for r in rows])
                inside = has & np.array(
                    [[(r or 0) >= 0 and (c or 0) >= 0 for c in columns] for r in rows]
                )
                at_y = np.array([r if r is not None and r >= 0 else 0 for r in rows])
                at_x = np.array([c if c is not None and c >= 0 else 0 for c in columns])
                seen = codes[:, at_y][:, :, at_x]
                seen = np.where(inside[None, :, :, None], seen, self.zero)
                for channel in range(channels):
                    if depthwise:
                        repeats = weights.shape[3] // codes.shape[3]
                        a, w = np.repeat(seen, repeats, axis=3), weights[0, ky, kx, :]
                    else:
                        a, w = seen[..., channel : channel + 1], weights[:, ky, kx, channel]
                    shape = (n, height, width, self.values.shape[3])
                    yield (
                        np.broadcast_to(a, shape),
                        np.broadcast_to(w, shape),
                        np.broadcast_to(has[None, :, :, None], shape),
                        np.broadcast_to(inside[None, :, :, None], shape),
                    )

    def is_skipped(self, a: Any, w: Any) -> Any:
        zero_weight = self.arithmetic.skip_zero_weights & (w == 0)
        return zero_weight | (self.arithmetic.skip_zero_activations & (a == self.zero))

    def count(self, codes: Any, weights: Any, taps: _Taps, depthwise: bool) -> None:
        for a, w, _, inside in self.products(codes, weights, taps, depthwise):
            skipped = self.is_skipped(a, w)
            self.macs += int(inside.sum())
            self.skipped += int((inside & skipped).sum())
            self.active += inside & ~skipped

    def start(self, bias: Any) -> None:
        self.values += bias
        deviation = self.arithmetic.noise * 2**14
        if deviation:
            flat, active = self.values.reshape(-1), self.active.reshape(-1)
            for element in range(flat.size):
                draw = normal(self.arithmetic.seed, 0, 0, element)
                flat[element] += round(deviation * np.sqrt(active[element]) * draw)
        self.values = self.kept(self.values)

    def kept(self, sums: Any) -> Any:
        if self.arithmetic.accumulator_overflow == "saturate":
            return np.clip(sums, -self.most - 1, self.most)
        return (sums + self.most + 1) % (2 * self.most + 2) - self.most - 1

    def add(self, codes: Any, weights: Any, taps: _Taps, depthwise: bool) -> None:
        for a, w, has, _ in self.products(codes, weights, taps, depthwise):
            product = self.table[a.astype(np.uint8), w.astype(np.uint8)] - self.zero * w
            product = np.where(has & ~self.is_skipped(a, w), product, 0)
            sums = self.values + product
            self.values = self.kept(sums)
            self.saturations += int((sums != self.values).sum())


def _mix(x: int) -> int:
    x = (x + 0x9E3779B97F4A7C15) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


def normal(seed: int, node: int, run: int, element: int) -> float:
    """SplitMix64 over the arguments, then Box and Muller."""
    base = _mix(_mix(_mix(_mix(seed) ^ node) ^ run) ^ element)
    u = ((_mix(base) >> 11) + 1) * 2.0**-53
    v = (_mix(base ^ 0x5851F42D4C957F2D) >> 11) * 2.0**-53
    return float(np.sqrt(-2 * np.log(u)) * np.cos(2 * np.pi * v))


def _rescaled(
    sums: Any, x: Any, scales: Any, out: Any, activation: int, in_double: bool, dense: bool
) -> np.ndarray:
    x_scale, out_scale = np.float32(x.scales[0]), np.float32(out.scales[0])
    codes = np.empty_like(sums)
    for f, scale in enumerate(scales):
        real = float(x_scale) * float(scale) / float(out_scale)
        if dense:
            real = float(x_scale * np.float32(scale)) / float(out_scale)
        column = sums[..., f]
        if in_double:
            codes[..., f] = np.trunc(column * real + np.copysign(0.5, column * real))
        else:
            codes[..., f] = _fixed_point(column, real)
    low, high = -128, 127
    steps = {1: (0, None), 2: (-1, 1), 3: (0, 6)}.get(activation, (None, None))
    if steps[0] is not None:
        low = max(low, out.zero + int(np.round(np.float32(steps[0]) / out_scale)))
    if steps[1] is not None:
        high = min(high, out.zero + int(np.round(np.float32(steps[1]) / out_scale)))
    return np.clip(codes + out.zero, low, high).astype(np.int8)


def _fixed_point(sums: Any, real: float) -> Any:
    mantissa, exponent = np.frexp(real)
    multiplier = int(np.floor(mantissa * 2.0**31 + 0.5))
    left, right = max(int(exponent), 0), max(-int(exponent), 0)
    high = [(int(s) * 2**left * multiplier + 2**30) >> 31 for s in sums.reshape(-1)]
    # Half away from zero.
    scaled = [(abs(h) + (2**right >> 1)) // 2**right * (1 if h >= 0 else -1) for h in high]
    return np.array(scaled, np.int64).reshape(sums.shape)
