"""Training a model for its task, and the file of its best epoch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.comparison import Metric
from edgekit.data import Dataset
from edgekit.data.dataset import Split
from edgekit.disk import storing, try_folder
from edgekit.errors import RunError
from edgekit.outputs import check_model_file
from edgekit.progress import Listener, Step, silent
from edgekit.stages import Parent, epoch_reporter, training_data
from edgekit.tasks.task import score_outputs

if TYPE_CHECKING:
    from edgekit_converters import Objective, Training


@dataclass(frozen=True)
class Rating:
    """A model's scores on one split: the task's main metric first, then its others."""

    samples: int
    metrics: tuple[Metric, ...]


@dataclass(frozen=True)
class Taught:
    """A trained model's file, what training did, and the scores of the Keras model."""

    file: Path
    model: str
    data: str
    epochs: int
    best_epoch: int
    history: dict[str, list[float]]
    validation: Rating
    test: Rating


def teach(
    parent: Parent,
    data: Dataset,
    out: Path,
    training: Training | None = None,
    progress: Listener = silent,
) -> Taught:
    """Trains a copy of the model on the training split and writes its best epoch.

    The best epoch is the one with the least loss on the validation split. The file holds no state
    of the optimiser.

    Raises:
        RunError: there is nothing to train, or the file cannot be named so.
        ConverterError: the model does not fit the data, or training diverged.
        RunError: the trained model, which is kept, gives NaN or infinite values.
        DiskError: the file cannot be written; what was there before is still there.
    """
    import edgekit_converters as ec
    from edgekit_converters.rewriting import copy_model
    from edgekit_converters.train import check_data

    check_model_file(out)
    training = training or ec.Training()
    if training.epochs == 0:
        raise RunError("--epochs 0 trains nothing; give 1 or more.")
    told = training_data(data)
    objective = ec.objective_for(parent.model, told.targets)
    check_data(parent.model, told)
    model = copy_model(parent.model)
    if not model.trainable_weights:
        raise RunError(
            f"{model.name!r} has no weights that may be trained; set trainable = True on the "
            "layers that are to learn, and save it again."
        )
    with storing(out.parent, "the trained model", kept="", option="-o"):
        try_folder(out.parent)
    reporter = epoch_reporter(model.name, progress)
    done = ec.fine_tune(model, told.train, told.validation, objective, training, reporter)
    _write(model, out)
    progress(Step("rate the trained model"))
    ratings = [_rated(model, data, split, objective) for split in (data.validation, data.test)]
    return Taught(
        file=out,
        model=model.name,
        data=data.describe(),
        epochs=done.epochs,
        best_epoch=done.best_epoch,
        history=done.history,
        validation=ratings[0],
        test=ratings[1],
    )


def _rated(model: Any, data: Dataset, split: Split, objective: Objective) -> Rating:
    task, outputs = data.task, model.predict(split.x, verbose=0)
    scored = score_outputs(task, outputs, split.y, objective.from_logits)
    main = Metric(task.metric, task.number(scored.samples))
    return Rating(len(split), (main, *scored.metrics))


def _write(model: Any, out: Path) -> None:
    """Beside the file first, then in its place: a reader sees the old or the new model."""
    import edgekit_converters as ec
    from edgekit_converters.rewriting import copy_model

    # Keras takes no other ending.
    partial = out.with_name(f".edgekit-{os.getpid()}-{out.name}")
    with storing(out.parent, "the trained model", kept="", option="-o"):
        try:
            # A copy is not compiled: the optimiser's moments are twice the weights.
            ec.save_model(copy_model(model), partial)
            partial.replace(out)
        finally:
            partial.unlink(missing_ok=True)
