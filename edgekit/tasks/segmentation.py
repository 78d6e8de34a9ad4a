"""A mask for each image: intersection over union, and how pixels fare."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgekit.comparison import Metric
from edgekit.evaluate import mean_change, mean_number
from edgekit.tasks.classification import precision_and_recall
from edgekit.tasks.task import Task
from edgekit_device import Number


def iou(found: Any, mask: Any) -> float:
    """Intersection over union of one image's classes (Jaccard 1901).

    Of masks of 0 and 1 it is that of the ones, and 1 where neither has any. Of more classes it is
    the mean over those that occur in the mask or in what was found, class 0 included.
    """
    classes = np.union1d(found, mask)
    wanted = classes[classes > 0] if classes.max(initial=0) <= 1 else classes
    each = [
        np.count_nonzero((found == one) & (mask == one))
        / np.count_nonzero((found == one) | (mask == one))
        for one in wanted
    ]
    return float(np.mean(each)) if each else 1.0


def _rate(outputs: Any, masks: Any, from_logits: bool) -> list[float]:
    found = _found(outputs, from_logits)
    return [iou(ours, theirs) for ours, theirs in zip(found, masks, strict=True)]


def _others(outputs: Any, masks: Any, from_logits: bool) -> tuple[Metric, ...]:
    found, truth = _found(outputs, from_logits).ravel(), np.asarray(masks).ravel()
    average = "binary" if truth.max(initial=0) <= 1 and outputs.shape[-1] <= 2 else "macro"
    pixels = Metric("pixel accuracy", Number.measured(float((found == truth).mean())))
    return (pixels, *precision_and_recall(truth, found, average))


def _found(outputs: Any, from_logits: bool) -> Any:
    import edgekit_converters as ec

    return ec.guess(np.asarray(outputs), from_logits)


def _trivial(_: Any, masks: Any) -> tuple[float, str]:
    if masks.max() <= 1:
        everything = [iou(np.ones_like(mask), mask) for mask in masks]
        return float(np.mean(everything)), "calling every pixel foreground"
    frequent = np.bincount(masks.ravel()).argmax()
    same = [iou(np.full_like(mask, frequent), mask) for mask in masks]
    return float(np.mean(same)), "giving every pixel the most frequent class"


SEGMENTATION = Task(
    kind="segmentation",
    metric="IoU",
    rate=_rate,
    others=_others,
    number=mean_number,
    change=mean_change,
    trivial=_trivial,
    check="scaling with --pixels, what the masks' ones stand for",
)
"""Masks [height, width] of classes 0..classes-1; 1 is the foreground where there are two."""
