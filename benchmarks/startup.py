"""How long `edgekit --help` and `edgekit inspect` of an AlexNet take, as whole processes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import results

import edgekit_converters as ec

_GOALS_S = {"edgekit --help": 0.3, "edgekit inspect alexnet.keras": 10.0}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "alexnet.keras"
        ec.save_model(ec.alexnet(), model)
        commands = {
            "edgekit --help": ["--help"],
            "edgekit inspect alexnet.keras": ["inspect", str(model)],
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(7):
            for name, arguments in commands.items():
                seconds[name].append(_timed(arguments))
    table = [["command", "median s", "least s", "most s", "goal s"]]
    for name, values in seconds.items():
        figures = (np.median(values), min(values), max(values), _GOALS_S[name])
        table.append([name, *(f"{value:.2f}" for value in figures)])
    results.write("startup", {"seconds": seconds}, table)


def _timed(arguments: list[str]) -> float:
    start = time.perf_counter()
    command = [sys.executable, "-m", "edgekit", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
