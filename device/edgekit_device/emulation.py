"""A model in an NPU's arithmetic: what it answers there, and what each of its nodes did."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit_device.arithmetic import Arithmetic
from edgekit_device.codec import decode, encode
from edgekit_device.delegate import Event, Nepu, NodeFate, instruction_sets
from edgekit_device.errors import ModelError, RecordError
from edgekit_device.golden import file_sha256, read_reference
from edgekit_device.progress import Event as Progressed
from edgekit_device.progress import Progress, silent
from edgekit_device.record import Model, Runtime
from edgekit_device.tensors import random_input, read_sample

SCHEMA = "edgekit.emulation/1"
_AT_ONCE = 64
"""Inferences whose events are held before they are added up."""

Arrays = Sequence[npt.NDArray[Any]]


@dataclass(frozen=True)
class NodeTotals:
    """What one node did in all inferences together.

    On an emulated board, whose clock counts instructions, `wall_ns` are instructions.
    """

    graph: int
    node: int
    operator: str
    runs: int
    macs: int
    skipped_macs: int
    saturations: int
    bytes_in: int
    bytes_out: int
    bytes_weights: int
    wall_ns: int


@dataclass(frozen=True)
class Emulation:
    """One file in one arithmetic. `inputs` says which: given, golden or random.

    `nodes` are all nodes of the file's graphs, those left on the CPU with the reason; `totals` are
    those of the nodes that ran as the NPU would. `instructions` names the set that
    emulated: it bears on wall time, never on results.
    """

    model: Model
    npu: str
    arithmetic: Arithmetic
    runtime: Runtime
    instructions: str
    inputs: str
    inferences: int
    partitions: int
    nodes: tuple[NodeFate, ...]
    totals: tuple[NodeTotals, ...]

    def to_json(self) -> dict[str, Any]:
        """Give plain JSON data that begins with the schema."""
        return {"schema": SCHEMA, **encode(self)}

    @classmethod
    def from_json(cls, data: object) -> Emulation:
        """Read what `to_json` gave.

        Raises:
            RecordError: another schema, or a key or value that does not fit this one.
        """
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            received = data.get("schema") if isinstance(data, dict) else type(data).__name__
            raise RecordError(f"emulation: the schema must be {SCHEMA!r}. Received: {received!r}.")
        return decode(cls, {key: data[key] for key in data if key != "schema"}, "emulation")


def emulate(
    path: Path,
    npu: str,
    arithmetic: Arithmetic,
    runtime: Runtime,
    inputs: Arrays | None = None,
    *,
    require_claims: bool = False,
    progress: Progress = silent,
    on_events: Callable[[Sequence[Event]], None] | None = None,
) -> tuple[Emulation, list[npt.NDArray[Any]]]:
    """Run a file in an NPU's arithmetic; gives the outputs, one array [inferences, …] for each.

    `inputs` hold one array [inferences, *shape] for each input, in the file's order and type;
    without them the golden file's samples are taken, or one random sample where there is none.
    `require_claims`: a file of which the NPU takes nothing is an error. `on_events` gets what every
    node did in every inference, in order, some inferences at a time.

    Raises:
        ModelError: the file cannot be read, or the inputs do not fit it.
        DelegateUnavailableError: there is no delegate for this machine.
    """
    try:
        sha256, size = file_sha256(path), path.stat().st_size
    except OSError as error:
        raise ModelError("unreadable-file", f"{path} cannot be read: {error}") from error
    nepu = Nepu(arithmetic, runtime)
    interpreter = nepu.interpreter(path, reference=True, require_claims=require_claims)
    details = interpreter.get_input_details()
    which, taken = _inputs(path, sha256, details, inputs)
    outputs = interpreter.get_output_details()
    answers: list[list[npt.NDArray[Any]]] = [[] for _ in outputs]
    totals: dict[tuple[int, int], NodeTotals] = {}
    count = len(taken[0]) if taken else 1
    for index in range(count):
        for detail, values in zip(details, taken, strict=True):
            interpreter.set_tensor(detail["index"], values[index])
        try:
            interpreter.invoke()
        except RuntimeError as error:
            raise ModelError("inference", f"{path.name}: {error}") from error
        for answer, detail in zip(answers, outputs, strict=True):
            answer.append(interpreter.get_tensor(detail["index"]))
        nepu.next_inference()
        if index % _AT_ONCE == _AT_ONCE - 1 or index == count - 1:
            events = nepu.take_events()
            _add(totals, events)
            if on_events is not None:
                on_events(events)
            progress(Progressed("emulate", path.name, index + 1, count))
    coverage = nepu.coverage()
    done = Emulation(
        model=Model(path.name, sha256, size),
        npu=npu,
        arithmetic=arithmetic,
        runtime=runtime,
        instructions=instruction_sets()[0],
        inputs=which,
        inferences=count,
        partitions=coverage.partitions,
        nodes=coverage.nodes,
        totals=tuple(totals[key] for key in sorted(totals)),
    )
    return done, [
        _stacked(path, detail["name"], answer)
        for detail, answer in zip(outputs, answers, strict=True)
    ]


def _stacked(path: Path, output: str, answer: Arrays) -> npt.NDArray[Any]:
    shapes = {one.shape for one in answer}
    if len(shapes) > 1:
        raise ModelError(
            "inference",
            f"{path.name}: the output {output!r} has other shapes for other inputs "
            f"({', '.join(map(str, sorted(shapes)))}); emulate the inputs one by one.",
        )
    return np.stack(answer)


def _inputs(
    path: Path, sha256: str, details: Sequence[dict[str, Any]], given: Arrays | None
) -> tuple[str, list[npt.NDArray[Any]]]:
    if given is not None:
        _check(path, details, given)
        return "given", list(given)
    reference = read_reference(path, sha256)
    if isinstance(reference, str):
        return "random", [random_input(detail)[None] for detail in details]
    arrays = {
        name: np.stack(
            [
                read_sample(reference.file, f"input_{index}", sample)
                for sample in range(reference.samples)
            ]
        )
        for index, name in enumerate(reference.inputs)
    }
    taken = [arrays[detail["name"]] for detail in details if detail["name"] in arrays]
    _check(path, details, taken)
    return "golden", taken


def _check(path: Path, details: Sequence[dict[str, Any]], given: Arrays) -> None:
    if len(given) != len(details) or len({len(array) for array in given}) > 1:
        raise ModelError(
            "inputs",
            f"{path.name} has {len(details)} inputs, but arrays of the lengths "
            f"{[len(array) for array in given]} are given; give one for each, all of one length.",
        )
    for detail, array in zip(details, given, strict=True):
        wanted = tuple(int(size) for size in detail["shape"])
        kind = np.dtype(detail["dtype"])
        if not len(array) or array.shape[1:] != wanted or array.dtype != kind:
            raise ModelError(
                "inputs",
                f"{path.name}: the input {detail['name']!r} takes {kind} of shape "
                f"(inferences, {', '.join(map(str, wanted))}). Received: {array.dtype} of shape "
                f"{array.shape}.",
            )


def _add(totals: dict[tuple[int, int], NodeTotals], events: Iterable[Event]) -> None:
    for event in events:
        key = (event.graph, event.node)
        before = totals.get(key) or NodeTotals(*key, event.operator, 0, 0, 0, 0, 0, 0, 0, 0)
        totals[key] = replace(
            before,
            runs=before.runs + event.runs,
            macs=before.macs + event.macs,
            skipped_macs=before.skipped_macs + event.skipped_macs,
            saturations=before.saturations + event.saturations,
            bytes_in=before.bytes_in + event.bytes_in,
            bytes_out=before.bytes_out + event.bytes_out,
            bytes_weights=before.bytes_weights + event.bytes_weights,
            wall_ns=before.wall_ns + event.wall_ns,
        )
