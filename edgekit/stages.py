"""The trained stages of a recipe, each done once per run folder and shared by its successors."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.choosing import Scannable, place_of, scanned
from edgekit.comparison import LayerSaving, Stage
from edgekit.data import Dataset
from edgekit.errors import RunError
from edgekit.progress import Listener, Step
from edgekit.store import (
    UNREADABLE,
    StageDamageError,
    content_key,
    read_facts,
    stage_folder,
    unreadable,
)
from edgekit_converters.proof import LayerProof

if TYPE_CHECKING:
    from edgekit_converters import Training, TrainingData
    from edgekit_converters.passes import Pass
    from edgekit_converters.recipe import Recipe


@dataclass(frozen=True)
class Parent:
    """The model a comparison starts from, its content key, and how to load its kind of file."""

    model: Any
    key: str
    safe: bool = True


@dataclass(frozen=True)
class Staged:
    """What some passes led to; `load` reads the model, which only unfinished work needs.

    `key` tells the passes and the weights that they left with.
    """

    key: str
    stages: tuple[Stage, ...]
    layers: tuple[LayerSaving, ...]
    load: Callable[[], Any]


def run_stages(
    run: Path,
    parent: Parent,
    recipe: Recipe,
    data: Dataset | None,
    training: Training,
    progress: Listener,
) -> Staged:
    """Applies the recipe's model-changing passes, training after each where there are data.

    What stands before a distillation is trained by it, and is one stage with it.

    Raises:
        StageDamageError: a stage done earlier cannot be used.
        RunError: one done just now cannot be read.
    """
    staged = Staged(parent.key, (), (), lambda: parent.model)
    done: tuple[Pass, ...] = ()
    for passes in recipe.stages:
        staged = _next(run, staged, parent, done, passes, data, training, progress)
        done = (*done, *passes)
    return staged


def versions() -> dict[str, str]:
    """What may change a result: part of every stage's key and of every report."""
    from importlib.metadata import version

    names = (
        "edgekit",
        "edgekit-converters",
        "tensorflow",
        "keras",
        "tf_keras",
        "tensorflow-model-optimization",
        "ai-edge-litert",
        "numpy",
        "zstandard",
    )
    return {name: version(name) for name in names}


def _next(
    run: Path,
    staged: Staged,
    parent: Parent,
    done: tuple[Pass, ...],
    passes: tuple[Pass, ...],
    data: Dataset | None,
    training: Training,
    progress: Listener,
) -> Staged:
    """The stage of some passes of which the last is trained, behind those already done."""
    import edgekit_converters as ec

    name, added = str(ec.Recipe((*done, *passes))), "+".join(map(str, passes))
    teacher = {"teacher": parent.key} if len(passes) > 1 else {}
    places = [place_of(step, progress) for step in passes]
    where = [place.key for place in places if place is not None]
    key = content_key(
        {
            **teacher,
            **({"places": where} if where else {}),
            "parent": staged.key,
            "pass": added,
            "data": data.fingerprint if data else None,
            "training": ec.training_facts(passes[-1], training),
            "versions": versions(),
        }
    )

    def make(folder: Path) -> dict[str, Any]:
        start = monotonic()
        given = None if data is None else training_data(data)
        untrained = replace(training, epochs=0, tuning_epochs=0)
        model, outcomes = staged.load(), []
        for index, (step, place) in enumerate(zip(passes, places, strict=True)):
            earlier = [str(each) for each in passes[:index]]
            scannable = Scannable(
                {"model": staged.key, "before": earlier}, model, data, given, training, versions()
            )
            outcomes.append(
                ec.run_pass(
                    model,
                    step,
                    before=(*done, *passes[:index]),
                    data=given,
                    training=training if step is passes[-1] else untrained,
                    progress=epoch_reporter(name, progress),
                    parent=parent.model,
                    scanned=scanned(run, scannable, step, place, progress),
                )
            )
            model = outcomes[-1].model
        outcome = outcomes[-1]
        ec.save_stage(outcome.model, folder)
        stage = Stage(
            recipe=name,
            name=added,
            seconds=round(monotonic() - start, 2),
            epochs=outcome.trained.epochs,
            history=outcome.trained.history,
            changed=tuple(text for each in outcomes for text in each.changed),
            skipped=tuple(left for each in outcomes for left in each.skipped),
            best_epoch=outcome.trained.best_epoch,
            trainable_parameters=outcome.trainable_parameters,
            other_parameters=outcome.other_parameters,
            accuracy_before=outcomes[0].accuracy_before,
            accuracy_after=outcome.accuracy_after,
            metric=data.task.metric if data else "accuracy",
            proof=outcome.proof,
            notes=tuple(text for each in outcomes for text in each.notes),
        )
        decisions = [decision for each in outcomes for decision in each.decisions]
        layers = [asdict(_saving(decision, name)) for decision in decisions]
        content = _weights_key(outcome.model)
        return {"stage": asdict(stage), "layers": layers, "content": content}

    label = f"stage {name}"
    folder, reused = stage_folder(run, key, label, make, progress)
    facts = read_facts(folder)
    try:
        stage, layers = _told(facts, reused)
        content = str(facts["content"])
    except UNREADABLE as error:
        raise unreadable(folder, label, error, reused) from error

    def load() -> Any:
        try:
            return ec.load_stage(folder, safe=parent.safe)
        except ec.ConverterError as error:
            if reused:
                raise StageDamageError(folder, label, str(error)) from error
            raise RunError(f"The {label} was stored but cannot be read again: {error}") from error

    # Trained again after damage, it may have other weights, which ask for other successors.
    left = content_key({"stage": key, "content": content})
    return Staged(left, (*staged.stages, stage), (*staged.layers, *layers), load)


