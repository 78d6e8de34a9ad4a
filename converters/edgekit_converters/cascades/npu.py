"""From a model trained on an NPU's grid to one whose int8 file lies on it, and the proof."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from edgekit_converters.cascades.grid import GridKernel, levels
from edgekit_converters.cascades.library import quantizers
from edgekit_converters.cascades.rounded import Rounded, inside, prepare
from edgekit_converters.errors import ProofError
from edgekit_converters.passes import NpuQat
from edgekit_converters.proof import LayerProof

_ROUNDING = 0.01
"""How far float32 may put a code from its whole number."""
_HAIR = 4e-7
"""A few units in float32's last place."""
_ADDED = ("_reach", "_centroids", "_bits")
"""Ends of the names of variables that only training needs."""


class _PerCall(quantizers.Quantizer):  # type: ignore[misc]
    """Rounds a kernel as the usual quantizer, at each call within a range a hair apart.

    The converter makes one of equal roundings of one kernel, and then takes its scale from the
    kernel's largest weight: the codes would leave the grid.
    """

    def __init__(self, usual: Any, calls: int) -> None:
        self._usual, self._calls, self._call = usual, calls, 0

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """Nothing: all was built with the usual quantizer."""
        return {}

    def __call__(self, inputs: Any, training: Any, weights: Any, **kwargs: Any) -> Any:
        """The rounded kernel."""
        self._call = (self._call + 1) % self._calls
        apart = {name: value * (1 + self._call * _HAIR) for name, value in weights.items()}
        return self._usual(inputs, training, weights if training else apart, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Nothing: such a model is stored as its weights."""
        return {}


def prepare_settled(model: Any, step: NpuQat, caution: int) -> Rounded:
    """The model with plain int8 rounding, as it is converted once its kernels lie on the grid.

    Zeros and clusters stand in the kernels themselves, so nothing has to keep them.

    Raises:
        RewriteError: as `prepare`.
    """
    settled = prepare(model, step, (), caution)
    for wrapper in settled.rounded.layers:
        if getattr(wrapper, "_weight_vars", None) and len(wrapper.inbound_nodes) > 1:
            ((kernel, usual, ranges),) = wrapper._weight_vars
            wrapper._weight_vars = [(kernel, _PerCall(usual, len(wrapper.inbound_nodes)), ranges)]
    return settled


def settle(work: Rounded, model: Any, step: NpuQat, grid: Mapping[str, GridKernel]) -> Rounded:
    """What training on the grid led to, with plain int8 rounding and its kernels on the grid."""
    settled = prepare_settled(model, step, work.caution)
    for trained, plain in zip(work.rounded.layers, settled.rounded.layers, strict=True):
        on_grid = bool(getattr(trained, "_weight_vars", None))
        values = [
            weight for weight in trained.weights if not (on_grid and _name(weight).endswith(_ADDED))
        ]
        for weight, value in zip(plain.weights, values, strict=True):
            weight.assign(value)
    for name, (_, rounding) in inside(settled.rounded).items():
        if rounding:
            kernel, _, ranges = rounding
            values, scale = grid[name].settled()
            kernel.assign(values)
            ranges["min_var"].assign(-127 * scale)
            ranges["max_var"].assign(127 * scale)
    return settled


def prove_grid(
    settled: Rounded, grid: Mapping[str, GridKernel], proofs: tuple[LayerProof, ...]
) -> tuple[LayerProof, ...]:
    """Adds to each kernel's proof the bits asked for and the levels it has, counted on int8 codes.

    Raises:
        ProofError: a code that is not on the grid.
    """
    inner = inside(settled.rounded)
    names = [kernel.layer.name for kernel in settled.found]
    proved = []
    for name, proof in zip(names, proofs, strict=True):
        _, rounding = inner[name]
        if not rounding:
            proved.append(proof)
            continue
        kernel, _, ranges = rounding
        bits = grid[name].bits
        codes = np.asarray(kernel) * (127 / np.asarray(ranges["max_var"]))
        places = np.rint(codes / 2 ** (8 - bits))
        off = np.abs(codes - places * 2 ** (8 - bits)) > _ROUNDING
        if off.any() or np.abs(places).max() > levels(bits):
            raise ProofError(
                f"The layer {proof.layer!r} has weights that are not on the grid of {bits} bits. "
                f"Leave the layer out with where='!{proof.layer}', and please report the model."
            )
        proved.append(replace(proof, bits_asked=bits, levels=len(np.unique(places))))
    return tuple(proved)


def _name(variable: Any) -> str:
    return str(variable.name.split(":")[0])
