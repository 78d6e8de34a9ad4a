"""Files on emulated NPUs, for `edgekit profile --npu`: run, costed, read out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.boards import Board
from edgekit.boards.emulating import emulate_on
from edgekit.cli.estimation import print_estimate
from edgekit.errors import EdgeKitError
from edgekit.npu.emulation import cost_of_emulation
from edgekit.npu.estimating import Estimate
from edgekit.npu.files import estimate_json
from edgekit.npu.target import Npu
from edgekit.progress import Listener
from edgekit_converters.errors import ConverterError
from edgekit_device.emulation import Emulation
from edgekit_device.emulation_cli import emulation_text
from edgekit_device.errors import EdgeKitDeviceError


@dataclass(frozen=True)
class OnNpu:
    """One file on one NPU; `error` says why there is neither emulation nor cost."""

    file: Path
    npu: Npu
    emulation: Emulation | None = None
    estimate: Estimate | None = None
    error: str | None = None


def emulate_all(
    board: Board, files: Sequence[Path], npus: Sequence[Npu], runtime: str, progress: Listener
) -> list[OnNpu]:
    """Every file on every NPU, emulated on the board; one that fails costs only itself."""
    found = []
    for npu in npus:
        for file in files:
            done = None
            try:
                (done,) = emulate_on(board, [file], npu, runtime=runtime, progress=progress)
                found.append(OnNpu(file, npu, done, cost_of_emulation(file, npu, done)))
            except (EdgeKitError, EdgeKitDeviceError, ConverterError) as error:
                found.append(OnNpu(file, npu, done, error=str(error)))
    return found


def emulations_json(emulated: Sequence[OnNpu]) -> list[dict[str, Any]]:
    """One document per file and NPU: the emulation with its estimate, or the error."""
    return [
        {
            **(one.emulation.to_json() if one.emulation else {"file": one.file.name}),
            "npu": str(one.npu),
            "estimate": estimate_json(one.estimate) if one.estimate else None,
            "error": one.error,
        }
        for one in emulated
    ]


def print_emulations(emulated: Sequence[OnNpu]) -> None:
    """Coverage, counts and costs of each file on each NPU."""
    for one in emulated:
        print()
        if one.emulation is not None:
            print(f"{emulation_text(one.emulation)}\n")
        if one.error is not None:
            print(f"{one.npu}: {one.error}")
        if one.estimate is not None:
            print_estimate(one.estimate, one.npu.profile)
