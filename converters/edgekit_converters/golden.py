"""Golden inputs and outputs: what lets a device prove that it computes what the converter did."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgekit_converters.errors import ExportError
from edgekit_converters.forward import architecture, forward
from edgekit_converters.graph import input_keys, output_keys
from edgekit_converters.passes import Quantize
from edgekit_converters.tflite import Signature, Tensor, open_file

_GOLDEN_SAMPLES = 4
_FLOOR = {"float32": 1e-4, "float16": 1e-4, "dynamic": 1e-2, "int8": 2e-2, "int16x8": 2e-3}
"""Least allowed difference between runtimes, relative to the output's range, by scheme."""


_CEILING = 0.1
"""Most that runtimes may ever differ, relative to the output's range."""

_KERAS_DIFFERENCE = {"float32": 1e-3, "float16": 5e-2}
"""Most that a float file may differ from the Keras model, relative to the output's range."""

_ROUNDED_DIFFERENCE = 0.1
"""Most that a file may differ from a model that has its int8 rounding built in."""


@dataclass(frozen=True)
class Golden:
    """Raw inputs and outputs of a file by array name, and how far another runtime may be off.

    `tolerance` is in real units, for integer outputs in quantisation steps; `keras_difference` is
    the file's own distance from the Keras model, relative to each output's range.
    """

    signature: Signature
    arrays: dict[str, Any]
    samples: int
    tolerance: list[float]
    keras_difference: list[float]


def make_golden(
    path: Path, model: Any, quantize: Quantize, samples: list[Any], batch: int
) -> Golden:
    """Runs the file on its first samples with plain and optimised kernels, and the model beside it.

    The tolerance is four times what the two kinds of kernels differ by on this machine, but no less
    than the scheme's floor (integer outputs: 2 steps) and no more than a tenth of the range.

    Raises:
        ExportError: an output is no number, or a float file does not compute what the model does.
    """
    plain = architecture(model)
    keys, names = input_keys(plain), output_keys(plain)
    signature, fast = open_file(path, inputs=keys, outputs=names)
    try:
        _, reference = open_file(path, inputs=keys, outputs=names, reference=True)
    except ExportError:  # ELU, for one, has no reference kernel.
        reference = fast
    chosen = [[array[index] for array in samples] for index in _batches(samples, batch)]
    rows = [
        [tensor.quantise(array) for tensor, array in zip(signature.inputs, row, strict=True)]
        for row in chosen
    ]
    outputs, others = (
        _stacked([fast(row) for row in rows]),
        _stacked([reference(row) for row in rows]),
    )
    expected = _stacked([_keras_outputs(model, row) for row in chosen])
    for tensor, got in zip(signature.outputs, outputs, strict=True):
        if not np.isfinite(got).all():
            raise ExportError(
                f"Output {tensor.key!r} of {path.name} is NaN or infinite on its golden inputs; "
                "the model itself is broken or its weights overflow."
            )
    allowed = _KERAS_DIFFERENCE.get(quantize.scheme) if model is plain else _ROUNDED_DIFFERENCE
    differences = [
        _difference(path, tensor, allowed, wanted, got)
        for tensor, wanted, got in zip(signature.outputs, expected, outputs, strict=True)
    ]
    return Golden(
        signature,
        {
            **{f"input_{i}": array for i, array in enumerate(_stacked(rows))},
            **{f"output_{j}": array for j, array in enumerate(outputs)},
        },
        len(rows),
        [
            _tolerance(tensor, quantize, got, other)
            for tensor, got, other in zip(signature.outputs, outputs, others, strict=True)
        ],
        differences,
    )


def _batches(samples: list[Any], batch: int) -> list[Any]:
    count = max(1, min(_GOLDEN_SAMPLES, len(samples[0]) // batch))
    return [np.arange(s * batch, (s + 1) * batch) % len(samples[0]) for s in range(count)]


def _stacked(rows: list[list[Any]]) -> list[Any]:
    return [np.stack(column) for column in zip(*rows, strict=True)]


def _keras_outputs(model: Any, inputs: list[Any]) -> list[Any]:
    return [np.asarray(value) for value in forward(model).call(inputs)]


def _tolerance(tensor: Tensor, quantize: Quantize, got: Any, other: Any) -> float:
    got, other = got.astype(np.float64), other.astype(np.float64)
    scale = max(float(np.ptp(got)), 1e-6)
    if tensor.scale is None:
        scale = max(scale, float(np.abs(got).max()))
    floor = max(_FLOOR[quantize.scheme] * scale, 0.0 if tensor.scale is None else 2.0)
    # A ceiling: kernels that differ wildly here must not excuse every other runtime.
    return max(floor, min(4 * float(np.abs(got - other).max()), _CEILING * scale))


def _difference(
    path: Path, tensor: Tensor, allowed: float | None, expected: Any, got: Any
) -> float:
    scale = max(float(np.abs(expected).max()), 1e-6)
    difference = float(np.abs(expected.astype(np.float64) - tensor.dequantise(got)).max()) / scale
    if not np.isfinite(difference):
        raise ExportError(
            f"The model gives NaN or infinite values in output {tensor.key!r} on its golden "
            "inputs; its weights overflow, so train it again."
        )
    if allowed is not None and not difference <= allowed:
        raise ExportError(
            f"{path.name} does not compute what the Keras model does: output {tensor.key!r} is off "
            f"by {difference:.2g} of its range (allowed {allowed:g}). Please report the model; a "
            "file of another scheme may be right."
        )
    return difference
