"""How often each latency occurred.

A small model runs millions of times: a list of all latencies would show as memory that the model
does not use, in the process that is being measured.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate


@dataclass(frozen=True)
class Tally:
    """Distinct latencies, ascending, and how often each was seen; never empty when measured."""

    values_ns: tuple[int, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, seen: Mapping[int, int]) -> Tally:
        """Order a mapping from latency to how often it was seen."""
        values_ns = tuple(sorted(seen))
        return cls(values_ns, tuple(seen[value] for value in values_ns))

    @classmethod
    def merged(cls, tallies: Iterable[Tally]) -> Tally:
        """Add tallies up."""
        total: Counter[int] = Counter()
        for tally in tallies:
            total.update(dict(zip(tally.values_ns, tally.counts, strict=True)))
        return cls.of(total)

    @cached_property
    def _ranks(self) -> tuple[int, ...]:
        return tuple(accumulate(self.counts))

    @property
    def runs(self) -> int:
        """How many latencies there are."""
        return sum(self.counts)

    @property
    def total_ns(self) -> int:
        """The sum of all latencies."""
        pairs = zip(self.values_ns, self.counts, strict=True)
        return sum(value * count for value, count in pairs)

    def percentile_ns(self, fraction: float) -> float:
        """Give the value below which `fraction` (0..1) of the latencies lie.

        Linear between neighbours, as numpy's default ("linear", Hyndman and Fan's type 7).
        """
        position = fraction * (self.runs - 1)
        below = int(position)
        low = self._ranked(below)
        high = self._ranked(min(below + 1, self.runs - 1))
        # Rounding may push the interpolation past its ends, and p90 <= p99 <= max must hold.
        return min(low + (high - low) * (position - below), high)

    def _ranked(self, rank: int) -> int:
        return self.values_ns[bisect_right(self._ranks, rank)]