def _weights_key(model: Any) -> str:
    """Tells weights from others, which the bytes of the files do not: they hold a date."""
    import edgekit_converters as ec

    # What quantisation-aware training gives keeps the weights from before it beside its own.
    trained = model if ec.architecture(model) is model else model.trained
    digest = hashlib.sha256()
    for weight in trained.get_weights():
        digest.update(np.ascontiguousarray(weight).data)
    return digest.hexdigest()


def training_data(data: Dataset) -> TrainingData:
    """What training sees of a data set, with the task's metric to rate it by."""
    import edgekit_converters as ec

    train, validation = data.train, data.validation
    task = data.task
    return ec.TrainingData(
        (train.x, train.y),
        (validation.x, validation.y),
        data.classes,
        task.kind,
        lambda outputs, targets, objective: task.mean(outputs, targets, objective.from_logits),
    )


def _saving(decision: Any, recipe: str) -> LayerSaving:
    return LayerSaving(
        layer=decision.path,
        case=decision.case or "",
        action=str(decision.substitute or decision.reason),
        parameters_before=decision.parameters_before,
        parameters_after=decision.parameters_after,
        macs_before=decision.macs_before,
        macs_after=decision.macs_after,
        substituted=decision.substitute is not None,
        recipe=recipe,
    )


def _told(facts: dict[str, Any], reused: bool) -> tuple[Stage, tuple[LayerSaving, ...]]:
    """What a finished stage tells of itself."""
    stage = facts["stage"]
    told = Stage(
        **{
            **stage,
            "changed": tuple(stage["changed"]),
            "notes": tuple(stage["notes"]),
            "skipped": tuple((layer, reason) for layer, reason in stage["skipped"]),
            "proof": tuple(LayerProof(**proof) for proof in stage["proof"]),
            "reused": reused,
        }
    )
    return told, tuple(LayerSaving(**layer) for layer in facts["layers"])


def epoch_reporter(name: str, progress: Listener) -> Callable[[int, int, dict[str, float]], None]:
    """Tells a listener of each epoch of `name`, and of each layer that inherits."""

    def report(epoch: int, epochs: int, metrics: dict[str, float]) -> None:
        if "explained" in metrics:
            detail = f"layer {epoch} of {epochs}: explains {metrics['explained']:.1%}"
            progress(Step(f"fit {name}", epoch / epochs, detail))
            return
        watched = [key for key in metrics if key.startswith("val_") and key != "val_loss"]
        shown = (
            f"{key.replace('val_', 'validation ')} {metrics[key]:.3f}"
            for key in ("loss", *watched)
            if key in metrics
        )
        detail = f"epoch {epoch} of {epochs}: {', '.join(shown)}"
        progress(Step(f"train {name}", epoch / epochs, detail))

    return report
