"""What a model is trained for: the loss that fits its one output and the targets of a task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from edgekit_converters.errors import TrainingError
from edgekit_converters.outputs import gives_probabilities

Kind = Literal["classification", "segmentation", "enhancement"]
Loss = Literal["sparse_categorical_crossentropy", "binary_crossentropy", "mean_absolute_error"]
Watched = Literal["accuracy", "iou", "mse"]


@dataclass(frozen=True)
class Targets:
    """What belongs to every sample: a class, a mask of classes, or a picture from 0 to 1.

    `shape` is that of one target (masks and pictures), `classes` counts those of labels or masks
    (0..classes-1); 0 for pictures.
    """

    kind: Kind = "classification"
    classes: int = 0
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Objective:
    """Loss of an output, whether it is logits, and the metric that training shows."""

    loss: Loss
    from_logits: bool = False
    watched: Watched = "accuracy"
    classes: int = 2


def objective_for(model: Any, targets: Targets) -> Objective:
    """The loss that fits the model's one output and the targets.

    Labels and masks are learned by cross-entropy (binary where the model has one output per label
    or pixel), pictures by the mean absolute error, as Retinex-Net learns them (Wei et al., BMVC
    2018, equation 3).

    Raises:
        TrainingError: several outputs, or one whose shape cannot hold the targets.
    """
    if targets.kind == "classification":
        return classification_objective(model, targets.classes)
    shape = _one_output(model, targets.kind)
    if targets.kind == "enhancement":
        _same_size(model, shape, targets.shape, "pictures")
        return Objective("mean_absolute_error", watched="mse")
    if len(shape) != 4 or shape[-1] is None:
        raise TrainingError(
            f"{model.name!r} has an output of shape {shape}; segmentation needs (batch, height, "
            "width, classes), or one channel for masks of 0 and 1."
        )
    _same_size(model, shape[:-1], targets.shape[:2], "masks")
    _wide_enough(model, shape[-1], targets.classes)
    loss: Loss = "binary_crossentropy" if shape[-1] == 1 else "sparse_categorical_crossentropy"
    return Objective(loss, not gives_probabilities(model), "iou", max(shape[-1], 2))


def classification_objective(model: Any, classes: int) -> Objective:
    """The loss that fits the model's one output and labels 0..classes-1.

    Raises:
        TrainingError: several outputs, or a width that cannot hold the classes.
    """
    shape = _one_output(model, "classification")
    if len(shape) != 2 or shape[1] is None:
        raise TrainingError(
            f"{model.name!r} has an output of shape {shape}; classification needs (batch, classes)."
        )
    _wide_enough(model, shape[1], classes)
    from_logits = not gives_probabilities(model)
    if shape[1] == 1:
        return Objective("binary_crossentropy", from_logits)
    return Objective("sparse_categorical_crossentropy", from_logits)


def compiled(library: Any, objective: Objective) -> tuple[Any, Any]:
    """Loss and metric as objects of `library`, one of the two Kerases."""
    losses: dict[Loss, Any] = {
        "sparse_categorical_crossentropy": library.losses.SparseCategoricalCrossentropy,
        "binary_crossentropy": library.losses.BinaryCrossentropy,
    }
    if objective.loss == "mean_absolute_error":
        return library.losses.MeanAbsoluteError(), library.metrics.MeanSquaredError("mse")
    binary, metrics = objective.loss == "binary_crossentropy", library.metrics
    threshold = 0.0 if objective.from_logits else 0.5
    if objective.watched == "iou" and binary:
        metric = metrics.BinaryIoU(target_class_ids=[1], threshold=threshold, name="iou")
    elif objective.watched == "iou":
        metric = metrics.MeanIoU(objective.classes, name="iou", sparse_y_pred=False)
    elif binary:
        metric = metrics.BinaryAccuracy("accuracy", threshold=threshold)
    else:
        metric = metrics.SparseCategoricalAccuracy("accuracy")
    return losses[objective.loss](from_logits=objective.from_logits), metric


def _one_output(model: Any, kind: Kind) -> tuple[int | None, ...]:
    if len(model.outputs) != 1:
        names = ", ".join(model.output_names)
        only = "the class output" if kind == "classification" else "its output"
        raise TrainingError(
            f"{model.name!r} has {len(model.outputs)} outputs ({names}); {kind} trains and "
            f"scores one. Give a model that ends in {only} alone, or convert it "
            "without data: edgekit optimize MODEL --recipe int8 --calibration FILE.npz."
        )
    return tuple(model.outputs[0].shape)


def _wide_enough(model: Any, width: int, classes: int) -> None:
    if classes > max(width, 2):
        raise TrainingError(
            f"{model.name!r} has {width} outputs but the labels go up to {classes - 1}; the last "
            f"layer needs at least {classes} units."
        )


def _same_size(
    model: Any, output: tuple[int | None, ...], wanted: tuple[int, ...], what: str
) -> None:
    got = output[1:]
    if len(got) != len(wanted) or any(
        size not in (None, given) for size, given in zip(got, wanted, strict=False)
    ):
        raise TrainingError(
            f"{model.name!r} has an output of shape {output}, but the {what} to be learned have "
            f"shape {wanted}; resize one of them."
        )
