"""The distribution of latencies, in the units and with the intervals of a record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgekit_device.number import Number
from edgekit_device.tally import Tally

_NS_PER_MS = 1e6


@dataclass(frozen=True)
class Latency:
    """The distribution of the latency of one inference, in milliseconds.

    `p50` carries as low and high the range of the medians of the rounds: how far the machine
    drifted while it was measured, which is more than the spread of single runs tells. One round
    tells nothing about drift: it leaves low and high out.
    """

    min: Number
    p50: Number
    p90: Number
    p99: Number
    max: Number
    mean: Number


def median_ms(tally: Tally) -> float:
    """Give the median of one round."""
    return tally.percentile_ns(0.5) / _NS_PER_MS


def latency_ms(rounds: Sequence[Tally]) -> Latency:
    """Summarise the latencies of all rounds; no round may be empty."""
    every = Tally.merged(rounds)
    p50_ms = median_ms(every)
    return Latency(
        min=Number.measured(every.values_ns[0] / _NS_PER_MS),
        p50=Number.measured(p50_ms, *_drift_ms(rounds, p50_ms)),
        p90=Number.measured(every.percentile_ns(0.90) / _NS_PER_MS),
        p99=Number.measured(every.percentile_ns(0.99) / _NS_PER_MS),
        max=Number.measured(every.values_ns[-1] / _NS_PER_MS),
        mean=Number.measured(every.total_ns / every.runs / _NS_PER_MS),
    )


def _drift_ms(rounds: Sequence[Tally], p50_ms: float) -> tuple[float | None, float | None]:
    if len(rounds) < 2:
        return None, None
    medians_ms = [median_ms(tally) for tally in rounds]
    return min(*medians_ms, p50_ms), max(*medians_ms, p50_ms)


def unavailable_latency(reason: str) -> Latency:
    """Give the distribution of a model that was not run."""
    number = Number.unavailable(reason)
    return Latency(number, number, number, number, number, number)
