"""Keras in, .tflite out: with a manifest and golden outputs beside the file."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import platform
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from edgekit_converters.errors import ExportError
from edgekit_converters.golden import make_golden
from edgekit_converters.graph import functional, input_keys, output_keys
from edgekit_converters.quiet import quiet
from edgekit_converters.recipe import Quantize, Recipe
from edgekit_converters.tflite import RUNTIME

MANIFEST_SCHEMA = "edgekit.manifest/1"
_RANDOM_SAMPLES = 4


@dataclass(frozen=True)
class Exported:
    """A written file: its size raw and under gzip -9, and what was written beside it.

    `keras_difference` is the largest difference from the Keras model over all outputs, relative to
    each output's range, on the golden inputs.
    """

    path: Path
    manifest: Path
    golden: Path
    file_bytes: int
    gzip_bytes: int
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
        model: Keras 3 model; it is not changed.
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
    samples = _check_samples(model, quantize, representative, batch or 1)
    content = _convert(model, quantize, samples, batch)
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
        digest,
        max(golden.keras_difference),
    )


def check_input_shapes(model: Any) -> None:
    """Refuses a model whose inputs have open sizes, before time is spent on it.

    Raises:
        ExportError: naming the input.
    """
    for tensor in model.inputs:
        _sample_shape(tensor)


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
            generator.random((_RANDOM_SAMPLES, *_sample_shape(tensor))).astype(tensor.dtype)
            for tensor in model.inputs
        ]
    if len(given) != len(model.inputs):
        raise ExportError(
            f"The representative set has {len(given)} arrays but the model has "
            f"{len(model.inputs)} inputs; give one array per input, in the model's order."
        )
    for array, tensor in zip(given, model.inputs, strict=True):
        wanted = _sample_shape(tensor)
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


def _sample_shape(tensor: Any) -> tuple[int, ...]:
    shape = tuple(tensor.shape[1:])
    if any(size is None for size in shape):
        raise ExportError(
            f"The model's input {tensor.name!r} has the open shape {shape}; a delegate needs fixed "
            "sizes. Build the model with keras.Input(shape=…) of the size it will see."
        )
    return shape


def _convert(model: Any, quantize: Quantize, samples: list[Any], batch: int | None) -> bytes:
    specs = [
        tf.TensorSpec((batch, *_sample_shape(tensor)), tensor.dtype, name=key)
        for key, tensor in zip(input_keys(model), model.inputs, strict=True)
    ]
    try:
        with quiet(), warnings.catch_warnings():
            # The calibrator uses TensorFlow's own interpreter, which announces its end.
            warnings.simplefilter("ignore", UserWarning)
            return _converted(model, quantize, specs, samples, batch or 1)
    except Exception as error:
        raise ExportError(
            f"TensorFlow cannot convert {model.name!r} to {quantize.scheme}: "
            f"{_first_line(str(error))}"
        ) from error


def _converted(
    model: Any, quantize: Quantize, specs: list[Any], samples: list[Any], batch: int
) -> bytes:
    module = _Forward(model, output_keys(model))
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [module.forward.get_concrete_function(*specs)], module
    )
    if quantize.scheme == "float16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    elif quantize.scheme == "dynamic":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        # Without this FULLY_CONNECTED becomes version 12, which tflite-runtime 2.14 does not know.
        converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    elif quantize.scheme in ("int8", "int16x8"):
        _calibrate(converter, quantize, input_keys(model), samples, batch)
    return bytes(converter.convert())


class _Forward(tf.Module):  # type: ignore[misc]
    """The model as one function; holding its variables lets the converter freeze them."""

    def __init__(self, model: Any, outputs: list[str]) -> None:
        super().__init__()
        self.held = [variable.value for variable in model.variables]
        structure = functional(model).input

        def forward(*inputs: Any) -> Any:
            # A Sequential itself, not the graph behind it, whose name changes between processes.
            result = model(keras.tree.pack_sequence_as(structure, inputs), training=False)
            return dict(zip(outputs, keras.tree.flatten(result), strict=True))

        self.forward = tf.function(forward, autograph=False)


def _calibrate(
    converter: Any, quantize: Quantize, keys: list[str], samples: list[Any], batch: int
) -> None:
    def batches() -> Iterator[dict[str, Any]]:
        # By name: the file has its inputs in an order of its own.
        for start in range(0, len(samples[0]) - batch + 1, batch):
            yield {
                key: array[start : start + batch] for key, array in zip(keys, samples, strict=True)
            }

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = batches
    if quantize.scheme == "int8":
        integer_ops, kind = tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.int8
    else:
        integer_ops = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        kind = tf.int16
    # The float builtins let an operation without an integer kernel stay float instead of failing.
    converter.target_spec.supported_ops = [integer_ops, tf.lite.OpsSet.TFLITE_BUILTINS]
    if quantize.io == "int":
        converter.inference_input_type = kind
        converter.inference_output_type = kind


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


def _first_line(text: str) -> str:
    return next(
        (line.strip()[:300] for line in text.splitlines() if line.strip()), "no reason given"
    )
