"""Files on emulated NPUs, for `edgekit profile --npu`: run, costed, read out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.cli.estimation import print_estimate
from edgekit.errors import EdgeKitError
from edgekit.npu.emulation import cost_of_emulation, emulate_file
from edgekit.npu.estimating import Estimate
from edgekit.npu.files import estimate_json
from edgekit.npu.target import Npu
from edgekit.progress import Listener
from edgekit_device.emulation import Emulation
from edgekit_device.emulation_cli import emulation_text


@dataclass(frozen=True)
class OnNpu:
    """One file on one NPU; `error` says why there is neither emulation nor cost."""

    file: Path
    npu: Npu
    emulation: Emulation | None = None
    estimate: Estimate | None = None
    error: str | None = None


def emulate_all(
    files: Sequence[Path], npus: Sequence[Npu], runtime: str, progress: Listener
) -> list[OnNpu]:
    """Every file on every NPU; one that fails costs only itself."""
    found = []
    for npu in npus:
        for file in files:
            try:
                done, _ = emulate_file(file, npu, runtime=runtime, progress=progress)
                found.append(OnNpu(file, npu, done, cost_of_emulation(file, npu, done)))
            except EdgeKitError as error:
                found.append(OnNpu(file, npu, error=str(error)))
    return found


def emulations_json(emulated: Sequence[OnNpu]) -> list[dict[str, Any]]:
    """One document per file and NPU: the emulation with its estimate, or the error."""
    return [
        {**one.emulation.to_json(), "estimate": estimate_json(one.estimate)}
        if one.emulation and one.estimate
        else {"file": one.file.name, "npu": str(one.npu), "error": one.error}
        for one in emulated
    ]


def print_emulations(emulated: Sequence[OnNpu]) -> None:
    """Coverage, counts and costs of each file on each NPU."""
    for one in emulated:
        print()
        if one.emulation is None or one.estimate is None:
            print(f"{one.npu}: {one.error}")
            continue
        print(emulation_text(one.emulation))
        print()
        print_estimate(one.estimate, one.npu.profile)
