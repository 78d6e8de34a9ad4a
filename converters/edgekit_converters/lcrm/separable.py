"""The depthwise-separable layers that come nearest to a convolution, from moments of its data.

A depthwise kernel D with multiplier r and a pointwise kernel P behind it, with nothing between
them, compute P^T A^T x of the window x of k x k taps and M channels, where A is block-structured:
tap (j, m) feeds channel (m, q) with D[j, m, q]. The expected squared error against outputs y,

    E |y - P^T A^T x|^2 = tr E[y y^T] - 2 tr(P^T A^T R) + tr(P^T A^T C A P),

needs only C = E[x x^T] and R = E[x y^T], and is quadratic in D and in P alone: alternating least
squares lowers it in closed form. The start is the singular value decomposition of every input
channel's slice of the kernel (Guo et al., "Network Decoupling", BMVC 2018, arXiv 1808.05517).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

ROUNDS = 8
RIDGE = 1e-4


@dataclass(frozen=True)
class Moments:
    """First and second central moments of windows x (taps x channels) and outputs y.

    `xx` (inputs, inputs) and `xy` (inputs, outputs) are covariances, `yy` (outputs,) variances.
    """

    rows: int
    mean_x: Any
    mean_y: Any
    xx: Any
    xy: Any
    yy: Any

    def about_zero(self) -> Moments:
        """The same about zero: what layers without an offset have to do with."""
        x, y = self.mean_x, self.mean_y
        return Moments(
            self.rows, np.zeros_like(x), np.zeros_like(y),
            self.xx + np.outer(x, x), self.xy + np.outer(x, y), self.yy + y * y,
        )  # fmt: skip


@dataclass(frozen=True)
class Separable:
    """Kernels of both layers: (taps, channels, multiplier) and (channels x multiplier, outputs)."""

    depthwise: Any
    pointwise: Any

    @property
    def kernel(self) -> Any:
        """The one kernel (taps x channels, outputs) that computes the same."""
        taps, channels, multiplier = self.depthwise.shape
        mixed = self.pointwise.reshape(channels, multiplier, -1)
        return np.einsum("jmq,mqn->jmn", self.depthwise, mixed).reshape(taps * channels, -1)


def fit_separable(
    moments: Moments, kernel: Any, multiplier: int, scale: Any, *, ridge: float = RIDGE
) -> Separable:
    """The layers with the least error, every output n weighted by `scale[n]`.

    `kernel` (taps, channels, outputs) is that of the convolution. `ridge` times the mean diagonal
    is added to the diagonal of every system of equations.
    """
    _, channels, outputs = kernel.shape
    target = moments.xy * scale
    depthwise = _slices(kernel * scale, multiplier)
    pointwise = np.zeros((channels, multiplier, outputs))
    for done in range(ROUNDS):
        pointwise = _best_pointwise(moments.xx, target, depthwise, ridge)
        if done < ROUNDS - 1:
            depthwise = _better_depthwise(moments.xx, target, depthwise, pointwise, ridge)
    return Separable(depthwise, pointwise.reshape(channels * multiplier, outputs) / scale)


def fit_pointwise(moments: Moments, *, ridge: float = RIDGE) -> Any:
    """The pointwise kernel (channels, outputs) with the least error; x are single taps."""
    return solve(moments.xx, moments.xy, ridge)


def errors(moments: Moments, kernel: Any) -> Any:
    """Expected squared error of each output under one kernel (inputs, outputs)."""
    lost = moments.yy - 2 * (moments.xy * kernel).sum(0) + (kernel * (moments.xx @ kernel)).sum(0)
    return np.maximum(lost, 0)


def solve(matrix: Any, right: Any, ridge: float) -> Any:
    """Solves a positive semidefinite system with `ridge` mean diagonals on its diagonal."""
    size = len(matrix)
    system = matrix.copy()
    # A window that never varies leaves a zero matrix, for which zero is as good as anything.
    system.flat[:: size + 1] += ridge * np.trace(matrix) / size or 1.0
    return np.linalg.solve(system, right)


def _slices(kernel: Any, multiplier: int) -> Any:
    """The leading left singular vectors of each input channel's slice (taps, outputs)."""
    taps, channels, outputs = kernel.shape
    depthwise = np.zeros((taps, channels, multiplier))
    kept = min(multiplier, taps, outputs)
    left, _, _ = np.linalg.svd(kernel.transpose(1, 0, 2), full_matrices=False)
    depthwise[:, :, :kept] = left[:, :, :kept].transpose(1, 0, 2)
    return depthwise


def _best_pointwise(xx: Any, target: Any, depthwise: Any, ridge: float) -> Any:
    taps, channels, multiplier = depthwise.shape
    inner = channels * multiplier
    half = np.einsum("jmq,jmx->mqx", depthwise, xx.reshape(taps, channels, -1))
    half = half.reshape(channels, multiplier, taps, channels)
    gram = np.einsum("mqjc,jcp->mqcp", half, depthwise)
    right = np.einsum("jmq,jmn->mqn", depthwise, target.reshape(taps, channels, -1))
    solved = solve(gram.reshape(inner, inner), right.reshape(inner, -1), ridge)
    return solved.reshape(channels, multiplier, -1)


def _better_depthwise(xx: Any, target: Any, depthwise: Any, pointwise: Any, ridge: float) -> Any:
    """One sweep over the multiplier: each channel's q-th kernel with the others held still.

    That keeps the system as small as C, whatever the multiplier.
    """
    taps, channels, multiplier = depthwise.shape
    size = taps * channels
    found = depthwise.copy()
    blocks = xx.reshape(size, taps, channels)
    for q in range(multiplier):
        mine = pointwise[:, q]
        right = (target.reshape(taps, channels, -1) * mine).sum(-1)
        for other in range(multiplier):
            if other != q:
                crossed = np.einsum("xjm,jm->xm", blocks, found[:, :, other])
                overlap = mine @ pointwise[:, other].T
                right -= (crossed.reshape(taps, channels, channels) * overlap).sum(-1)
        system = blocks.reshape(taps, channels, taps, channels) * (mine @ mine.T)[:, None]
        kernels = solve(system.reshape(size, size), right.reshape(size), ridge)
        kernels = kernels.reshape(taps, channels)
        norms = np.linalg.norm(kernels, axis=0)
        # The pointwise layer, solved next, takes up the length.
        found[:, :, q] = kernels / np.where(norms > 0, norms, 1)
        pointwise = pointwise.copy()
        pointwise[:, q] *= norms[:, None]
    return found
