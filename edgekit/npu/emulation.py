"""A file in an NPU's arithmetic: run by the agent in a process of its own, then costed."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.errors import NpuError
from edgekit.npu.estimating import Estimate, Events, estimate
from edgekit.npu.target import Npu
from edgekit.npu.workload import read_workload
from edgekit.progress import Listener, Step, silent
from edgekit_device.arithmetic import settings_of
from edgekit_device.emulation import Emulation
from edgekit_device.errors import RecordError


def emulate_file(
    file: Path,
    npu: Npu,
    inputs: Sequence[Any] | None = None,
    *,
    python: Path = Path(sys.executable),
    runtime: str = "auto",
    progress: Listener = silent,
) -> tuple[Emulation, list[Any]]:
    """What the agent's emulation gives, and the file's raw outputs, one array for each.

    `inputs` are raw, one array [inferences, *shape] for each input in the file's order; without
    them the golden samples beside the file are taken. A crash of the runtime ends the agent's
    process only.

    Raises:
        NpuError: the agent cannot run the file so; its own sentence says why.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, answers = Path(folder) / "inputs.npz", Path(folder) / "outputs.npz"
        command = [str(python), "-m", "edgekit_device", "emulate", str(file), "--json"]
        command += ["--npu", npu.named, "--outputs", str(answers), "--runtime", runtime]
        command += ["--progress", "json"]
        for setting in settings_of(npu.arithmetic):
            command += ["--arithmetic", setting]
        if inputs is not None:
            np.savez(given, **{f"input_{index}": array for index, array in enumerate(inputs)})
            command += ["--inputs", str(given)]
        told = _agent(command, file, progress)
        with np.load(answers) as arrays:
            outputs = [arrays[f"output_{index}"] for index in range(len(arrays.files))]
    try:
        return Emulation.from_json(told), outputs
    except RecordError as error:
        raise NpuError(f"The agent of {python} is of another version: {error}") from error


def cost_of_emulation(file: Path, npu: Npu, done: Emulation) -> Estimate:
    """The file's cost on the NPU with the zeros that the emulation skipped."""
    events = [
        Events(
            node=node.node,
            macs=node.macs,
            skipped_macs=node.skipped_macs,
            saturations=node.saturations,
            bytes_in=node.bytes_in,
            bytes_out=node.bytes_out,
            bytes_weights=node.bytes_weights,
            wall_ns=node.wall_ns,
        )
        for node in done.totals
        if node.graph == 0
    ]
    return estimate(read_workload(file), npu.profile, npu.precision, events)


def _agent(command: list[str], file: Path, progress: Listener) -> Any:
    with tempfile.TemporaryFile("w+") as output:
        try:
            agent = subprocess.Popen(command, stdout=output, stderr=subprocess.PIPE, text=True)
        except OSError as error:
            raise NpuError(f"{command[0]} cannot be started: {error.strerror}.") from error
        with agent:
            try:
                said = _follow(agent, file, progress)
                code = agent.wait()
            finally:
                agent.kill()
        output.seek(0)
        answer = output.read()
    if code == 0:
        return json.loads(answer)
    ended = f"its process ended with code {code}" + (f": {said[-1]}" if said else "")
    sentence = said[-1].removeprefix("edgekit-agent: ") if code == 2 and said else ended
    raise NpuError(f"{file.name} cannot be emulated: {sentence}")


def _follow(agent: subprocess.Popen[str], file: Path, progress: Listener) -> list[str]:
    complaints: list[str] = []
    for line in agent.stderr or ():
        try:
            event = json.loads(line)
        except ValueError:
            complaints.append(line.rstrip())
            continue
        if isinstance(event, dict) and event.get("rounds"):
            done = event["round"] / event["rounds"]
            progress(Step("emulate", done, f"{file.name} {event['round']} of {event['rounds']}"))
    return complaints
