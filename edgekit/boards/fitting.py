"""Coefficients of a board's latency and power, fitted to what was measured there.

Least squares of the relative error, no coefficient below 0; two coefficients have a closed form.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from edgekit_device.board import LatencyModel, Power
from edgekit_device.energy import power_w

# Two columns are told apart if the angle between them has at least this sine squared.
_LEAST_INDEPENDENCE = 1e-4
# Clocks that differ by less say nothing about how power grows with the clock.
_ONE_CLOCK = 1.05
# Another day, another room: what one session cannot see.
_LEAST_LATENCY_ERROR = 0.10
_LEAST_POWER_ERROR = 0.05
_MOST_RATIO = 1e3

T = TypeVar("T")


@dataclass(frozen=True)
class Timed:
    """A model's latency at one number of threads, and the terms that it is made of, in seconds."""

    model: str
    macs_s: float
    traffic_s: float
    measured_s: float


@dataclass(frozen=True)
class Metering:
    """A window's mean power; `run` names the run it belongs to, a clock of None is not known."""

    run: Hashable
    mean_w: float
    utilisation: float
    clock_hz: float | None


@dataclass(frozen=True)
class Error:
    """How far predictions are off: |predicted / measured - 1|, on average and at worst."""

    mean: float
    worst: float


@dataclass(frozen=True)
class LatencyFit:
    """Factors, and the interval of measured over predicted.

    `left_out` says that `after` and the interval come from predicting each model by the others;
    else there was one model alone and the interval is the earlier one. `with_traffic`: the traffic
    factor was fitted, too, not taken over.
    """

    macs_factor: float
    traffic_factor: float
    low: float
    high: float
    models: int
    runs: int
    with_traffic: bool
    left_out: bool
    after: Error


@dataclass(frozen=True)
class PowerFit:
    """A power model, and how far it is off when each run is predicted by the others.

    `after` is None where there is one run only.
    """

    idle_w: float
    linear_w: float
    cubic_w: float
    clock_hz: float | None
    low: float | None
    high: float | None
    runs: int
    windows: int
    after: Error | None


def least_squares(
    rows: Sequence[tuple[float, float]], targets: Sequence[float]
) -> tuple[float, float] | None:
    """Give p, q >= 0 that minimise the sum of (p x + q y - target)^2 over rows (x, y), all >= 0.

    None: x and y are too nearly proportional, or one of them is 0 throughout.
    """
    xx, xy, yy = (math.fsum(row[i] * row[j] for row in rows) for i, j in ((0, 0), (0, 1), (1, 1)))
    xt, yt = (
        math.fsum(row[i] * target for row, target in zip(rows, targets, strict=True))
        for i in (0, 1)
    )
    determinant = xx * yy - xy * xy
    if not determinant > _LEAST_INDEPENDENCE * xx * yy:
        return None
    p, q = (yy * xt - xy * yt) / determinant, (xx * yt - xy * xt) / determinant
    if p >= 0 and q >= 0:
        return p, q
    # The optimum lies on an edge; what an edge takes off the sum is (its products)^2 / squares.
    edges = ((max(xt, 0.0) / xx, 0.0), (0.0, max(yt, 0.0) / yy))
    return max(edges, key=lambda edge: edge[0] * max(xt, 0.0) + edge[1] * max(yt, 0.0))


def one_factor(column: Sequence[float], targets: Sequence[float]) -> float:
    """Give p >= 0 that minimises the sum of (p x - target)^2; 0 where x is 0 throughout."""
    squares = math.fsum(x * x for x in column)
    products = math.fsum(x * target for x, target in zip(column, targets, strict=True))
    return max(products, 0.0) / squares if squares else 0.0


def fit_latency(timed: Sequence[Timed], earlier: LatencyModel | None) -> LatencyFit | None:
    """Fit both factors, or that of the products alone where the models cannot tell them apart.

    Then the `earlier` traffic factor stays (0 if there is none). None: one model alone, and no
    earlier interval that could stay.
    """
    models = dict.fromkeys(one.model for one in timed)
    if len(models) < 2 and earlier is None:
        return None
    macs_factor, traffic_factor, with_traffic = _factors(timed, earlier)
    low, high, left_out = 1.0, 1.0, len(models) > 1
    if left_out:
        ratios = leave_one_out(
            timed,
            lambda one: one.model,
            lambda rest, own: _ratios(own, *_factors(rest, earlier)[:2]),
        )
        low = min(*ratios, 1 - _LEAST_LATENCY_ERROR)
        high = max(*ratios, 1 + _LEAST_LATENCY_ERROR)
    else:
        ratios = _ratios(timed, macs_factor, traffic_factor)
        if earlier is not None:
            low, high = earlier.low, earlier.high
    return LatencyFit(
        macs_factor=macs_factor,
        traffic_factor=traffic_factor,
        low=low,
        high=high,
        models=len(models),
        runs=len(timed),
        with_traffic=with_traffic,
        left_out=left_out,
        after=error_of(ratios),
    )


