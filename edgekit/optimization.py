"""One recipe: a Keras model in, a .tflite file and what was done out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.data import Dataset, load_calibration, load_data
from edgekit.data.images import Pixels
from edgekit.data.sources import Source
from edgekit.exporting import Optimized, Samples, export
from edgekit.journal import alone, under_way
from edgekit.progress import Listener, silent
from edgekit.stages import Parent, run_stages
from edgekit.store import StageDamageError, content_key, open_run, set_aside

if TYPE_CHECKING:
    from edgekit_converters import Training
    from edgekit_converters.recipe import Recipe

_CALIBRATION_SAMPLES = 200


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
    """The data set, checked against the model's one input and its one output.

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
    ec.objective_for(parent.model, data.targets)
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
    size; None leaves it open, which accelerators refuse. The file lands in `out`/`folder`, what it
    was made of in `out`/stages, where the next run finds it.

    Raises:
        ConverterError, EdgeKitError: with what to do.
    """
    import edgekit_converters as ec

    recipe = ec.parse_recipe(recipe) if isinstance(recipe, str) else recipe
    training = training or ec.Training()
    parent = model if isinstance(model, Parent) else load_parent(model, seed=training.seed)
    if data is not None and not isinstance(data, Dataset):
        data = load_data_for(parent, data, seed=training.seed)
    ec.check_convertible(parent.model)
    given: Sequence[Any] | None = [calibration_samples(data, training.seed)] if data else None
    if calibration is not None:
        names = [tensor.name for tensor in parent.model.inputs]
        given = load_calibration(Path(calibration), names)
    run = open_run(out)
    with (
        alone(run, f"optimize {recipe}") as entry,
        under_way(run, "optimize", entry, progress),
    ):
        return carry_out(
            run,
            parent,
            recipe,
            Samples(given, data),
            folder=folder,
            batch=batch,
            training=training,
            progress=progress,
        )


def carry_out(
    run: Path,
    parent: Parent,
    recipe: Recipe,
    samples: Samples,
    *,
    folder: str,
    batch: int | None = 1,
    training: Training,
    progress: Listener,
) -> Optimized:
    """One recipe in an open run folder that nobody else works in.

    Raises:
        ConverterError, EdgeKitError: with what to do.
    """
    while True:
        try:
            staged = run_stages(run, parent, recipe, samples.data, training, progress)
            return export(
                run, staged, recipe, samples, folder=folder, batch=batch, progress=progress
            )
        except StageDamageError as found:
            # Done in this process it is not damaged, so this ends.
            set_aside(run, found, progress)


def calibration_samples(data: Dataset, seed: int) -> Any:
    """A seeded draw from the training samples, for the scales of quantised files."""
    order = np.random.default_rng(seed).permutation(len(data.train))
    return data.train.x[order[:_CALIBRATION_SAMPLES]]
