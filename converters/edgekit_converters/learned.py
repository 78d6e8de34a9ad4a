"""Whether a model has learnt anything that others could take over from it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from edgekit_converters.errors import TrainingError
from edgekit_converters.objective import objective_for
from edgekit_converters.tflite import guess
from edgekit_converters.train import TrainingData

_DEVIATIONS = 3.0
_MARGIN = 0.1


def check_learned(model: Any, data: TrainingData, asked: str) -> None:
    """Refuses a model that does no better than one answer for all samples, beyond chance.

    That answer is the most frequent class of the validation labels (or pixels), and for pictures
    the mean colour of the training targets. Chance: three standard errors of that class' share, but
    at most a tenth of what is left to learn.

    Raises:
        TrainingError: naming both, or what holds NaN.
    """
    for weight in model.weights:
        if not np.isfinite(keras.ops.convert_to_numpy(weight).astype(np.float32)).all():
            raise _spoiled(model, asked, f"weights {weight.path!r}")
    x, y = data.validation
    outputs, targets = np.asarray(model.predict(x, verbose=0)), np.asarray(y)
    if not np.isfinite(outputs).all():
        raise _spoiled(model, asked, "outputs for the validation samples")
    objective = objective_for(model, data.targets)
    if data.kind == "enhancement":
        colour = np.asarray(data.train[1]).mean((0, *range(1, targets.ndim - 1)))
        usual, reached = (float(np.abs(targets - each).mean()) for each in (colour, outputs))
        if not reached < usual:
            raise _nothing(
                model, asked, f"is off by {reached:.3f} on average, one colour for all by "
                f"{usual:.3f}"
            )  # fmt: skip
        return
    labels = targets.reshape(outputs.shape[:-1]).astype(int)
    usual = float(np.bincount(labels.ravel()).max() / labels.size)
    reached = float((guess(outputs, objective.from_logits) == labels).mean())
    chance = _DEVIATIONS * np.sqrt(usual * (1 - usual) / len(labels))
    if reached <= usual + min(chance, _MARGIN * (1 - usual)):
        raise _nothing(
            model, asked, f"gets {reached:.1%} of the validation labels right, while always giving "
            f"the most frequent class gets {usual:.1%}"
        )  # fmt: skip


def _spoiled(model: Any, asked: str, what: str) -> TrainingError:
    return TrainingError(
        f"{asked}: the {what} of {model.name!r} hold NaN or infinite values, which would spread to "
        "every layer that inherits; repair the model or train it again."
    )


def _nothing(model: Any, asked: str, found: str) -> TrainingError:
    return TrainingError(
        f"{asked}: there is nothing to inherit from {model.name!r}, which {found}; train the model "
        "first, or check that its output and the scale of its inputs are those of the data "
        "(--pixels)."
    )
