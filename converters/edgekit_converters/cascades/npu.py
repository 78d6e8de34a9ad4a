"""From a model trained on an NPU's grid to one whose int8 file lies on it, and the proof."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from edgekit_converters.cascades.grid import GridKernel, levels
from edgekit_converters.cascades.rounded import Rounded, inside, prepare
from edgekit_converters.errors import ProofError
from edgekit_converters.passes import NpuQat
from edgekit_converters.proof import LayerProof

_ROUNDING = 0.01
"""How far float32 may put a code from its whole number."""
_ADDED = ("_reach", "_centroids", "_bits")
"""Ends of the names of variables that only training needs."""


def settle(work: Rounded, model: Any, step: NpuQat, grid: Mapping[str, GridKernel]) -> Rounded:
    """The model with plain int8 rounding, as it is converted: its kernels lie on the grid.

    Zeros and clusters stand in the kernels themselves, so nothing keeps them any more.
    """
    settled = prepare(model, step, (), work.caution)
    for trained, plain in zip(work.rounded.layers, settled.rounded.layers, strict=True):
        values = [weight for weight in trained.weights if not _name(weight).endswith(_ADDED)]
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
