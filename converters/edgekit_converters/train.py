"""Fine-tuning a Keras model on arrays, deterministic when asked."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from edgekit_converters.errors import TrainingError
from edgekit_converters.outputs import gives_probabilities

Progress = Callable[[int, int, dict[str, float]], None]
"""Called after each epoch with (epoch from 1, epochs, metrics)."""


@dataclass(frozen=True)
class Training:
    """How to train; `patience` is the number of epochs without gain before stopping, 0 for none."""

    epochs: int = 20
    learning_rate: float = 1e-3
    batch_size: int = 32
    patience: int = 5
    seed: int = 0
    deterministic: bool = False

    def __post_init__(self) -> None:
        rules: tuple[tuple[str, bool, str], ...] = (
            ("epochs", self.epochs >= 0, "0 or more"),
            ("learning_rate", 0 < self.learning_rate < math.inf, "a positive number"),
            ("batch_size", self.batch_size >= 1, "1 or more"),
            ("patience", self.patience >= 0, "0 (never stop early) or more"),
            ("seed", 0 <= self.seed < 2**32, "between 0 and 2^32 - 1"),
        )
        for name, kept, rule in rules:
            if not kept:
                raise TrainingError(f"{name} is {getattr(self, name)}; it must be {rule}.")


@dataclass(frozen=True)
class Trained:
    """What training did: epochs run, the best one, and the curves."""

    epochs: int
    best_epoch: int
    history: dict[str, list[float]]


Loss = Literal["sparse_categorical_crossentropy", "binary_crossentropy"]


@dataclass(frozen=True)
class Objective:
    """Loss of a classification output, and whether the model ends in logits."""

    loss: Loss
    from_logits: bool


def classification_objective(model: Any, classes: int) -> Objective:
    """The loss that fits the model's one output and labels 0..classes-1.

    Raises:
        TrainingError: several outputs, or a width that cannot hold the classes.
    """
    if len(model.outputs) != 1:
        names = ", ".join(model.output_names)
        raise TrainingError(
            f"{model.name!r} has {len(model.outputs)} outputs ({names}); classification trains and "
            "scores one. Give a model that ends in the class output alone, or convert it "
            "without data: edgekit optimize MODEL --recipe int8 --calibration FILE.npz."
        )
    shape = tuple(model.outputs[0].shape)
    if len(shape) != 2 or shape[1] is None:
        raise TrainingError(
            f"{model.name!r} has an output of shape {shape}; classification needs (batch, classes)."
        )
    width = shape[1]
    if classes > max(width, 2):
        raise TrainingError(
            f"{model.name!r} has {width} outputs but the labels go up to {classes - 1}; the last "
            f"layer needs at least {classes} units."
        )
    from_logits = not gives_probabilities(model)
    if width == 1:
        return Objective("binary_crossentropy", from_logits)
    return Objective("sparse_categorical_crossentropy", from_logits)


def set_seed(seed: int, deterministic: bool = False) -> None:
    """Seeds Python, NumPy and TensorFlow; `deterministic` also orders TensorFlow's operations."""
    keras.utils.set_random_seed(seed)
    if deterministic:
        tf.config.experimental.enable_op_determinism()


def fine_tune(
    model: Any,
    train: tuple[Any, Any],
    validation: tuple[Any, Any],
    objective: Objective,
    training: Training,
    progress: Progress | None = None,
) -> Trained:
    """Trains the model in place and leaves it at the epoch with the least validation loss.

    Raises:
        TrainingError: the data hold NaN or infinite values, or the loss became so.
    """
    if training.epochs == 0:
        return Trained(0, 0, {})
    for kind, data in (("training", train), ("validation", validation)):
        # Checked here since a ReLU may turn NaN into 0, and the loss then looks sound.
        if not all(np.isfinite(array).all() for array in keras.tree.flatten(data)):
            raise TrainingError(
                f"The {kind} data hold NaN or infinite values; remove or repair those samples."
            )
    set_seed(training.seed, training.deterministic)
    losses: dict[str, Any] = {
        "sparse_categorical_crossentropy": keras.losses.SparseCategoricalCrossentropy,
        "binary_crossentropy": keras.losses.BinaryCrossentropy,
    }
    accuracy = keras.metrics.BinaryAccuracy if "binary" in objective.loss else None
    model.compile(
        optimizer=keras.optimizers.Adam(training.learning_rate),
        loss=losses[objective.loss](from_logits=objective.from_logits),
        metrics=[
            accuracy("accuracy", threshold=0.0 if objective.from_logits else 0.5)
            if accuracy
            else keras.metrics.SparseCategoricalAccuracy("accuracy")
        ],
    )
    best = keras.callbacks.EarlyStopping(
        monitor="val_loss",
        patience=training.patience or training.epochs,
        restore_best_weights=True,
    )
    try:
        result = model.fit(
            train[0],
            train[1],
            validation_data=validation,
            epochs=training.epochs,
            batch_size=training.batch_size,
            verbose=0,
            callbacks=[
                best,
                keras.callbacks.TerminateOnNaN(),
                _Reporter(training.epochs, progress),
            ],
        )
    except tf.errors.ResourceExhaustedError as error:
        raise TrainingError(
            f"Training {model.name!r} ran out of memory with batches of {training.batch_size}; try "
            "a smaller --batch-size."
        ) from error
    history = {name: [float(v) for v in values] for name, values in result.history.items()}
    losses_seen = history.get("loss", [])
    if not losses_seen or not np.isfinite(losses_seen + history.get("val_loss", [])).all():
        raise TrainingError(
            f"Training {model.name!r} diverged: the loss is no number after epoch "
            f"{len(losses_seen)}. Try a smaller --learning-rate than {training.learning_rate:g}, "
            "and check that the data are scaled and hold no NaN."
        )
    return Trained(len(losses_seen), int(np.argmin(history["val_loss"])) + 1, history)


class _Reporter(keras.callbacks.Callback):  # type: ignore[misc]
    def __init__(self, epochs: int, progress: Progress | None) -> None:
        super().__init__()
        self._epochs, self._progress = epochs, progress

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if self._progress:
            self._progress(epoch + 1, self._epochs, {k: float(v) for k, v in (logs or {}).items()})
