"""The command line: `edgekit-agent emulate`."""

from __future__ import annotations

import argparse
import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit_device.arithmetic import Arithmetic, changed
from edgekit_device.delegate import Event
from edgekit_device.emulation import Emulation, emulate
from edgekit_device.errors import UsageError
from edgekit_device.npus import npu_data
from edgekit_device.progress import Progress
from edgekit_device.runtime import choose, installed
from edgekit_device.settings import RUNTIME_CHOICES


def add_emulate(
    commands: Any, common: argparse.ArgumentParser, progress: dict[str, Progress]
) -> None:
    """Add the subcommand's grammar."""
    command = commands.add_parser(
        "emulate",
        parents=[common],
        help="run a model in an NPU's arithmetic and count what happens",
        description="Runs the file with the NEPU delegate. Inputs are arrays input_0, input_1, … "
        "of an .npz file, [inferences, shape of the input], in the file's own types; without them "
        "the golden samples beside the model, or one random sample.",
    )
    command.add_argument("model", metavar="MODEL", help="a .tflite file")
    command.add_argument("--npu", required=True, metavar="NAME|FILE", help="NPU profile")
    command.add_argument(
        "--arithmetic",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="instead of the profile's, such as weight_bits=4; may be given more than once",
    )
    command.add_argument("--inputs", metavar="FILE.npz", help="what to run it on")
    command.add_argument("--outputs", metavar="FILE.npz", help="where its answers are written")
    command.add_argument(
        "--events",
        metavar="FILE.jsonl",
        help="where every node's counts in every inference are written, one JSON object a line",
    )
    command.add_argument(
        "--require-claims",
        action="store_true",
        help="a file of which the NPU takes nothing is an error",
    )
    command.add_argument("--runtime", choices=RUNTIME_CHOICES, default="auto")
    command.add_argument("--progress", choices=sorted(progress), default="none")


def run_emulate(options: argparse.Namespace, progress: dict[str, Progress]) -> int:
    """Carry the subcommand out.

    Raises:
        EdgeKitDeviceError: in one sentence, what cannot be done and the way out.
    """
    data, file = npu_data(options.npu)
    arithmetic = changed(
        Arithmetic.from_table(data.get("arithmetic", {}), file), options.arithmetic
    )
    runtime = choose(options.runtime, installed())
    inputs = read_arrays(Path(options.inputs)) if options.inputs else None
    with _events_into(options.events) as on_events:
        done, outputs = emulate(
            Path(options.model),
            str(data.get("name", file)),
            arithmetic,
            runtime,
            inputs,
            require_claims=options.require_claims,
            progress=progress[options.progress],
            on_events=on_events,
        )
    if options.outputs:
        _write_arrays(Path(options.outputs), outputs)
    print(json.dumps(done.to_json(), allow_nan=False) if options.json else emulation_text(done))
    return 0


def read_arrays(path: Path) -> list[npt.NDArray[Any]]:
    """Read input_0, input_1, … of an .npz file.

    Raises:
        UsageError: it is no such file.
    """
    try:
        with np.load(path) as arrays:
            return [arrays[f"input_{index}"] for index in range(len(arrays.files))]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(
            f"--inputs {path} cannot be read: {error}; give an .npz file with the arrays input_0, "
            "input_1, …, one for each input."
        ) from error


@contextmanager
def _events_into(path: str | None) -> Iterator[Callable[[Sequence[Event]], None] | None]:
    if path is None:
        yield None
        return
    with _written("--events", path):
        Path(path).write_text("", encoding="utf-8")

    def write(events: Sequence[Event]) -> None:
        with _written("--events", path), Path(path).open("a", encoding="utf-8") as file:
            file.writelines(f"{json.dumps(event.to_json())}\n" for event in events)

    yield write


@contextmanager
def _written(option: str, path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"{option} {path} cannot be written: {error.strerror}") from error


def _write_arrays(path: Path, outputs: Sequence[npt.NDArray[Any]]) -> None:
    arrays: dict[str, Any] = {f"output_{index}": array for index, array in enumerate(outputs)}
    with _written("--outputs", str(path)):
        np.savez(path, **arrays)


def emulation_text(done: Emulation) -> str:
    """What happened, for people: coverage, what stays on the CPU and why, the counts."""
    claimed = sum(node.reason is None for node in done.nodes)
    lines = [
        f"{done.model.file} in the arithmetic of {done.npu}: {claimed} of {len(done.nodes)} nodes, "
        f"{done.partitions} partition{'' if done.partitions == 1 else 's'}",
    ]
    lines += [
        f"  on the CPU: {node.operator} (node {node.node}): {node.reason}"
        for node in done.nodes
        if node.reason is not None
    ]
    macs = sum(node.macs for node in done.totals) / done.inferences
    skipped = sum(node.skipped_macs for node in done.totals) / done.inferences
    saturations = sum(node.saturations for node in done.totals) / done.inferences
    share = f" ({skipped / macs:.1%} skipped)" if macs else ""
    lines.append(
        f"  per inference, mean of {done.inferences} ({done.inputs} inputs): {macs:,.0f} "
        f"MACs{share}, {saturations:,.1f} saturations"
    )
    return "\n".join(lines)
