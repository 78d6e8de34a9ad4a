"""The LCRM paper's AlexNet pair (224x224x3, random weights): latency and file sizes.

The paper measured 0.331 s against 0.123 s on a Raspberry Pi 4 (-62.84 %), and files of 43.54 MB
against 30.41 MB (Table 8). Here all files run in turns in the same rounds, one thread. The layers
that LCRM keeps (first convolution, dense layers) also run as models of their own: what they take
bounds the gain.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import results

import edgekit_converters as ec
from edgekit.boards import LocalBoard, ProfileSettings, profile_on

_PAPER = {"latency": -62.84, "base_mb": 43.54, "lcrm_mb": 30.41}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--tflite-runtime", metavar="PYTHON", help="interpreter of such an agent")
    options = parser.parse_args()
    boards = {"litert": LocalBoard(Path(sys.executable))}
    if options.tflite_runtime:
        boards["tflite-runtime"] = LocalBoard(Path(options.tflite_runtime))
    with tempfile.TemporaryDirectory() as folder:
        files = export_pair(Path(folder))
        sizes = {name: file.stat().st_size for name, file in files.items()}
        settings = ProfileSettings(seconds=options.seconds, rounds=10)
        measured = {
            runtime: dict(
                zip(files, profile_on(board, list(files.values()), settings), strict=True)
            )
            for runtime, board in boards.items()
        }
    table = [
        [
            "runtime",
            "scheme",
            "parent ms",
            "LCRM ms",
            "change %",
            "paper (Pi 4) %",
            "kept layers ms",
        ]
    ]
    changes: dict[str, Any] = {}
    for runtime, records in measured.items():
        for scheme in ("float32", "int8"):
            parent, lcrm = (records[f"{model}-{scheme}"] for model in ("parent", "lcrm"))
            before, after = (_p50(record) for record in (parent, lcrm))
            pairs = zip(parent["round_medians_ms"], lcrm["round_medians_ms"], strict=True)
            change = 100 * (float(np.median([new / old for old, new in pairs])) - 1)
            changes[f"{runtime} {scheme}"] = change
            kept = [records[f"{part}-{scheme}"] for part in ("conv1", "dense")]
            kept_ms = sum(record["latency_ms"]["p50"]["value"] for record in kept)
            paper = f"{_PAPER['latency']:.2f}"
            table.append([runtime, scheme, before, after, f"{change:.1f}", paper, f"{kept_ms:.2f}"])
    table.append(
        ["file", "float32", _mb(sizes["parent-float32"]), _mb(sizes["lcrm-float32"]),
         f"{100 * (sizes['lcrm-float32'] / sizes['parent-float32'] - 1):.1f}",
         f"{100 * (_PAPER['lcrm_mb'] / _PAPER['base_mb'] - 1):.1f} "
         f"({_PAPER['base_mb']} MB, {_PAPER['lcrm_mb']} MB)", "-"]
    )  # fmt: skip
    table.append(
        ["file", "int8", _mb(sizes["parent-int8"]), _mb(sizes["lcrm-int8"]),
         f"{100 * (sizes['lcrm-int8'] / sizes['parent-int8'] - 1):.1f}", "-", "-"]
    )  # fmt: skip
    facts = {"change_percent": changes, "file_bytes": sizes, "paper": _PAPER, "records": measured}
    results.write("alexnet_pair", facts, table)


def export_pair(folder: Path) -> dict[str, Path]:
    ec.set_seed(0)
    parent = ec.alexnet()
    flat = next(i for i, layer in enumerate(parent.layers) if "flatten" in layer.name)
    models = {
        "parent": parent,
        "lcrm": ec.apply_lcrm(parent)[0],
        "conv1": _part(parent.layers[:3]),
        "dense": _part(parent.layers[flat + 1 :]),
    }
    files = {}
    for name, model in models.items():
        shape = model.inputs[0].shape[1:]
        samples = [np.random.default_rng(0).random((8, *shape), dtype=np.float32)]
        for scheme in ("float32", "int8"):
            path = folder / f"{name}-{scheme}.tflite"
            ec.export_tflite(model, ec.Quantize(scheme), path, representative=samples)
            files[f"{name}-{scheme}"] = path
    return files


def _part(layers: list[Any]) -> Any:
    return keras.Sequential([keras.Input(layers[0].input.shape[1:]), *layers])


def _p50(record: dict[str, Any]) -> str:
    if record["status"] != "ok":
        raise SystemExit(f"{record['model']['file']}: {record['error']['message']}")
    p50 = record["latency_ms"]["p50"]
    return f"{p50['value']:.2f} ({p50['low']:.2f} to {p50['high']:.2f})"


def _mb(size: int) -> str:
    return f"{size / 1e6:.2f} MB"


if __name__ == "__main__":
    main()
