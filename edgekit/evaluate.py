"""Accuracy and other means over a test split, with the intervals that its size allows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgekit_device import Number

_Z_95 = 1.959964
_RESAMPLES = 2000
_AT_ONCE = 1_000_000


def wilson_interval(right: int, total: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson, JASA 22 (1927) 209): honest near 0 and 1 as well."""
    share, z2 = right / total, _Z_95**2
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = _Z_95 / (1 + z2 / total) * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


def accuracy(correct: Sequence[bool]) -> Number:
    """Share of test samples that came out right; the interval is the sampling error's."""
    right, total = sum(correct), len(correct)
    return Number.measured(right / total, *wilson_interval(right, total))


def accuracy_change(correct: Sequence[bool], base: Sequence[bool]) -> Number:
    """Accuracy less the base's on the same samples, with its 95 % interval.

    Only samples on which the two disagree count, which is sharper than comparing two intervals
    (Agresti and Min, Statistics in Medicine 24 (2005) 729: Wald with one half added to each cell
    of the 2x2 table).
    """
    pairs = list(zip(correct, base, strict=True))
    gained = sum(ours and not theirs for ours, theirs in pairs)
    lost = sum(theirs and not ours for ours, theirs in pairs)
    change, total = (gained - lost) / len(pairs), len(pairs) + 2
    centre = (gained - lost) / total
    half = _Z_95 / total * math.sqrt(gained + lost + 1 - (gained - lost) ** 2 / total)
    low, high = max(-1.0, centre - half), min(1.0, centre + half)
    return Number.measured(change, min(low, change), max(high, change))


def mean_number(values: Sequence[float]) -> Number:
    """The mean over test images with its 95 % interval.

    Percentile bootstrap over the images (Efron, Annals of Statistics 7 (1979) 1), seeded; the
    deviations are widened by sqrt(n/(n-1)), by which it falls short with few images. A single
    image has no interval.
    """
    given = np.asarray(values, np.float64)
    mean, count = float(given.mean()), len(given)
    if count < 2:
        return Number.measured(mean)
    generator = np.random.default_rng(0)
    block = max(1, _AT_ONCE // count)  # of resamples, for they may not all fit into memory
    means = np.concatenate(
        [
            given[generator.integers(0, count, (min(block, _RESAMPLES - start), count))].mean(
                axis=1
            )
            for start in range(0, _RESAMPLES, block)
        ]
    )
    wider = math.sqrt(count / (count - 1))
    low, high = (mean + wider * (float(end) - mean) for end in np.percentile(means, (2.5, 97.5)))
    return Number.measured(mean, min(low, mean), max(high, mean))


def mean_share(values: Sequence[float]) -> Number:
    """The mean of shares, whose interval ends where no mean can be: above 1, or below 0."""
    mean = mean_number(values)
    if mean.value is None or mean.low is None or mean.high is None:
        return mean
    low = max(mean.low, min(mean.value, 0.0))
    return Number.measured(mean.value, low, min(mean.high, max(mean.value, 1.0)))


def mean_change(values: Sequence[float], base: Sequence[float]) -> Number:
    """The mean less the base's on the same images, with the interval of their differences."""
    return mean_number([ours - theirs for ours, theirs in zip(values, base, strict=True)])
