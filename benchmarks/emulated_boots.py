"""Instruction counts of one model over several boots of an emulated board; the agent's size there.

The model is the digits CNN, untrained: counts do not depend on what the weights are.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import results

import edgekit_converters as ec
import edgekit_device
from edgekit.boards import parse_board, profile_on
from edgekit.boards.wheels import install_wheels
from edgekit_device.record import Record

_GOAL = 1e-3
# Of Debian 12, on which the emulated boards are built there.
_PYTHON = (3, 11)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--boots", type=int, default=5)
    parser.add_argument("--boards", nargs="+", default=["qemu:pi4", "qemu:pi5"])
    options = parser.parse_args()
    table = [["what", "boots", "median", "spread: (most − least) / median", "goal"]]
    facts: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        files = [_model(Path(folder), scheme) for scheme in ("int8", "float32")]
        for board in options.boards:
            counts, wall_s = _counts(board, files, options.boots)
            facts[board] = {"instructions": counts, "boot_and_job_s": wall_s}
            for name, values in counts.items():
                spread = (max(values) - min(values)) / float(np.median(values))
                middle = f"{np.median(values) / 1e6:.4f} M"
                what = f"instructions of {name} on {board}"
                table.append([what, str(len(values)), middle, f"{spread:.4%}", f"{_GOAL:.1%}"])
            middle = f"{np.median(wall_s):.0f} s"
            table.append([f"boot and both files on {board}", str(len(wall_s)), middle, "–", "–"])
    size = _agent_bytes()
    facts["agent_bytes"] = size
    total = sum(size.values())
    table.append(["agent on arm64, without runtimes", "–", f"{total / 1e6:.1f} MB", "–", "60 MB"])
    results.write("emulated_boots", facts, table)


def _model(folder: Path, scheme: str) -> Path:
    ec.set_seed(0)
    model, file = ec.digits_cnn(), folder / f"digits_{scheme}.tflite"
    samples = [np.random.default_rng(0).random((64, 8, 8, 1), np.float32)]
    given = samples if scheme == "int8" else None
    ec.export_tflite(model, ec.Quantize(scheme), file, representative=given)
    return file


def _counts(
    board: str, files: list[Path], boots: int
) -> tuple[dict[str, list[float]], list[float]]:
    counts: dict[str, list[float]] = {file.stem: [] for file in files}
    wall_s = []
    for _ in range(boots):
        start_s = time.perf_counter()
        for file, data in zip(files, profile_on(parse_board(board), files), strict=True):
            record = Record.from_json(data)
            if record.instructions.value is None:
                raise SystemExit(f"{board}: {record.error or record.instructions.reason}")
            counts[file.stem].append(record.instructions.value)
        wall_s.append(time.perf_counter() - start_s)
    return counts, wall_s


def _agent_bytes() -> dict[str, int]:
    """The agent and what it needs for arm64, as it is unpacked."""
    package = Path(edgekit_device.__path__[0])
    sources = [*package.glob("**/*.py"), *package.glob("profiles/**/*.toml")]
    with tempfile.TemporaryDirectory() as folder:
        needs = ["numpy", "psutil", "memory-profiler"]
        install_wheels(needs, "aarch64", _PYTHON, Path(folder))
        files = [file for file in Path(folder).rglob("*") if file.is_file()]
        return {
            "agent": sum(file.stat().st_size for file in sources),
            "numpy, psutil, memory-profiler": sum(file.stat().st_size for file in files),
        }


if __name__ == "__main__":
    main()
