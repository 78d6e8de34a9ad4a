"""A task as a value, and the scores of a .tflite file on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.comparison import Metric
from edgekit.errors import RunError
from edgekit_device import Number

if TYPE_CHECKING:
    from edgekit_converters.objective import Kind

Rate = Callable[[Any, Any, bool], list[float]]
"""From outputs [samples, …], their targets, and whether outputs are logits."""


@dataclass(frozen=True)
class Scored:
    """The main metric of each test sample, in order, and further metrics of all of them."""

    samples: tuple[float, ...]
    metrics: tuple[Metric, ...] = ()


@dataclass(frozen=True)
class Task:
    """What belongs to each sample, and how answers are rated.

    `metric` names the main metric, whose mean over the samples stands in the column accuracy: a
    share from 0 to 1, more is better. `rate` gives it sample by sample, `others` the further
    metrics. `number` is the mean with its 95 % interval, `change` the mean less the base's on the
    same samples. `trivial` is the mean metric that an answer without any thought would get for
    samples x and targets y of so many classes, with what that answer is. `check` is what to look at
    if a model is no better.
    """

    kind: Kind
    metric: str
    rate: Rate
    others: Callable[[Any, Any, bool], tuple[Metric, ...]]
    number: Callable[[Sequence[float]], Number]
    change: Callable[[Sequence[float], Sequence[float]], Number]
    trivial: Callable[[Any, Any, int], tuple[float, str]]
    check: str

    def mean(self, outputs: Any, targets: Any, from_logits: bool) -> float:
        """The main metric over all samples."""
        return float(np.mean(self.rate(outputs, targets, from_logits)))


def score_outputs(task: Task, outputs: Any, targets: Any, from_logits: bool) -> Scored:
    """Scores of real-valued outputs [samples, …] that were computed somewhere.

    Raises:
        RunError: an output is NaN or infinite.
    """
    for index, output in enumerate(outputs):
        if not np.isfinite(output).all():
            raise RunError(
                f"The model's output for sample {index} of {len(outputs)} holds NaN or infinite "
                f"values, so there is no {task.metric}; check that sample and its scale, and of a "
                "file in float16 the range of its layers' outputs."
            )
    samples = tuple(task.rate(outputs, targets, from_logits))
    return Scored(samples, task.others(outputs, targets, from_logits))


def score_file(task: Task, file: Path, x: Any, targets: Any, from_logits: bool) -> Scored:
    """Scores of a .tflite file, run here on samples x.

    Raises:
        ExportError: the runtime refuses the file.
        RunError: an output is NaN or infinite.
    """
    import edgekit_converters as ec

    outputs = np.stack([np.asarray(first, np.float32) for first, *_ in ec.predict(file, x)])
    return score_outputs(task, outputs, targets, from_logits)
