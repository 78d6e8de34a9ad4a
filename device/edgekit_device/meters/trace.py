"""A meter's readings over time, and the mean power of a stretch of them."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from edgekit_device.meters.meter import Reading


@dataclass(frozen=True)
class Trace:
    """Readings in the order of their times: watts or, where it `counts`, joules so far."""

    counts: bool
    times_s: tuple[float, ...]
    values: tuple[float, ...]

    @classmethod
    def of(cls, readings: Iterable[Reading], shift_s: float = 0.0, *, counts: bool) -> Trace:
        """Order readings and move their times."""
        ordered = sorted(readings)
        times_s = tuple(reading.t_s + shift_s for reading in ordered)
        return cls(counts, times_s, tuple(reading.value for reading in ordered))

    def between(self, start_s: float, end_s: float) -> Trace:
        """Give the readings from `start_s` to `end_s`, both included."""
        part = slice(bisect_left(self.times_s, start_s), bisect_right(self.times_s, end_s))
        return Trace(self.counts, self.times_s[part], self.values[part])

    def mean_w(self) -> float | None:
        """Give the mean power from the first reading to the last; None where it has no meaning.

        Of watts: the integral by the trapezoidal rule over the time. Of joules: the difference over
        the time.
        """
        if len(self.times_s) < 2 or self.times_s[-1] <= self.times_s[0]:
            return None
        span_s = self.times_s[-1] - self.times_s[0]
        if self.counts:
            return (self.values[-1] - self.values[0]) / span_s
        points = zip(self.times_s, self.values, strict=True)
        pieces = ((t1 - t0) * (w0 + w1) / 2 for (t0, w0), (t1, w1) in pairwise(points))
        return math.fsum(pieces) / span_s

    def longest_gap_s(self, start_s: float, end_s: float) -> float:
        """Give the longest time without a reading from `start_s` to `end_s`."""
        marks = (start_s, *self.between(start_s, end_s).times_s, end_s)
        return max(after - before for before, after in pairwise(marks))
