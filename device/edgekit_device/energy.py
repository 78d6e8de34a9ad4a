"""Energy of one inference from a board's power model: an estimate, so it has an interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from edgekit_device.board import Power
from edgekit_device.number import Number

# What two laboratories' figures for one board differ by at idle, roughly; used for a lone source.
_LONE_SOURCE_ERROR = 0.30


def power_w(power: Power, utilisation: float) -> float:
    """Give the whole board's power at a CPU utilisation of 0..1: P = idle + (full - idle) u."""
    return power.idle_w + (power.full_load_w - power.idle_w) * utilisation


def power_above_idle_w(power: Power, utilisation: float) -> float:
    """Give the part of the power that the CPU's work adds to the idle board."""
    return power_w(power, utilisation) - power.idle_w


def energy_j(
    powers: Sequence[Power],
    power_of: Callable[[Power, float], float],
    utilisation: Number,
    latency_ms: Number,
) -> Number:
    """Give joules of one inference: power times the median latency.

    The value is the mean over the sources, the interval runs from the least to the greatest; a
    lone source gets 30 % both ways. Without utilisation or latency the energy is unavailable,
    for their reason.
    """
    for number in (utilisation, latency_ms):
        if number.value is None:
            return Number.unavailable(number.reason or "its inputs are unavailable")
    if not powers:
        return Number.unavailable("the board profile has no power model")
    seconds = (latency_ms.value or 0.0) / 1e3
    joules = [power_of(power, utilisation.value or 0.0) * seconds for power in powers]
    value = math.fsum(joules) / len(joules)
    if len(joules) == 1:
        return Number.estimated(
            value,
            value * (1 - _LONE_SOURCE_ERROR),
            value * (1 + _LONE_SOURCE_ERROR),
            f"one source only, so an error of 30 % is assumed: {powers[0].source}",
        )
    sources = "; ".join(power.source for power in powers)
    low, high = min(*joules, value), max(*joules, value)
    return Number.estimated(value, low, high, f"mean and range of {len(joules)} sources: {sources}")
