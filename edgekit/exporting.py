"""A recipe's file as a stage of the run folder: converted, proved, scored once, then published."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.comparison import LayerSaving, Metric, Stage
from edgekit.data import Dataset
from edgekit.disk import check_temporary, publish, storing
from edgekit.progress import Listener, Step
from edgekit.stages import Staged, versions
from edgekit.store import (
    UNREADABLE,
    content_key,
    file_name,
    read_facts,
    stage_folder,
    unreadable,
)
from edgekit.tasks import CLASSIFICATION, Scored, score_file
from edgekit_converters.passes import NpuQat, Qat
from edgekit_converters.proof import FileProof, FloatOperator, WeightTensor
from edgekit_device import Number
from edgekit_device.codec import decode, encode

if TYPE_CHECKING:
    from edgekit_converters.recipe import Recipe


@dataclass(frozen=True)
class Optimized:
    """One recipe's file with its cost and how it answers.

    `accuracy` is the mean of the task's main `metric`, `scores` that metric of each test sample (of
    labels 1 or 0), `metrics` are the task's others. `keras_difference` is the file's largest
    difference from the Keras model on the golden inputs, relative to the output's range.
    `from_logits` says how a single output unit decides, `proof` is what stands in the file.
    """

    recipe: str
    file: Path
    accuracy: Number
    parameters: Number
    macs: Number
    file_bytes: Number
    gzip_bytes: Number
    zstd_bytes: Number
    sha256: str
    keras_difference: Number
    scores: tuple[float, ...]
    from_logits: bool
    stages: tuple[Stage, ...]
    layers: tuple[LayerSaving, ...]
    proof: FileProof
    metric: str = CLASSIFICATION.metric
    metrics: tuple[Metric, ...] = ()


@dataclass(frozen=True)
class Samples:
    """What a file is calibrated with (one array per model input) and scored on."""

    calibration: Sequence[Any] | None
    data: Dataset | None

    @property
    def key(self) -> dict[str, Any]:
        """What tells these samples from others."""
        digest = hashlib.sha256()
        for array in self.calibration or ():
            digest.update(f"{array.shape}{array.dtype}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return {
            "calibration": digest.hexdigest(),
            "data": self.data.fingerprint if self.data else None,
        }


def export(
    run: Path,
    staged: Staged,
    recipe: Recipe,
    samples: Samples,
    *,
    folder: str,
    batch: int | None,
    progress: Listener,
) -> Optimized:
    """The recipe's file from the model that its passes led to, in `run`/`folder`.

    Raises:
        StageDamageError: it was done earlier and cannot be used.
        ConverterError, DiskError, RunError: with what to do.
    """
    name, text = file_name(str(recipe)), str(recipe)
    key = content_key(
        {
            "parent": staged.key,
            "recipe": text,
            "export": str(recipe.export),
            "batch": batch,
            "samples": samples.key,
            "versions": versions(),
        }
    )

    def make(partial: Path) -> dict[str, Any]:
        file = partial / f"{name}.tflite"
        return _converted(file, staged, recipe, samples, batch, progress)

    label = f"file of {text}"
    stored, reused = stage_folder(run, key, label, make, progress)
    facts = read_facts(stored)
    try:
        done = _told(facts, text, staged, samples, run / folder / f"{name}.tflite")
    except UNREADABLE as error:
        raise unreadable(stored, label, error, reused) from error
    with storing(run, f"the {label}"):
        # The model last: whoever sees it finds its manifest.
        for suffix in (".golden.npz", ".manifest.json", ".tflite"):
            publish(stored / f"{name}{suffix}", run / folder / f"{name}{suffix}")
    return done


def _converted(
    file: Path,
    staged: Staged,
    recipe: Recipe,
    samples: Samples,
    batch: int | None,
    progress: Listener,
) -> dict[str, Any]:
    """Writes the file with all that stands beside it and returns what is to be kept of it."""
    import edgekit_converters as ec

    model, data = staged.load(), samples.data
    plain = ec.architecture(model)
    progress(Step(f"export {recipe}"))
    representative = None if samples.calibration is None else list(samples.calibration)
    try:
        done = ec.export_tflite(
            model, recipe.export, file, representative=representative, recipe=recipe, batch=batch
        )
    except ec.ExportError:
        # A full disk for temporary files makes TensorFlow write a useless file without a word.
        check_temporary(2 * sum(weight.nbytes for weight in plain.get_weights()))
        raise
    proof = _proved(file, staged, recipe)
    scored, from_logits = Scored(()), False
    if data is not None:
        progress(Step(f"score {recipe}"))
        from_logits = ec.objective_for(plain, data.targets).from_logits
        scored = score_file(data.task, file, data.test.x, data.test.y, from_logits)
        value = data.task.number(scored.samples).to_json()
        ec.note_task(done, {"name": data.name, "metric": data.task.metric, **value})
    seen = ec.inspect_model(plain)
    return {
        "parameters": Number.counted(seen.parameters).to_json(),
        "macs": _macs(seen).to_json(),
        "file_bytes": done.file_bytes,
        "gzip_bytes": done.gzip_bytes,
        "zstd_bytes": done.zstd_bytes,
        "sha256": done.sha256,
        "keras_difference": done.keras_difference,
        "scores": list(scored.samples),
        "metrics": [encode(metric) for metric in scored.metrics],
        "from_logits": from_logits,
        "proof": asdict(proof),
    }


def _proved(file: Path, staged: Staged, recipe: Recipe) -> FileProof:
    """What stands in the file, held against what the last pass left in the Keras model."""
    import edgekit_converters as ec

    last = staged.stages[-1] if staged.stages else None
    trained_int8 = bool(recipe.rewrites) and isinstance(recipe.rewrites[-1], Qat | NpuQat)
    reasons = {**dict(last.skipped), **_half(last.changed)} if last and trained_int8 else {}
    return ec.prove_file(file, last.proof if last else (), reasons)


def _half(changed: Sequence[str]) -> dict[str, str]:
    """What quantisation-aware training says of layers that it rounds at their output alone."""
    told = (text.partition(": ") for text in changed)
    return {path: what for path, _, what in told if what.startswith("its output is rounded")}


def _told(
    facts: dict[str, Any], recipe: str, staged: Staged, samples: Samples, file: Path
) -> Optimized:
    scores = tuple(float(score) for score in facts["scores"])
    task = samples.data.task if samples.data else CLASSIFICATION
    unknown = Number.unavailable("no data were given")
    return Optimized(
        recipe=recipe,
        file=file,
        accuracy=task.number(scores) if samples.data else unknown,
        parameters=Number.from_json(facts["parameters"]),
        macs=Number.from_json(facts["macs"]),
        file_bytes=Number.counted(facts["file_bytes"]),
        gzip_bytes=Number.counted(facts["gzip_bytes"]),
        zstd_bytes=Number.counted(facts["zstd_bytes"]),
        sha256=facts["sha256"],
        keras_difference=Number.measured(facts["keras_difference"]),
        scores=scores,
        metric=task.metric,
        metrics=tuple(decode(Metric, metric, "metric") for metric in facts["metrics"]),
        from_logits=facts["from_logits"],
        stages=staged.stages,
        layers=staged.layers,
        proof=_proof(facts["proof"]),
    )


def _proof(facts: dict[str, Any]) -> FileProof:
    return FileProof(
        **{
            **facts,
            "floats": tuple(FloatOperator(**item) for item in facts["floats"]),
            "weights": tuple(WeightTensor(**item) for item in facts["weights"]),
            "not_found": tuple(facts["not_found"]),
        }
    )


def _macs(seen: Any) -> Number:
    if seen.not_counted:
        named = ", ".join(seen.not_counted[:3]) + (", …" if len(seen.not_counted) > 3 else "")
        return Number.unavailable(f"MACs of {named} cannot be counted")
    return Number.counted(seen.macs)
