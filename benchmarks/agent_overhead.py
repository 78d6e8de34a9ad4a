"""What the agent's sampling of CPU and memory costs the model that it watches.

Two agents in turn, one sampling at its usual rate and one not at all; the ratio is taken pair by
pair.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import results

import edgekit_converters as ec
from edgekit_device import Settings, profile_models


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args()
    table = [["model", "pairs", "median ratio, sampled / not", "middle half of the pairs"]]
    facts = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, build in (("digits_cnn", ec.digits_cnn), ("alexnet", ec.alexnet)):
            ec.set_seed(0)
            file = Path(folder) / f"{name}.tflite"
            ec.export_tflite(build(), ec.Quantize("float32"), file)
            ratios = [_ratio(file, options.seconds, pair) for pair in range(options.pairs)]
            low, middle, high = np.percentile(ratios, [25, 50, 75])
            facts[name] = {"ratios": ratios, "median": float(middle)}
            table.append([name, str(len(ratios)), f"{middle:.4f}", f"{low:.4f} to {high:.4f}"])
    results.write("agent_overhead", facts, table)


def _ratio(file: Path, seconds: float, pair: int) -> float:
    """Latency p50 with sampling over without; every other pair starts with the other one."""
    medians = {}
    for interval in (0.1, 0.0) if pair % 2 else (0.0, 0.1):
        settings = Settings(seconds=seconds, idle_seconds=0, sample_interval_s=interval)
        (record,) = profile_models([file], settings)
        medians[interval] = record.latency_ms.p50.value
        if medians[interval] is None:
            raise SystemExit(f"{file.name}: {record.error}")
    return float(medians[0.1] / medians[0.0])


if __name__ == "__main__":
    main()
