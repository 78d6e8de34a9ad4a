"""Energy of one inference from a board's power model: an estimate, so it has an interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from edgekit_device.board import Power
from edgekit_device.number import Number

# What two laboratories' figures for one board differ by at idle, roughly; used for a lone one.
_LONE_ERROR = 0.30


def power_w(power: Power, utilisation: float, clock_hz: float | None = None) -> float:
    """Give the whole board's power at a CPU utilisation u of 0..1 and at a clock.

    P = idle + u (a g + b g^3), where g is the clock over the model's and a + b what full load adds.
    Without a clock, or where the model knows none, g is 1.
    """
    added_w = power.full_load_w - power.idle_w
    ratio = 1.0 if clock_hz is None or power.clock_hz is None else clock_hz / power.clock_hz
    linear_w = added_w - power.cubic_w
    return power.idle_w + utilisation * (linear_w * ratio + power.cubic_w * ratio**3)


def power_above_idle_w(power: Power, utilisation: float, clock_hz: float | None = None) -> float:
    """Give the part of the power that the CPU's work adds to the idle board."""
    return power_w(power, utilisation, clock_hz) - power.idle_w


def energy_j(
    powers: Sequence[Power],
    power_of: Callable[[Power, float, float | None], float],
    utilisation: Number,
    latency_ms: Number,
    clock_hz: float | None = None,
) -> Number:
    """Give joules of one inference: power times the median latency.

    The value is the mean over the laboratories, for each of which the mean over its power models
    stands: publishing two must not count twice. The interval runs from the least model at the
    latency's low end to the greatest at its high end; a lone laboratory that does not say how far
    it is off gets at least 30 % both ways. Without utilisation or latency the energy is
    unavailable, for their reason. `clock_hz` is the clock during the inference, where it is known.
    """
    for number in (utilisation, latency_ms):
        if number.value is None:
            return Number.unavailable(number.reason or "its inputs are unavailable")
    if not powers:
        return Number.unavailable("the board profile has no power model")
    watts = [power_of(power, utilisation.value or 0.0, clock_hz) for power in powers]
    laboratories = _by_laboratory(powers, watts)
    value_w = _mean([_mean(own) for own in laboratories])
    low_w = min([w * _or_one(power.low) for power, w in zip(powers, watts, strict=True)])
    high_w = max([w * _or_one(power.high) for power, w in zip(powers, watts, strict=True)])
    sources = "; ".join(power.source for power in powers)
    unknown_error = any(power.low is None or power.high is None for power in powers)
    if len(laboratories) == 1 and unknown_error:
        low_w = min(low_w, value_w * (1 - _LONE_ERROR))
        high_w = max(high_w, value_w * (1 + _LONE_ERROR))
        reason = f"one laboratory only, so an error of at least 30 % is assumed: {sources}"
    elif len(laboratories) == 1:
        reason = f"one laboratory: {sources}"
    else:
        reason = (
            f"mean over {len(laboratories)} laboratories, range of {len(watts)} published power "
            f"models: {sources}"
        )
    value_s, low_s, high_s = (seconds / 1e3 for seconds in _with_interval(latency_ms))
    value_j = value_w * value_s
    return Number.estimated(
        value_j, min(low_w * low_s, value_j), max(high_w * high_s, value_j), reason
    )


def _with_interval(number: Number) -> tuple[float, float, float]:
    value = number.value or 0.0
    low = value if number.low is None else number.low
    high = value if number.high is None else number.high
    return value, low, high


def _or_one(factor: float | None) -> float:
    return 1.0 if factor is None else factor


def _by_laboratory(powers: Sequence[Power], watts: Sequence[float]) -> list[list[float]]:
    """Put together what is of one laboratory; an entry that names none is one of its own."""
    groups: dict[str | int, list[float]] = {}
    for index, (power, own_w) in enumerate(zip(powers, watts, strict=True)):
        key = index if power.laboratory is None else power.laboratory
        groups.setdefault(key, []).append(own_w)
    return list(groups.values())


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
