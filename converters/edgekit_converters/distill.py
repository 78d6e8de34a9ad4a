"""Distillation: a model trained on what its parent gives, not on the targets alone.

Hinton, Vinyals, Dean: "Distilling the Knowledge in a Neural Network", 2015 (arXiv 1503.02531).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from edgekit_converters.errors import TrainingError
from edgekit_converters.graph import read_graph
from edgekit_converters.learned import check_learned
from edgekit_converters.objective import Objective, compiled, objective_for
from edgekit_converters.outcome import Outcome, count_parameters
from edgekit_converters.passes import Distill
from edgekit_converters.rewriting import copy_model
from edgekit_converters.train import (
    Progress,
    Training,
    TrainingData,
    fit_best,
    set_seed,
    validation_score,
)

_BATCH = 64
_LEAST = 1e-30
"""What probabilities are raised to before their logarithm: far below it float32 has no digits."""


def distill(
    model: Any,
    parent: Any,
    step: Distill,
    data: TrainingData | None,
    training: Training,
    progress: Progress | None,
) -> Outcome:
    """Trains a copy of the model on the parent's outputs, which are computed once.

    The learning rate falls from that of `training` to 0 along a cosine over the pass's epochs.
    Dropout is off meanwhile, unless asked for: the parent's outputs, computed without it, are what
    keeps the model from learning its few samples by heart.

    Raises:
        TrainingError: no data, or a parent that has learnt nothing.
    """
    if data is None:
        raise TrainingError(
            f"{step} trains on what the parent makes of the training samples; give the data "
            "(--data), or leave distill out."
        )
    check_learned(parent, data, str(step))
    result = copy_model(model)
    objective = objective_for(result, data.targets)
    told = [_packed(parent, data, *split) for split in (data.train, data.validation)]
    before = validation_score(result, data)
    set_seed(training.seed, training.deterministic)
    steps = -(-len(told[0]) // training.batch_size) * step.epochs
    rate = keras.optimizers.schedules.CosineDecay(training.learning_rate, steps)
    result.compile(
        optimizer=keras.optimizers.Adam(rate),
        loss=distillation_loss(step, objective),
        metrics=[_OnTargets(compiled(keras, objective)[1], _width(objective, told[0]))],
    )
    with _dropout(result, kept=step.dropout):
        trained = fit_best(
            result, (data.train[0], told[0]), (data.validation[0], told[1]),
            replace(training, epochs=step.epochs, patience=0), progress,
        )  # fmt: skip
    return Outcome(
        model=result,
        changed=(),
        skipped=(),
        trained=trained,
        trainable_parameters=count_parameters(result.trainable_weights),
        other_parameters=count_parameters(result.non_trainable_weights),
        accuracy_before=before,
        accuracy_after=validation_score(result, data),
    )


def distillation_loss(step: Distill, objective: Objective) -> Callable[[Any, Any], Any]:
    """The loss of each sample or pixel, with w the step's weight and T its temperature.

    Labels and masks: (1 - w) CE(labels) + w T^2 KL(parent at T || model at T). T^2 keeps the
    gradient's size, which softening divides by it (Hinton et al., section 2.1). Targets are
    (..., 1 + classes): the label and the parent's logits.

    Pictures: (1 - w) |picture - output| + w (parent's output - output)^2. Targets are
    (..., 2 x channels): the picture and the parent's output.

    A model that ends in softmax is taken at its logarithm, which differs from its logits by the
    same number in all classes: softmax(log p / T) is softmax(z / T), p^(1/T) over its sum. A single
    output becomes two classes, of which the first has the logit 0.
    """
    temperature, weight = float(step.temperature), float(step.weight)

    def labelled(targets: Any, outputs: Any) -> Any:
        labels = keras.ops.cast(targets[..., 0], "int32")
        wanted, given = targets[..., 1:], logits(outputs, objective)
        hard = keras.ops.sparse_categorical_crossentropy(labels, given, from_logits=True)
        theirs = keras.ops.log_softmax(wanted / temperature, axis=-1)
        ours = keras.ops.log_softmax(given / temperature, axis=-1)
        soft = keras.ops.sum(keras.ops.exp(theirs) * (theirs - ours), axis=-1)
        return (1 - weight) * hard + weight * temperature**2 * soft

    def pictured(targets: Any, outputs: Any) -> Any:
        outputs = keras.ops.cast(outputs, "float32")
        picture, theirs = keras.ops.split(targets, 2, axis=-1)
        asked = keras.ops.mean(keras.ops.abs(picture - outputs), axis=-1)
        taught = keras.ops.mean(keras.ops.square(theirs - outputs), axis=-1)
        return (1 - weight) * asked + weight * taught

    return pictured if objective.loss == "mean_absolute_error" else labelled


def logits(outputs: Any, objective: Objective) -> Any:
    """Outputs (..., width) for labels or masks as logits of at least two classes."""
    outputs = keras.ops.cast(outputs, "float32")
    if objective.loss != "binary_crossentropy":
        return outputs if objective.from_logits else _log(outputs)
    if not objective.from_logits:
        outputs = _log(outputs) - _log(1 - outputs)
    return keras.ops.concatenate([keras.ops.zeros_like(outputs), outputs], axis=-1)


@contextmanager
def _dropout(model: Any, *, kept: bool) -> Iterator[None]:
    """Sets the rates of the model's dropout layers to 0 meanwhile, unless they are kept."""
    kinds = (keras.layers.Dropout, keras.layers.AlphaDropout, keras.layers.GaussianDropout)
    found = [call.layer for call in read_graph(model).calls if isinstance(call.layer, kinds)]
    rates = [] if kept else [(layer, layer.rate) for layer in found]
    for layer, _ in rates:
        layer.rate = 0.0
    try:
        yield
    finally:
        for layer, rate in rates:
            layer.rate = rate


def _log(probabilities: Any) -> Any:
    return keras.ops.log(keras.ops.maximum(probabilities, _LEAST))


def _packed(parent: Any, data: TrainingData, x: Any, y: Any) -> Any:
    """The targets and, behind them along the last axis, what the parent gives."""
    objective = objective_for(parent, data.targets)
    given = np.asarray(parent.predict(x, batch_size=_BATCH, verbose=0))
    own = given.shape if data.kind == "enhancement" else (*given.shape[:-1], 1)
    if data.kind != "enhancement":
        given = np.asarray(logits(given, objective))
    if not np.isfinite(given).all():
        raise TrainingError(
            f"{parent.name!r} gives NaN or infinite values for the samples, so there is nothing "
            "to learn from it; repair the model or train it again."
        )
    return np.concatenate([np.reshape(y, own).astype(np.float32), given], axis=-1)


def _width(objective: Objective, packed: Any) -> int:
    return packed.shape[-1] // 2 if objective.loss == "mean_absolute_error" else 1


class _OnTargets(keras.metrics.Metric):  # type: ignore[misc]
    """A metric that sees the targets alone, the first `width` of what they are packed with."""

    def __init__(self, metric: Any, width: int) -> None:
        if not isinstance(metric, keras.metrics.Metric):
            metric = keras.metrics.MeanMetricWrapper(metric, name=metric.__name__)
        super().__init__(name=metric.name)
        self.metric, self.width = metric, width

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        self.metric.update_state(y_true[..., : self.width], y_pred, sample_weight)

    def result(self) -> Any:
        return self.metric.result()

    def reset_state(self) -> None:
        self.metric.reset_state()
