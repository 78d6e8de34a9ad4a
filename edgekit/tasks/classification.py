"""One class for each sample: accuracy, and precision and recall over the classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgekit.comparison import Metric
from edgekit.evaluate import accuracy, accuracy_change
from edgekit.tasks.task import Task
from edgekit_device import Number


def _rate(outputs: Any, labels: Any, from_logits: bool) -> list[float]:
    return [float(right) for right in _guesses(outputs, from_logits) == np.asarray(labels)]


def _others(outputs: Any, labels: Any, from_logits: bool) -> tuple[Metric, ...]:
    return precision_and_recall(labels, _guesses(outputs, from_logits), "macro")


def precision_and_recall(truth: Any, found: Any, average: str) -> tuple[Metric, ...]:
    """Precision and recall, macro (the mean over the classes that occur) or binary (of class 1)."""
    from sklearn.metrics import precision_recall_fscore_support

    occurring = np.unique(truth) if average == "macro" else None
    precision, recall, _, _ = precision_recall_fscore_support(
        truth, found, labels=occurring, average=average, zero_division=0.0
    )
    numbers = [Number.measured(float(precision)), Number.measured(float(recall))]
    if average == "binary" and not np.any(found):
        numbers[0] = Number.unavailable("nothing was found")
    if average == "binary" and not np.any(truth):
        numbers[1] = Number.unavailable("there is nothing to find in the test samples")
    return Metric("precision", numbers[0]), Metric("recall", numbers[1])


def _guesses(outputs: Any, from_logits: bool) -> Any:
    import edgekit_converters as ec

    return ec.guess(np.asarray(outputs), from_logits)


def _number(samples: Sequence[float]) -> Number:
    return accuracy([bool(right) for right in samples])


def _change(samples: Sequence[float], base: Sequence[float]) -> Number:
    return accuracy_change([bool(one) for one in samples], [bool(one) for one in base])


def _trivial(_: Any, labels: Any, classes: int) -> tuple[float, str]:
    share = float(np.bincount(labels).max() / len(labels))
    return share, "always guessing the most frequent class"


CLASSIFICATION = Task(
    kind="classification",
    metric="accuracy",
    rate=_rate,
    others=_others,
    number=_number,
    change=_change,
    trivial=_trivial,
    check="scaling with --pixels, order of the classes",
)
"""Labels 0..classes-1."""
