"""Fine-tuning a Keras model on arrays, deterministic when asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np

from edgekit_converters.backend import memory_errors, ran_out_of_memory
from edgekit_converters.energy import EnergyCosts
from edgekit_converters.errors import TrainingError
from edgekit_converters.objective import Kind, Objective, Targets, compiled, objective_for

Progress = Callable[[int, int, dict[str, float]], None]
"""Called after each epoch with (epoch from 1, epochs, metrics)."""


@dataclass(frozen=True)
class Training:
    """How to train; `patience` is the number of epochs without gain before stopping, 0 for none.

    Pruning, clustering and quantisation-aware training start from a trained model: they have the
    `tuning_` epochs and learning rate. `energy_costs` is what energy-aware passes reckon with.
    """

    epochs: int = 20
    learning_rate: float = 1e-3
    batch_size: int = 32
    patience: int = 5
    seed: int = 0
    deterministic: bool = False
    tuning_epochs: int = 10
    tuning_learning_rate: float = 1e-4
    energy_costs: EnergyCosts = field(default_factory=EnergyCosts)

    def __post_init__(self) -> None:
        rules: tuple[tuple[str, bool, str], ...] = (
            ("epochs", self.epochs >= 0, "0 or more"),
            ("learning_rate", 0 < self.learning_rate < math.inf, "a positive number"),
            ("tuning_epochs", self.tuning_epochs >= 0, "0 or more"),
            (
                "tuning_learning_rate",
                0 < self.tuning_learning_rate < math.inf,
                "a positive number",
            ),
            ("batch_size", self.batch_size >= 1, "1 or more"),
            ("patience", self.patience >= 0, "0 (never stop early) or more"),
            ("seed", 0 <= self.seed < 2**32, "between 0 and 2^32 - 1"),
        )
        for name, kept, rule in rules:
            if not kept:
                raise TrainingError(f"{name} is {getattr(self, name)}; it must be {rule}.")

    @property
    def tuning(self) -> Training:
        """The same training with the epochs and learning rate for a model already trained."""
        return replace(self, epochs=self.tuning_epochs, learning_rate=self.tuning_learning_rate)


_AT_ONCE = 64

Score = Callable[[Any, Any, Objective], float]
"""The main metric of a task: from outputs, targets and what the outputs mean."""


@dataclass(frozen=True)
class TrainingData:
    """Samples and targets to train on and to choose the best epoch by.

    Labels and masks are 0..classes-1; pictures have no classes. `score` rates the outputs for the
    validation samples; None counts the labels found.
    """

    train: tuple[Any, Any]
    validation: tuple[Any, Any]
    classes: int
    kind: Kind = "classification"
    score: Score | None = None

    @property
    def targets(self) -> Targets:
        """What the samples are to be told."""
        return Targets(self.kind, self.classes, tuple(np.shape(self.train[1])[1:]))


@dataclass(frozen=True)
class Trained:
    """What training did: epochs run, the best one, and the curves."""

    epochs: int
    best_epoch: int
    history: dict[str, list[float]]


def set_seed(seed: int, deterministic: bool = False) -> None:
    """Seeds Python, NumPy and Keras' backend; `deterministic` also orders TensorFlow's operations.

    tf_keras' models need that order under any backend of Keras 3.
    """
    keras.utils.set_random_seed(seed)
    if deterministic:
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def check_data(model: Any, data: TrainingData) -> None:
    """Refuses samples that the model cannot take, before time is spent on it.

    Raises:
        TrainingError: naming the split, what it holds and what the model needs.
    """
    check_finite(data.train, data.validation)
    for kind, (x, _) in (("training", data.train), ("validation", data.validation)):
        for array, tensor in zip(keras.tree.flatten(x), model.inputs, strict=False):
            got, wanted = tuple(array.shape[1:]), tuple(tensor.shape[1:])
            if len(got) != len(wanted) or any(
                size not in (None, given) for given, size in zip(got, wanted, strict=True)
            ):
                raise TrainingError(
                    f"The {kind} samples have shape {got}, but {model.name!r} takes {wanted}; "
                    "give data of that shape."
                )


def check_finite(train: tuple[Any, Any], validation: tuple[Any, Any]) -> None:
    """Refuses data with NaN: a ReLU may turn it into 0, and the loss then looks sound.

    Raises:
        TrainingError: naming the split.
    """
    for kind, data in (("training", train), ("validation", validation)):
        if not all(np.isfinite(array).all() for array in keras.tree.flatten(data)):
            raise TrainingError(
                f"The {kind} data hold NaN or infinite values; remove or repair those samples."
            )


def fine_tune(
    model: Any,
    train: tuple[Any, Any],
    validation: tuple[Any, Any],
    objective: Objective,
    training: Training,
    progress: Progress | None = None,
    *,
    library: Any = keras,
    callbacks: Sequence[Any] = (),
    settling_epochs: int = 0,
    rate_option: str = "--learning-rate",
    optimizer: Any = None,
) -> Trained:
    """Trains the model in place and leaves it at the epoch with the least validation loss.

    `library` is the Keras that the model is made with. `callbacks` come before the kit's own. The
    first `settling_epochs` are never the best: what is asked of the weights does not hold yet.
    `rate_option` is where the command line takes the learning rate from. `optimizer` stands in for
    Adam.

    Raises:
        TrainingError: the data hold NaN or infinite values, or the loss became so.
    """
    if training.epochs == 0:
        return Trained(0, 0, {})
    check_finite(train, validation)
    set_seed(training.seed, training.deterministic)
    loss, metric = compiled(library, objective)
    model.compile(
        optimizer=optimizer or library.optimizers.Adam(training.learning_rate),
        loss=loss,
        metrics=[metric],
    )
    return fit_best(
        model, train, validation, training, progress,
        library=library, callbacks=callbacks, settling_epochs=settling_epochs,
        rate_option=rate_option,
    )  # fmt: skip


def fit_best(
    model: Any,
    train: tuple[Any, Any],
    validation: tuple[Any, Any],
    training: Training,
    progress: Progress | None = None,
    *,
    library: Any = keras,
    callbacks: Sequence[Any] = (),
    settling_epochs: int = 0,
    rate_option: str = "--learning-rate",
) -> Trained:
    """Trains a compiled model in place, as `fine_tune` does.

    Raises:
        TrainingError: the loss became NaN or infinite, or memory ran out.
    """
    best = library.callbacks.EarlyStopping(
        monitor="val_loss",
        patience=training.patience or training.epochs,
        restore_best_weights=True,
        start_from_epoch=settling_epochs,
    )

    def report(epoch: int, logs: dict[str, float] | None = None) -> None:
        if progress:
            metrics = {name: float(value) for name, value in (logs or {}).items()}
            progress(epoch + 1, training.epochs, metrics)

    try:
        result = model.fit(
            train[0],
            train[1],
            validation_data=validation,
            epochs=training.epochs,
            batch_size=training.batch_size,
            verbose=0,
            callbacks=[
                *callbacks,
                best,
                library.callbacks.TerminateOnNaN(),
                library.callbacks.LambdaCallback(on_epoch_end=report),
            ],
        )
    except memory_errors() as error:
        if not ran_out_of_memory(error):
            raise
        raise TrainingError(
            f"Training {model.name!r} ran out of memory with batches of {training.batch_size}; try "
            "a smaller --batch-size."
        ) from error
    history = {name: [float(v) for v in values] for name, values in result.history.items()}
    losses_seen = history.get("loss", [])
    if not losses_seen or not np.isfinite(losses_seen + history.get("val_loss", [])).all():
        raise TrainingError(
            f"Training {model.name!r} diverged: the loss is no number after epoch "
            f"{len(losses_seen)}. Try a smaller {rate_option} than {training.learning_rate:g}, "
            "and check that the data are scaled and hold no NaN."
        )
    settled = history["val_loss"][settling_epochs:]
    return Trained(len(losses_seen), settling_epochs + int(np.argmin(settled)) + 1, history)


def validation_score(model: Any, data: TrainingData, like: Any = None) -> float:
    """The task's main metric for the model (of either Keras) on the validation samples.

    `like` is a Keras 3 model that says what a tf_keras model's output means.
    """
    return score_of(model if like is None else like, data, validation_outputs(model, data))


def validation_outputs(model: Any, data: TrainingData) -> Any:
    """What the model (of either Keras) gives for the validation samples, as one float32 array."""
    x, y = data.validation
    # Of a model that is used once, predict() would spend more time on tracing than on computing.
    given = []
    for start in range(0, len(y), _AT_ONCE):
        batch = keras.tree.map_structure(lambda array, at=start: array[at : at + _AT_ONCE], x)
        output = keras.tree.flatten(model(batch, training=False))[0]
        given.append(np.asarray(keras.ops.convert_to_numpy(output), np.float32))
    return np.concatenate(given)


def score_of(model: Any, data: TrainingData, outputs: Any) -> float:
    """The task's main metric of outputs for the validation samples, as the model means them."""
    targets = data.validation[1]
    if data.score is not None:
        return data.score(outputs, targets, objective_for(model, data.targets))
    if outputs.shape[-1] == 1:
        from_logits = objective_for(model, data.targets).from_logits
        guesses = (outputs[:, 0] > (0.0 if from_logits else 0.5)).astype(int)
    else:
        guesses = outputs.argmax(axis=-1)
    return float((guesses == np.asarray(targets).ravel()).mean())
