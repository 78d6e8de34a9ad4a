"""One pass of a recipe on a Keras model, and the model as files between passes."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np

from edgekit_converters.activations import activations
from edgekit_converters.distill import distill
from edgekit_converters.errors import ModelLoadError, RecipeError, RewriteError
from edgekit_converters.forward import architecture
from edgekit_converters.graph import inner_layers
from edgekit_converters.lcrm.applying import lcrm
from edgekit_converters.lcrm.automatic import Scanned
from edgekit_converters.load import load_model
from edgekit_converters.low_rank import low_rank
from edgekit_converters.outcome import Outcome
from edgekit_converters.passes import (
    Activations,
    Cluster,
    Distill,
    Lcrm,
    LowRank,
    NpuQat,
    Pass,
    Prune,
    Qat,
)
from edgekit_converters.recipe import Recipe, parse_recipe
from edgekit_converters.train import Progress, Training, TrainingData, check_data, set_seed

_MODEL = "model.keras"
_ROUNDED = "rounded.npz"
_RECIPE = "rounded.json"
_DAMAGE = (
    OSError,
    EOFError,
    KeyError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    RecipeError,
    RewriteError,
)
"""What reading damaged facts and weights raises."""


def run_pass(
    model: Any,
    step: Pass,
    *,
    before: tuple[Pass, ...] = (),
    data: TrainingData | None = None,
    training: Training | None = None,
    progress: Progress | None = None,
    parent: Any = None,
    scanned: Scanned | None = None,
) -> Outcome:
    """Applies one pass to a copy of the model and, where there are data, trains it.

    Args:
        model: what `load_model` or an earlier pass gave; it stays as it is.
        step: the pass.
        before: the passes that led to the model, whose zeros and clusters are to be kept.
        data: training and validation samples; None leaves the model untrained.
        training: how to train.
        progress: called after each epoch, and after each layer that inherits.
        parent: the trained model that the recipe starts from; distillation's teacher.
        scanned: what `lcrm(auto=true)` chooses from.

    Raises:
        ConverterError: options that do not fit the model, or a result that breaks what was asked.
    """
    training = training or Training()
    if data is not None:
        check_data(model, data)
    set_seed(training.seed, training.deterministic)
    if isinstance(step, Lcrm):
        return lcrm(model, step, data, training, progress, scanned)
    if isinstance(step, Activations):
        return activations(model, step, data, training, progress)
    if isinstance(step, LowRank):
        return low_rank(model, step, data, training, progress)
    if isinstance(step, Distill):
        if parent is None:
            raise RecipeError(f"{step} needs a teacher; give run_pass(parent=…) the trained model.")
        return distill(model, parent, step, data, training, progress)
    if isinstance(step, Prune):
        from edgekit_converters.cascades.prune import prune

        return prune(model, step, data, training, progress)
    if isinstance(step, Cluster):
        from edgekit_converters.cascades.cluster import cluster

        return cluster(model, step, before, data, training, progress)
    if isinstance(step, Qat | NpuQat):
        from edgekit_converters.cascades.qat import quantize_aware

        return quantize_aware(model, step, before, data, training, progress)
    raise RecipeError(f"{step} is done when the file is written; give it to export_tflite.")


def training_facts(step: Pass, training: Training) -> dict[str, Any]:
    """The settings of the training that matter to one pass: part of its stage's content key."""
    facts = asdict(training)
    unused = ["epochs", "learning_rate"]
    if isinstance(step, Lcrm):
        unused = ["tuning_epochs", "tuning_learning_rate"]
    if isinstance(step, Distill):
        unused = ["epochs", "patience", "tuning_epochs", "tuning_learning_rate"]
    if not _counts_energy(step):
        unused.append("energy_costs")
    return {name: value for name, value in facts.items() if name not in unused}


def _counts_energy(step: Pass) -> bool:
    if isinstance(step, Prune):
        return step.allocation == "energy"
    return isinstance(step, NpuQat) and step.energy_aware > 0


def save_stage(model: Any, folder: Path) -> None:
    """Writes a pass's result into the folder; classes of the user's own become known to Keras.

    So this process can read the files again without being told of them.
    """
    save_model(architecture(model), folder / _MODEL)
    if not isinstance(model, keras.Model):
        weights = model.trained.get_weights()
        with (folder / _ROUNDED).open("wb") as file:
            np.savez(file, **{f"weight_{i}": value for i, value in enumerate(weights)})
        recipe = Recipe((*model.before, model.step))
        facts = {"recipe": str(recipe), "caution": model.caution}
        (folder / _RECIPE).write_text(json.dumps(facts) + "\n")


def load_stage(folder: Path, *, safe: bool = True) -> Any:
    """Reads what `save_stage` wrote.

    Raises:
        ModelLoadError: the files are damaged.
    """
    model = load_model(folder / _MODEL, safe=safe)
    if not (folder / _RECIPE).exists():
        return model
    from edgekit_converters.cascades.qat import rebuild

    try:
        facts = json.loads((folder / _RECIPE).read_text())
        *before, step = parse_recipe(facts["recipe"]).passes
        with (folder / _ROUNDED).open("rb") as file, np.load(file) as arrays:
            weights = [arrays[f"weight_{i}"] for i in range(len(arrays.files))]
        if not isinstance(step, Qat | NpuQat) or not isinstance(facts["caution"], int):
            raise ValueError(f"its facts are {facts}")
        return rebuild(model, step, tuple(before), weights, facts["caution"])
    except _DAMAGE as error:
        reason = str(error) or type(error).__name__
        raise ModelLoadError(f"The quantised model in {folder} is damaged: {reason}") from error


def save_model(model: Any, path: Path) -> None:
    """Writes the model as `.keras`; classes of the user's own are known to Keras from then on."""
    known = keras.saving.get_custom_objects()
    for layer in inner_layers(model):
        cls = type(layer)
        if not cls.__module__.startswith("keras."):
            known.setdefault(keras.saving.get_registered_name(cls), cls)
    model.save(path)


def fingerprint(model: Any) -> str:
    """Content key of a model: its architecture and every weight."""
    digest = hashlib.sha256(model.to_json().encode())
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).data)
    return digest.hexdigest()
