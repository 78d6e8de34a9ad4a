"""Keras in, .tflite out: with a manifest and golden outputs beside the file."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import platform
import tempfile
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

from edgekit_converters.conversion import convert, sample_shape
from edgekit_converters.errors import ExportError
from edgekit_converters.forward import architecture
from edgekit_converters.golden import make_golden
from edgekit_converters.passes import Quantize
from edgekit_converters.recipe import Recipe
from edgekit_converters.tflite import RUNTIME

MANIFEST_SCHEMA = "edgekit.manifest/1"
_RANDOM_SAMPLES = 4
_ZSTD_LEVEL = 19


@dataclass(frozen=True)
class Exported:
    """A written file: its size raw, under gzip -9 and zstd -19, and what was written beside it.

    `keras_difference` is the largest difference from the Keras model over all outputs, relative to
    each output's range, on the golden inputs.
    """

    path: Path
    manifest: Path
    golden: Path
    file_bytes: int
    gzip_bytes: int
    zstd_bytes: int
    sha256: str
    keras_difference: float


def export_tflite(
    model: Any,
    quantize: Quantize,
    path: str | Path,
    *,
    representative: list[Any] | None = None,
    recipe: Recipe | None = None,
    task: dict[str, Any] | None = None,
    batch: int | None = 1,
) -> Exported:
    """Converts the model and writes `path`, its manifest and its golden inputs and outputs.

    Args:
        model: Keras 3 model, or what quantisation-aware training gave; it is not changed.
        quantize: scheme and the type of inputs and outputs.
        path: the .tflite file to write.
        representative: one array per model input, samples first; calibrates int8 and int16x8 and
            gives the golden inputs. Without it golden inputs are random.
        recipe: named in the manifest.
        task: what the manifest says of the task (name, metric, value).
        batch: fixed batch size; None leaves it open, which delegates refuse.

    Raises:
        ExportError: calibration data missing or unfit, or the converter refuses the model.
    """
    plain = architecture(model)
    samples = _check_samples(plain, quantize, representative, batch or 1)
    content = convert(model, quantize, samples, batch)
    path = Path(path)
    digest = hashlib.sha256(content).hexdigest()
    with tempfile.TemporaryDirectory() as folder:  # a file that fails its check is never seen
        trial = Path(folder) / path.name
        trial.write_bytes(content)
        golden = make_golden(trial, model, quantize, samples, batch or 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, content)
    golden_path = path.with_suffix(".golden.npz")
    buffer = io.BytesIO()
    np.savez(buffer, **golden.arrays)
    _write(golden_path, buffer.getvalue())
    manifest = {
        "schema": MANIFEST_SCHEMA,
        "file": path.name,
        "sha256": digest,
        "bytes": len(content),
        "recipe": str(recipe if recipe is not None else Recipe((quantize,))),
        "scheme": quantize.scheme,
        "versions": _versions(),
        "inputs": [asdict(tensor) for tensor in golden.signature.inputs],
        "outputs": [asdict(tensor) for tensor in golden.signature.outputs],
        "task": task,
        "golden": {
            "file": golden_path.name,
            "sha256": hashlib.sha256(buffer.getvalue()).hexdigest(),
            "samples": golden.samples,
            "runtime": RUNTIME,
            "tolerance": golden.tolerance,
            "keras_difference": golden.keras_difference,
        },
    }
    manifest_path = path.with_suffix(".manifest.json")
    _write(manifest_path, (json.dumps(manifest, indent=1) + "\n").encode())
    return Exported(
        path,
        manifest_path,
        golden_path,
        len(content),
        len(gzip.compress(content, 9, mtime=0)),
        len(zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(content)),
        digest,
        max(golden.keras_difference),
    )


def note_task(exported: Exported, task: dict[str, Any]) -> None:
    """Adds to the manifest what the file scored on its task, once that is known."""
    manifest = json.loads(exported.manifest.read_text())
    manifest["task"] = task
    _write(exported.manifest, (json.dumps(manifest, indent=1) + "\n").encode())


def _check_samples(
    model: Any, quantize: Quantize, given: list[Any] | None, batch: int
) -> list[Any]:
    needs = quantize.scheme in ("int8", "int16x8")
    if given is None and needs:
        raise ExportError(
            f"{quantize.scheme} needs representative inputs to calibrate its scales; give some "
            "hundred training samples (--data or --calibration, representative=…)."
        )
    if given is None:
        generator = np.random.default_rng(0)
        return [
            generator.random((_RANDOM_SAMPLES, *sample_shape(tensor))).astype(tensor.dtype)
            for tensor in model.inputs
        ]
    if len(given) != len(model.inputs):
        raise ExportError(
            f"The representative set has {len(given)} arrays but the model has "
            f"{len(model.inputs)} inputs; give one array per input, in the model's order."
        )
    for array, tensor in zip(given, model.inputs, strict=True):
        wanted = sample_shape(tensor)
        if array.ndim == 0 or len(array) == 0 or tuple(array.shape[1:]) != wanted:
            raise ExportError(
                f"The representative set of input {tensor.name!r} has shape {array.shape}; it must "
                f"be (samples, {', '.join(map(str, wanted))}) with at least one sample."
            )
        if not np.isfinite(array).all():
            raise ExportError(
                f"The representative set of input {tensor.name!r} holds NaN or infinite values, "
                "which would make every scale wrong; remove those samples."
            )
    counts = {len(array) for array in given}
    if len(counts) > 1 or (needs and min(counts) < batch):
        raise ExportError(
            f"The representative set has {', '.join(map(str, sorted(counts)))} samples; every "
            f"input needs as many as the others and at least one batch ({batch})."
        )
    return [
        np.asarray(array, dtype=tensor.dtype)
        for array, tensor in zip(given, model.inputs, strict=True)
    ]


def _versions() -> dict[str, str]:
    named = {"tensorflow": "tensorflow", "keras": "keras", "numpy": "numpy"}
    return {
        "edgekit-converters": version("edgekit-converters"),
        **{key: version(name) for key, name in named.items()},
        "python": platform.python_version(),
    }


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)
