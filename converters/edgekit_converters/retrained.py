"""A rewritten Keras model trained where there are data, and what came of it."""

from __future__ import annotations

from typing import Any

from edgekit_converters.objective import objective_for
from edgekit_converters.outcome import Outcome, count_parameters
from edgekit_converters.train import (
    Progress,
    Trained,
    Training,
    TrainingData,
    fine_tune,
    validation_score,
)


def retrained(
    original: Any,
    result: Any,
    data: TrainingData | None,
    training: Training,
    progress: Progress | None,
    *,
    changed: tuple[str, ...],
    skipped: tuple[tuple[str, str], ...],
    rate_option: str = "--tuning-learning-rate",
) -> Outcome:
    """Trains `result` in place and scores both models; a model that was not changed stays as it is.

    Raises:
        TrainingError: as `fine_tune`.
    """
    trained = Trained(0, 0, {})
    before = after = None
    if data is not None:
        before = validation_score(original, data)
        if changed and result.trainable_weights:
            objective = objective_for(result, data.targets)
            trained = fine_tune(
                result, data.train, data.validation, objective, training, progress,
                rate_option=rate_option,
            )  # fmt: skip
        after = validation_score(result, data)
    return Outcome(
        model=result,
        changed=changed,
        skipped=skipped,
        trained=trained,
        trainable_parameters=count_parameters(result.trainable_weights),
        other_parameters=count_parameters(result.non_trainable_weights),
        accuracy_before=before,
        accuracy_after=after,
    )