def latency_error(timed: Sequence[Timed], model: LatencyModel) -> Error:
    """How far a latency model is off."""
    return error_of(_ratios(timed, model.macs_factor, model.traffic_factor))


def fit_power(windows: Sequence[Metering], idle_w: float, reference_hz: float) -> PowerFit:
    """Fit idle + u (a f/f0 + b (f/f0)^3) with a, b >= 0; at one clock, or without any, a alone.

    u is the CPU's utilisation, f its clock, f0 `reference_hz`; so power never falls when
    utilisation or clock rises.
    """
    known = all(window.clock_hz is not None for window in windows)
    clock_hz = reference_hz if known else None
    linear_w, cubic_w = _watts(windows, idle_w, clock_hz)
    runs = dict.fromkeys(window.run for window in windows)
    low = high = after = None
    if len(runs) > 1:
        ratios = leave_one_out(
            windows,
            lambda window: window.run,
            lambda rest, own: _power_ratios(own, idle_w, clock_hz, *_watts(rest, idle_w, clock_hz)),
        )
        after = error_of(ratios)
        low = min(*ratios, 1 - _LEAST_POWER_ERROR)
        high = max(*ratios, 1 + _LEAST_POWER_ERROR)
    return PowerFit(idle_w, linear_w, cubic_w, clock_hz, low, high, len(runs), len(windows), after)


def leave_one_out(
    items: Sequence[T],
    group_of: Callable[[T], Hashable],
    ratios_of: Callable[[Sequence[T], Sequence[T]], list[float]],
) -> list[float]:
    """Give what `ratios_of` says of (all the others, the group) for each group in turn."""
    found: list[float] = []
    for group in dict.fromkeys(group_of(item) for item in items):
        rest = [item for item in items if group_of(item) != group]
        found += ratios_of(rest, [item for item in items if group_of(item) == group])
    return found


def error_of(ratios: Sequence[float]) -> Error:
    """Give the error of predictions, from measured over predicted."""
    off = [abs(1 / ratio - 1) for ratio in ratios]
    return Error(math.fsum(off) / len(off), max(off))


def ratio_of(measured: float, predicted: float) -> float:
    """Give measured over predicted, within a factor of 1000 either way."""
    if predicted <= 0:
        return _MOST_RATIO if measured > 0 else 1.0
    return min(max(measured / predicted, 1 / _MOST_RATIO), _MOST_RATIO)


def _factors(timed: Sequence[Timed], earlier: LatencyModel | None) -> tuple[float, float, bool]:
    rows = [(one.macs_s / one.measured_s, one.traffic_s / one.measured_s) for one in timed]
    if len({one.model for one in timed}) > 1:
        both = least_squares(rows, [1.0] * len(rows))
        if both is not None:
            return (*both, True)
    traffic = 0.0 if earlier is None else earlier.traffic_factor
    left = [1 - traffic * y for _, y in rows]
    return one_factor([x for x, _ in rows], left), traffic, False


def _ratios(timed: Sequence[Timed], macs_factor: float, traffic_factor: float) -> list[float]:
    return [
        ratio_of(one.measured_s, macs_factor * one.macs_s + traffic_factor * one.traffic_s)
        for one in timed
    ]


def _watts(
    windows: Sequence[Metering], idle_w: float, reference_hz: float | None
) -> tuple[float, float]:
    """The linear and the cubic part of what full load adds at the reference clock."""
    ratios = [
        1.0 if reference_hz is None or window.clock_hz is None else window.clock_hz / reference_hz
        for window in windows
    ]
    rows = [
        (window.utilisation * g / window.mean_w, window.utilisation * g**3 / window.mean_w)
        for window, g in zip(windows, ratios, strict=True)
    ]
    targets = [1 - idle_w / window.mean_w for window in windows]
    if max(ratios) > _ONE_CLOCK * min(ratios):
        both = least_squares(rows, targets)
        if both is not None:
            return both
    return one_factor([x for x, _ in rows], targets), 0.0


def _power_ratios(
    windows: Sequence[Metering],
    idle_w: float,
    clock_hz: float | None,
    linear_w: float,
    cubic_w: float,
) -> list[float]:
    model = Power(idle_w, idle_w + linear_w + cubic_w, "", clock_hz=clock_hz, cubic_w=cubic_w)
    return [
        ratio_of(window.mean_w, power_w(model, window.utilisation, window.clock_hz))
        for window in windows
    ]
