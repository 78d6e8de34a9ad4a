"""A mask for each image: intersection over union, and how pixels fare."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgekit.comparison import Metric
from edgekit.evaluate import mean_change, mean_share
from edgekit.tasks.classification import precision_and_recall
from edgekit.tasks.task import Task
from edgekit_device import Number


def iou(found: Any, mask: Any, classes: int = 2) -> float:
    """Intersection over union of one image's classes (Jaccard 1901).

    Of two classes it is that of the ones, and 1 where neither mask has any. Of more it is the mean
    over those that occur in the mask or in what was found, class 0 included.
    """
    occurring = np.union1d(found, mask)
    wanted = occurring[occurring > 0] if classes <= 2 else occurring
    each = [
        np.count_nonzero((found == one) & (mask == one))
        / np.count_nonzero((found == one) | (mask == one))
        for one in wanted
    ]
    return float(np.mean(each)) if each else 1.0


def _rate(outputs: Any, masks: Any, from_logits: bool) -> list[float]:
    found, classes = _found(outputs, from_logits), outputs.shape[-1]
    return [iou(ours, theirs, classes) for ours, theirs in zip(found, masks, strict=True)]


def _others(outputs: Any, masks: Any, from_logits: bool) -> tuple[Metric, ...]:
    found, truth = _found(outputs, from_logits).ravel(), np.asarray(masks).ravel()
    average = "binary" if outputs.shape[-1] <= 2 else "macro"
    pixels = Metric("pixel accuracy", Number.measured(float((found == truth).mean())))
    return (pixels, *precision_and_recall(truth, found, average))


def _found(outputs: Any, from_logits: bool) -> Any:
    import edgekit_converters as ec

    return ec.guess(np.asarray(outputs), from_logits)


def _trivial(_: Any, masks: Any, classes: int) -> tuple[float, str]:
    def always(one: int) -> float:
        return float(np.mean([iou(np.full_like(mask, one), mask, classes) for mask in masks]))

    if classes <= 2:
        everything, nothing = always(1), always(0)
        if nothing > everything:
            return nothing, "calling every pixel background"
        return everything, "calling every pixel foreground"
    frequent = int(np.bincount(masks.ravel()).argmax())
    return always(frequent), "giving every pixel the most frequent class"


SEGMENTATION = Task(
    kind="segmentation",
    metric="IoU",
    rate=_rate,
    others=_others,
    number=mean_share,
    change=mean_change,
    trivial=_trivial,
    check="scaling with --pixels, what the masks' ones stand for",
)
"""Masks [height, width] of classes 0..classes-1; 1 is the foreground where there are two."""
