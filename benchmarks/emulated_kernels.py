"""The NEPU delegate in exact int8 against tflite-runtime's own kernels on ARM, in instructions.

Each of AlexNet's convolutions is a file of its own, run on an emulated board by both. What a board
under -icount counts is instructions, not cycles: an instruction that multiplies 16 operands is one.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import results
from delegate_speed import convolutions

from edgekit.boards import ProfileSettings, parse_board, profile_on
from edgekit.boards.emulating import emulate_on
from edgekit.npu.target import load_target
from edgekit_device import Record
from edgekit_device.arithmetic import Arithmetic, settings_of

RUNTIME = "tflite-runtime"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--board", nargs="+", default=["qemu:pi4", "qemu:pi5"])
    options = parser.parse_args()
    table = [["board", "layer", "runtime", "million MACs", "runtime: MACs an instruction",
              "delegate: MACs an instruction", "delegate / runtime"]]  # fmt: skip
    facts: dict[str, Any] = {}
    exact = load_target("nepu-v1", settings_of(Arithmetic()))
    with tempfile.TemporaryDirectory() as folder:
        files = convolutions(Path(folder))
        for name in options.board:
            board = parse_board(name)
            profiled = profile_on(
                board, files, ProfileSettings(runs=1, rounds=1, warmup=1, runtime=RUNTIME)
            )
            for file, record in zip(files, profiled, strict=True):
                (emulated,) = emulate_on(board, [file], exact, runtime=RUNTIME)
                theirs = Record.from_json(record).instructions
                if theirs.value is None:
                    raise SystemExit(f"{file.name} on {name}: {theirs.reason}")
                macs = sum(node.macs for node in emulated.totals) / emulated.inferences
                # The guest's clock counts instructions.
                ours = sum(node.wall_ns for node in emulated.totals) / emulated.inferences
                rates = [macs / theirs.value, macs / ours]
                facts[f"{name} {file.stem}"] = {
                    "runtime": vars(emulated.runtime),
                    "macs": macs,
                    "runtime_instructions": theirs.value,
                    "delegate_instructions": ours,
                    "kernels": emulated.instructions,
                }
                table.append(
                    [name, file.stem, f"{RUNTIME} {emulated.runtime.version}", f"{macs / 1e6:.1f}",
                     f"{rates[0]:.2f}", f"{rates[1]:.2f} ({emulated.instructions})",
                     f"{rates[1] / rates[0]:.2f}"]
                )  # fmt: skip
    results.write("emulated_kernels", facts, table)


if __name__ == "__main__":
    main()
