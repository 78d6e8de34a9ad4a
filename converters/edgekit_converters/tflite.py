"""Running a .tflite file where it was made: the reference for golden outputs and for accuracy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from edgekit_converters.errors import ExportError
from edgekit_converters.quiet import quiet

RUNTIME = f"ai-edge-litert {version('ai-edge-litert')}"


@dataclass(frozen=True)
class Tensor:
    """An input or output of a file: its tensor, and what the model calls it."""

    name: str
    key: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None
    zero_point: int | None

    def quantise(self, values: Any) -> Any:
        """Real values in the tensor's own type."""
        if self.scale is None or self.zero_point is None:
            return np.asarray(values, dtype=self.dtype)
        limits = np.iinfo(self.dtype)
        steps = np.round(np.asarray(values, dtype=np.float64) / self.scale) + self.zero_point
        return np.clip(steps, limits.min, limits.max).astype(self.dtype)

    def dequantise(self, raw: Any) -> Any:
        """Real values of raw ones."""
        if self.scale is None or self.zero_point is None:
            return np.asarray(raw)
        return (raw.astype(np.float64) - self.zero_point) * self.scale


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs of a file, in the order asked for."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def open_file(
    path: Path,
    *,
    reference: bool = False,
    threads: int = 1,
    inputs: list[str] | None = None,
    outputs: list[str] | None = None,
) -> tuple[Signature, Callable[[list[Any]], list[Any]]]:
    """The file's signature, and a function from raw inputs to raw outputs.

    `inputs` and `outputs` order the tensors by the model's names: the file has an order of its own.
    `reference` asks for the runtime's plain kernels instead of its optimised ones.

    Raises:
        ExportError: the runtime refuses the file.
    """
    resolver = OpResolverType.BUILTIN_REF if reference else OpResolverType.AUTO
    try:
        with quiet():
            interpreter = Interpreter(
                model_path=str(path),
                num_threads=threads,
                experimental_op_resolver_type=resolver,
            )
            interpreter.allocate_tensors()
        runner = interpreter.get_signature_runner()
    except (RuntimeError, ValueError) as error:
        raise ExportError(f"{RUNTIME} cannot load {path.name}: {error}") from error
    into, out = runner.get_input_details(), runner.get_output_details()
    input_keys, output_keys = inputs or list(into), outputs or list(out)

    def run(values: list[Any]) -> list[Any]:
        for key, value in zip(input_keys, values, strict=True):
            interpreter.set_tensor(into[key]["index"], value)
        try:
            interpreter.invoke()
        except RuntimeError as error:
            raise ExportError(f"{RUNTIME} cannot run {path.name}: {error}") from error
        return [interpreter.get_tensor(out[key]["index"]) for key in output_keys]

    return Signature(
        tuple(_tensor(key, into[key]) for key in input_keys),
        tuple(_tensor(key, out[key]) for key in output_keys),
    ), run


def _tensor(key: str, detail: dict[str, Any]) -> Tensor:
    scales = detail["quantization_parameters"]["scales"]
    points = detail["quantization_parameters"]["zero_points"]
    return Tensor(
        name=str(detail["name"]),
        key=key,
        shape=tuple(int(size) for size in detail["shape"]),
        dtype=np.dtype(detail["dtype"]).name,
        scale=float(scales[0]) if len(scales) else None,
        zero_point=int(points[0]) if len(points) else None,
    )


def predict(path: Path, samples: Any, *, threads: int = 2) -> Iterator[list[Any]]:
    """Real-valued outputs, sample by sample, of a one-input file of any fixed batch size."""
    signature, run = open_file(path, threads=threads)
    (tensor,) = signature.inputs
    batch = tensor.shape[0]
    for start in range(0, len(samples), batch):
        chunk = samples[start : start + batch]
        filled = np.resize(chunk, (batch, *chunk.shape[1:]))
        raw = run([tensor.quantise(filled)])
        real = [out.dequantise(value) for out, value in zip(signature.outputs, raw, strict=True)]
        for row in range(len(chunk)):
            yield [output[row] for output in real]


def correct(path: Path, samples: Any, labels: Any, *, from_logits: bool = False) -> list[bool]:
    """For each sample whether the file finds its label; a single output unit decides at one half.

    `from_logits` says that a single unit's output is a logit, which decides at 0.
    """
    return [
        int(guess(scores, from_logits)) == int(label)
        for (scores, *_), label in zip(predict(path, samples), labels, strict=True)
    ]


def raw_samples(path: Path, samples: Any) -> Any:
    """Samples as a one-input file takes them: [inferences, batch, …] in its own type.

    The last batch is filled up by repeating its samples.

    Raises:
        ExportError: the runtime refuses the file.
    """
    signature, _ = open_file(path)
    if len(signature.inputs) != 1:
        raise ExportError(
            f"{path.name} has {len(signature.inputs)} inputs; samples of one array fit one input."
        )
    (tensor,) = signature.inputs
    batch = tensor.shape[0]
    count = -(-len(samples) // batch)
    raw = np.empty((count, *tensor.shape), dtype=tensor.dtype)
    for index in range(count):  # a batch at a time: quantising takes eight bytes a value
        chunk = samples[index * batch : (index + 1) * batch]
        raw[index] = tensor.quantise(np.resize(chunk, (batch, *chunk.shape[1:])))
    return raw


def real_outputs(path: Path, raw: Any, count: int) -> Any:
    """The first `count` real-valued outputs [count, …] of a file, from its raw ones.

    `raw` is [inferences, batch, …], computed elsewhere.

    Raises:
        ExportError: the runtime refuses the file.
    """
    signature, _ = open_file(path)
    if len(signature.outputs) != 1:
        raise ExportError(
            f"{path.name} has {len(signature.outputs)} outputs; labels fit a file of one output."
        )
    real = signature.outputs[0].dequantise(raw)
    return real.reshape(-1, *real.shape[2:])[:count]


def guess(scores: Any, from_logits: bool) -> Any:
    """The class with the highest score along the last axis; a single score decides at one half.

    `from_logits` says that a single score is a logit, which decides at 0.
    """
    if scores.shape[-1] == 1:
        return (scores[..., 0] > (0.0 if from_logits else 0.5)).astype(int)
    return scores.argmax(axis=-1)
