"""Bits per layer learned from the task's loss and the energy that they cost.

Bits are fractional while they are learned: a kernel is the mean of its roundings to the whole bits
below and above, weighted by the fraction (Yang and Jin 2021, "FracBits: Mixed Precision
Quantization via Fractional Bit-Widths"). Half-way they are rounded and stay, and the weights train
on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from edgekit_converters.cascades.grid import LEAST_BITS, GridKernel
from edgekit_converters.cascades.kernels import Kernel, products
from edgekit_converters.energy import EnergyCosts, EnergyEstimate
from edgekit_converters.passes import NpuQat

_FASTEST = 0.5
"""Bits that one step of training may take at most."""


@dataclass(frozen=True)
class LearnedBits:
    """Bits of the layers of a grid while they are learned, and what training needs for it."""

    names: tuple[str, ...]
    energies: tuple[float, ...]
    variable: Any
    fixed: Any
    most: int
    optimizer: Any
    callback: Any
    settling_epochs: int

    def settle(self, grid: Mapping[str, GridKernel]) -> None:
        """Gives each layer the whole bits that were learned."""
        for name, bits in zip(self.names, self._whole(), strict=True):
            grid[name].bits = bits
            grid[name].learned = None

    @property
    def estimate(self) -> EnergyEstimate:
        """The energy of these layers at the most bits and at those learned."""
        shares = np.array(self._whole()) / self.most
        return EnergyEstimate(sum(self.energies), float(np.dot(self.energies, shares)))

    def _whole(self) -> list[int]:
        return [int(bits) for bits in np.rint(_within(self.variable, self.most))]


def learn_bits(
    rounded: Any,
    grid: Mapping[str, GridKernel],
    found: tuple[Kernel, ...],
    step: NpuQat,
    costs: EnergyCosts,
    *,
    epochs: int,
    batches: int,
    learning_rate: float,
) -> LearnedBits:
    """Makes the bits of a grid's layers variables of the model, and their energy part of its loss.

    The loss is task + w / (1 - w) * energy / energy at the most bits, w being `energy_aware`: its
    minimum is that of (1 - w) * task + w * energy.

    Raises:
        RewriteError: a layer's size is open, so that its products cannot be counted.
    """
    kernels = [kernel for kernel in found if kernel.layer.name in grid]
    names = tuple(kernel.layer.name for kernel in kernels)
    most = step.weight_bits
    energies = tuple(
        costs.layer_j(products(kernel), kernel.values.size, most, step.activation_bits)
        for kernel in kernels
    )
    holder = next(wrapper for wrapper in rounded.layers if getattr(wrapper, "_weight_vars", None))
    variable = holder.add_weight(
        "edgekit_bits",
        shape=(len(names),),
        initializer=tf_keras.initializers.Constant(float(most)),
        trainable=True,
    )
    fixed = tf.Variable(0.0, trainable=False)
    for place, name in enumerate(names):
        grid[name].learn(_reader(variable, fixed, place))
    shares = tf.constant(np.array(energies) / sum(energies) / most, tf.float32)
    weight = step.energy_aware / (1 - step.energy_aware)
    rounded.add_loss(lambda: weight * tf.reduce_sum(shares * _read(variable, fixed)))
    search = max(epochs // 2, 1)
    pace = min(2 * (most - LEAST_BITS) / (search * batches), _FASTEST)
    return LearnedBits(
        names, energies, variable, fixed, most,
        optimizer=_BitsAdam(learning_rate, variable, fixed, most, pace),
        callback=_Fix(variable, fixed, most, search),
        settling_epochs=min(search, epochs - 1),
    )  # fmt: skip


def _within(bits: Any, most: int) -> Any:
    return np.clip(np.asarray(bits), LEAST_BITS, most)


def _read(variable: Any, fixed: Any) -> Any:
    """The bits as they count now."""
    return variable + fixed * tf.stop_gradient(tf.round(variable) - variable)


def _reader(variable: Any, fixed: Any, place: int) -> Any:
    return lambda: _read(variable, fixed)[place]


class _BitsAdam(tf_keras.optimizers.Adam):  # type: ignore[misc]
    """Adam, with one second moment for the bits of all layers.

    Adam's own, one for each, would let a layer of little energy lose bits as fast as one of much.
    """

    def __init__(self, learning_rate: float, bits: Any, fixed: Any, most: int, pace: float) -> None:
        super().__init__(learning_rate)
        self._bits, self._fixed, self._most, self._pace = bits, fixed, most, pace
        self._mean = tf.Variable(tf.zeros_like(bits), trainable=False)
        self._square = tf.Variable(0.0, trainable=False)

    def update_step(self, gradient: Any, variable: Any) -> None:
        """One step; where the bits are fixed they stay."""
        if variable.ref() != self._bits.ref():
            super().update_step(gradient, variable)
            return
        steps = tf.cast(self.iterations + 1, tf.float32)
        largest = tf.reduce_max(gradient**2)
        self._mean.assign(self.beta_1 * self._mean + (1 - self.beta_1) * gradient)
        self._square.assign(self.beta_2 * self._square + (1 - self.beta_2) * largest)
        mean = self._mean / (1 - self.beta_1**steps)
        size = tf.sqrt(self._square / (1 - self.beta_2**steps)) + self.epsilon
        moved = variable - (1 - self._fixed) * self._pace * mean / size
        variable.assign(tf.clip_by_value(moved, float(LEAST_BITS), float(self._most)))


class _Fix(tf_keras.callbacks.Callback):  # type: ignore[misc]
    """Rounds the bits after the epochs in which they are learned."""

    def __init__(self, variable: Any, fixed: Any, most: int, search: int) -> None:
        super().__init__()
        self._variable, self._fixed, self._most, self._search = variable, fixed, most, search

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Fixes the bits once the search is over."""
        if epoch == self._search:
            self._variable.assign(np.rint(_within(self._variable, self._most)))
            self._fixed.assign(1.0)
