"""One recipe: a Keras model in, a .tflite file and what was done out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.comparison import LayerSaving, Stage
from edgekit.data import Dataset, load_calibration, load_data
from edgekit.data.sources import Pixels, Source
from edgekit.evaluate import accuracy as measured_accuracy
from edgekit.progress import Listener, Step, silent
from edgekit.stages import Parent, run_stages
from edgekit.store import content_key, file_name, open_run
from edgekit_device import Number

if TYPE_CHECKING:
    from edgekit_converters import Training
    from edgekit_converters.recipe import Recipe

_CALIBRATION_SAMPLES = 200


@dataclass(frozen=True)
class Optimized:
    """One recipe's file with its cost, its accuracy, and which test samples it got right.

    `keras_difference` is the file's largest difference from the Keras model on the golden inputs,
    relative to the output's range.
    """

    recipe: str
    file: Path
    accuracy: Number
    parameters: Number
    macs: Number
    file_bytes: Number
    gzip_bytes: Number
    sha256: str
    keras_difference: Number
    correct: tuple[bool, ...]
    stages: tuple[Stage, ...]
    layers: tuple[LayerSaving, ...]


def load_parent(
    source: str | Path | Any,
    *,
    seed: int = 0,
    safe: bool = True,
    custom_objects: str | Path | None = None,
) -> Parent:
    """The parent from a file, `file.py:function`, or a Keras model already at hand."""
    import edgekit_converters as ec

    ec.set_seed(seed)
    given = isinstance(source, str | Path)
    model = ec.load_model(source, custom_objects=custom_objects, safe=safe) if given else source
    ec.check_graph(model)
    # What the user's own layers compute stands in their code, not in the model.
    files = [custom_objects, str(source).rpartition(":")[0] if given else None]
    code = [Path(file).read_text() for file in files if file and str(file).endswith(".py")]
    return Parent(model, content_key({"parent": ec.fingerprint(model), "code": code}), safe)


def load_data_for(
    parent: Parent, source: Source, *, seed: int = 0, pixels: Pixels = "unit"
) -> Dataset:
    """The data set, checked against the model's one input and its class output.

    Raises:
        DataError, TrainingError: they do not fit one another.
    """
    import edgekit_converters as ec
    from edgekit.errors import DataError

    if len(parent.model.inputs) != 1:
        names = ", ".join(tensor.name for tensor in parent.model.inputs)
        raise DataError(
            f"{parent.model.name!r} has {len(parent.model.inputs)} inputs ({names}); training and "
            "scoring here take one array per sample. Convert it without them: edgekit optimize "
            "MODEL --recipe int8 --calibration FILE.npz."
        )
    shape = tuple(parent.model.inputs[0].shape[1:])
    data = load_data(source, shape, seed=seed, pixels=pixels)
    ec.classification_objective(parent.model, data.classes)
    return data


def optimize(
    model: Parent | str | Path | Any,
    recipe: Recipe | str = "lcrm+int8",
    data: Source | None = None,
    *,
    out: str | Path = "edgekit-runs",
    folder: str = "optimized",
    batch: int | None = 1,
    calibration: str | Path | None = None,
    training: Training | None = None,
    progress: Listener = silent,
) -> Optimized:
    """Carries out one recipe and writes its .tflite file with manifest and golden outputs.

    Without data nothing is trained, and schemes with integer activations need `calibration`: an
    .npz file with one array per model input, under its name. `batch` is the file's fixed batch
    size; None leaves it open, which accelerators refuse. The file lands in `out`/`folder`, the
    trained stages in `out`/stages.

    Raises:
        ConverterError, EdgeKitError: with what to do.
    """
    import edgekit_converters as ec

    recipe = ec.parse_recipe(recipe) if isinstance(recipe, str) else recipe
    training = training or ec.Training()
    parent = model if isinstance(model, Parent) else load_parent(model, seed=training.seed)
    if data is not None and not isinstance(data, Dataset):
        data = load_data_for(parent, data, seed=training.seed)
    ec.check_input_shapes(parent.model)
    run = open_run(out)
    staged = run_stages(run, parent, recipe, data, training, progress)
    progress(Step(f"export {recipe}"))
    file = run / folder / f"{file_name(str(recipe))}.tflite"
    samples = [calibration_samples(data, training.seed)] if data else None
    if calibration is not None:
        names = [tensor.name for tensor in parent.model.inputs]
        samples = load_calibration(Path(calibration), names)
    done = ec.export_tflite(
        staged.model, recipe.export, file, representative=samples, recipe=recipe, batch=batch
    )
    correct: tuple[bool, ...] = ()
    accuracy = Number.unavailable("no data were given")
    if data is not None:
        progress(Step(f"score {recipe}"))
        objective = ec.classification_objective(staged.model, data.classes)
        correct = tuple(
            ec.correct(file, data.test.x, data.test.y, from_logits=objective.from_logits)
        )
        accuracy = measured_accuracy(correct)
        ec.note_task(done, {"name": data.name, "metric": "accuracy", **accuracy.to_json()})
    seen = ec.inspect_model(staged.model)
    return Optimized(
        recipe=str(recipe),
        file=file,
        accuracy=accuracy,
        parameters=Number.counted(seen.parameters),
        macs=_macs(seen),
        file_bytes=Number.counted(done.file_bytes),
        gzip_bytes=Number.counted(done.gzip_bytes),
        sha256=done.sha256,
        keras_difference=Number.measured(done.keras_difference),
        correct=correct,
        stages=staged.stages,
        layers=staged.layers,
    )


def calibration_samples(data: Dataset, seed: int) -> Any:
    """A seeded draw from the training samples, for the scales of quantised files."""
    order = np.random.default_rng(seed).permutation(len(data.train))
    return data.train.x[order[:_CALIBRATION_SAMPLES]]


def _macs(seen: Any) -> Number:
    if seen.not_counted:
        named = ", ".join(seen.not_counted[:3]) + (", …" if len(seen.not_counted) > 3 else "")
        return Number.unavailable(f"MACs of {named} cannot be counted")
    return Number.counted(seen.macs)
