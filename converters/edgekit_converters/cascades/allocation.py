"""How a sparsity asked of all kernels together is shared out: where zeros save the most energy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgekit_converters.cascades.kernels import Kernel, products
from edgekit_converters.energy import EnergyCosts, EnergyEstimate
from edgekit_converters.passes import Prune

_BITS = 8
"""Of weights and activations, for the estimate: the passes behind may choose fewer."""
_SPREAD = 0.25
"""No kernel gets fewer zeros than this share of the sparsity, nor keeps less of its weights."""


def allocate(taken: Sequence[Kernel], step: Prune, costs: EnergyCosts) -> dict[str, float]:
    """The sparsity of each kernel by its layer's name.

    Evenly, all have the one asked for. By energy, the weights to go are those that lose the least
    of their kernel's squared sum per joule saved, all kernels in one order: as in energy-aware
    pruning (Yang, Chen, Sze 2017, "Designing Energy-Efficient Convolutional Neural Networks using
    Energy-Aware Pruning"), which orders the layers so. A zero saves its products and its fetch.

    Raises:
        RewriteError: a layer's size is open, so that its products cannot be counted.
    """
    if step.allocation == "uniform":
        return {kernel.layer.name: step.sparsity for kernel in taken}
    scores, owners = [], []
    for place, kernel in enumerate(taken):
        squares = np.sort(np.square(kernel.values.ravel(), dtype=np.float64))
        saved = _energy(kernel, costs) / squares.size
        score = squares / (squares.sum() or 1.0) / saved
        least = int(np.ceil(_SPREAD * step.sparsity * squares.size))
        most = int(np.floor((1 - _SPREAD * (1 - step.sparsity)) * squares.size))
        score[:least], score[most:] = -1.0, np.inf
        scores.append(score)
        owners.append(np.full(squares.size, place))
    ranked = np.concatenate(owners)[np.argsort(np.concatenate(scores), kind="stable")]
    zeros = np.bincount(ranked[: round(step.sparsity * ranked.size)], minlength=len(taken))
    return {
        kernel.layer.name: float(count / kernel.values.size)
        for kernel, count in zip(taken, zeros, strict=True)
    }


def estimate(
    taken: Sequence[Kernel], shares: Mapping[str, float], costs: EnergyCosts
) -> EnergyEstimate:
    """The kernels' energy before and after, on an NPU that skips zeros, at 8 bits."""
    before = [_energy(kernel, costs) for kernel in taken]
    left = [1 - shares[kernel.layer.name] for kernel in taken]
    return EnergyEstimate(sum(before), float(np.dot(before, left)))


def _energy(kernel: Kernel, costs: EnergyCosts) -> float:
    return costs.layer_j(products(kernel), kernel.values.size, _BITS, _BITS)
