"""Energy of one inference from a board's power model: an estimate, so it has an interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from edgekit_device.board import Power
from edgekit_device.number import Number

# What two laboratories' figures for one board differ by at idle, roughly; used for a lone one.
_LONE_ERROR = 0.30


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

    The value is the mean over the laboratories, for each of which the mean over its power models
    stands: publishing two must not count twice. The interval runs from the least model to the
    greatest; a lone laboratory gets at least 30 % both ways. Without utilisation or latency the
    energy is unavailable, for their reason.
    """
    for number in (utilisation, latency_ms):
        if number.value is None:
            return Number.unavailable(number.reason or "its inputs are unavailable")
    if not powers:
        return Number.unavailable("the board profile has no power model")
    seconds = (latency_ms.value or 0.0) / 1e3
    joules = [power_of(power, utilisation.value or 0.0) * seconds for power in powers]
    laboratories = _by_laboratory(powers, joules)
    value = _mean([_mean(own) for own in laboratories])
    low, high = min([*joules, value]), max([*joules, value])
    sources = "; ".join(power.source for power in powers)
    if len(laboratories) == 1:
        low = min(low, value * (1 - _LONE_ERROR))
        high = max(high, value * (1 + _LONE_ERROR))
        reason = f"one laboratory only, so an error of at least 30 % is assumed: {sources}"
        return Number.estimated(value, low, high, reason)
    reason = (
        f"mean over {len(laboratories)} laboratories, range of {len(joules)} published power "
        f"models: {sources}"
    )
    return Number.estimated(value, low, high, reason)


def _by_laboratory(powers: Sequence[Power], joules: Sequence[float]) -> list[list[float]]:
    """Put together what is of one laboratory; an entry that names none is one of its own."""
    groups: dict[str | int, list[float]] = {}
    for index, (power, energy) in enumerate(zip(powers, joules, strict=True)):
        key = index if power.laboratory is None else power.laboratory
        groups.setdefault(key, []).append(energy)
    return list(groups.values())


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
