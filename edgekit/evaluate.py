"""Accuracy of a .tflite file on a test split, with the interval that its size allows."""

from __future__ import annotations

import math
from pathlib import Path

from edgekit.data import Split
from edgekit_device import Number

_Z_95 = 1.959964


def wilson_interval(right: int, total: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson, JASA 22 (1927) 209): honest near 0 and 1 as well."""
    share, z2 = right / total, _Z_95**2
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = _Z_95 / (1 + z2 / total) * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


def tflite_accuracy(file: Path, test: Split, from_logits: bool) -> Number:
    """Share of test samples that the file gets right; the interval is the sampling error's."""
    from edgekit_converters.tflite import accuracy

    value = accuracy(file, test.x, test.y, from_logits=from_logits)
    return Number.measured(value, *wilson_interval(round(value * len(test)), len(test)))
