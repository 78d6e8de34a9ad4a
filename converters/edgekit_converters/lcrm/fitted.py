"""One convolution's substitute, fitted to what the convolution gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgekit_converters.lcrm.rules import Depthwise, Pointwise, Substitute
from edgekit_converters.lcrm.separable import (
    RIDGE,
    Moments,
    Separable,
    errors,
    fit_pointwise,
    fit_separable,
)

Seen = Callable[[bool, bool], tuple[Moments | None, Moments | None]]
"""Moments of the windows and of their centres alone, each where asked for."""

LARGEST_MOMENTS = 2**29
"""Bytes of the largest matrix of moments; solving takes some four times as much."""
_ROWS_PER_INPUT = 4


@dataclass(frozen=True)
class Task:
    """What a convolution's substitute is fitted to.

    `kernel` (height, width, channels, outputs) has its inputs in the order in which the substitute
    sees them, `bias` is None without one. The error of output n counts `scale[n]` squared.
    `centred`: an offset (the bias, or a batch normalisation behind) takes care of the means.
    `free`: outputs may come in another order.
    """

    kernel: Any
    bias: Any
    scale: Any
    centred: bool
    free: bool


@dataclass(frozen=True)
class Fitted:
    """Weights of the substitute's layers by the end of their names, each as Keras has them.

    Output i is the convolution's output `order[i]`. `explained` is the weighted share of the
    outputs' variance (square, where not centred) that is not lost.
    """

    weights: dict[str, list[Any]]
    order: Any
    explained: float


def fit_substitute(
    task: Task,
    replacement: Substitute,
    seen: Seen,
    images: int,
    *,
    ridge: float = RIDGE,
) -> Fitted | str:
    """Fits depthwise + pointwise, pointwise, or the first beside the second (case 1.2).

    `seen` gives the moments of what the substitute sees, and of what the convolution gives without
    its bias, over `images` samples. In case 1.2 the pointwise branch gets the outputs that it loses
    least of. Where there can be no fit, says why.
    """
    deep = next((b[0] for b in replacement.branches if isinstance(b[0], Depthwise)), None)
    flat = next((b[0] for b in replacement.branches if isinstance(b[0], Pointwise)), None)
    kernel = task.kernel.reshape(-1, *task.kernel.shape[2:])
    taps, channels, outputs = kernel.shape
    unknown = channels * (taps if deep else 1)
    if 8 * unknown**2 > LARGEST_MOMENTS:
        return (
            f"the moments of its {unknown} inputs per window take {8 * unknown**2 // 2**20} MiB, "
            f"and the bound is {LARGEST_MOMENTS // 2**20} MiB"
        )
    wide, narrow = seen(deep is not None, flat is not None)
    if not task.centred:
        wide, narrow = wide and wide.about_zero(), narrow and narrow.about_zero()
    rows = max(each.rows for each in (wide, narrow) if each)
    if rows < _ROWS_PER_INPUT * unknown:
        return (
            f"{rows} positions in {images} samples are too few for its {unknown} inputs per "
            f"window, {_ROWS_PER_INPUT * unknown} are needed"
        )
    order, split = np.arange(outputs), outputs if deep is None else 0
    if deep and flat and narrow:
        split = flat.filters
        if task.free:
            order = _cheapest_first(narrow, task.scale, split, ridge)
    weights: dict[str, list[Any]] = {}
    lost = total = 0.0
    for index, (first, *_) in enumerate(replacement.branches):
        suffix = "" if len(replacement.branches) == 1 else f"_{index}"
        mine = order[split:] if isinstance(first, Depthwise) else order[:split]
        whole_of = wide if isinstance(first, Depthwise) else narrow
        if whole_of is None:
            continue
        asked = replace(
            whole_of,
            xy=whole_of.xy[:, mine],
            yy=whole_of.yy[mine],
            mean_y=whole_of.mean_y[mine],
        )
        scale = task.scale[mine]
        bias = [] if task.bias is None else [task.bias[mine]]
        if isinstance(first, Depthwise):
            fit = fit_separable(asked, kernel[:, :, mine], first.multiplier, scale, ridge=ridge)
            depthwise, pointwise = _in_repeats(fit, channels, first.multiplier)
            shape = (*task.kernel.shape[:2], channels * first.multiplier, 1)
            nothing = [np.zeros(channels * first.multiplier) for _ in bias]
            weights[f"_depthwise{suffix}"] = [depthwise.reshape(shape), *nothing]
            whole = fit.kernel
        else:
            pointwise = whole = fit_pointwise(asked, ridge=ridge)
        offsets = [each + asked.mean_y - asked.mean_x @ whole for each in bias]
        weights[f"_pointwise{suffix}"] = [pointwise[None, None], *offsets]
        lost += float(errors(asked, whole) @ scale**2)
        total += float(asked.yy @ scale**2)
    return Fitted(weights, order, 1 - lost / total if total else 1.0)


def _in_repeats(fit: Separable, channels: int, multiplier: int) -> tuple[Any, Any]:
    """Both kernels for channels that are repeated as a whole, not each beside its copies."""
    pointwise = fit.pointwise.reshape(channels, multiplier, -1)
    return fit.depthwise.swapaxes(1, 2), pointwise.swapaxes(0, 1).reshape(fit.pointwise.shape)


def _cheapest_first(moments: Moments, scale: Any, count: int, ridge: float) -> Any:
    """An order in which those `count` outputs stand first that lose least as pointwise ones."""
    lost = errors(moments, fit_pointwise(moments, ridge=ridge)) * scale**2
    first = np.sort(np.argsort(lost, kind="stable")[:count])
    return np.concatenate([first, np.setdiff1d(np.arange(len(scale)), first)])
