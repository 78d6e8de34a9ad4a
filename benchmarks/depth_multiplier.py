"""A depthwise layer with several kernels per channel, beside one on channels that are repeated.

Both compute the same with as many MACs: `DepthwiseConv2D(depth_multiplier=r)`, and a concatenation
of the input with itself in front of a `DepthwiseConv2D`. Each stands between two pointwise layers.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import results

import edgekit_converters as ec
from edgekit.boards import ProfileSettings, QemuBoard, parse_board, profile_on

_PLACES = ((32, 32, 64), (16, 96, 96), (8, 64, 64))
"""Height and width, channels in, channels out: those of a small VGG."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--board", nargs="+", default=["local", "qemu:pi4"])
    parser.add_argument("--multipliers", type=int, nargs="+", default=[2, 3, 4])
    options = parser.parse_args()
    table = [["board", "file", "layer", "r", "depth multiplier", "repeated", "ratio"]]
    facts: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        pairs = {
            (scheme, place, times): tuple(
                _exported(Path(folder), scheme, place, times, repeated)
                for repeated in (False, True)
            )
            for scheme in ("float32", "int8")
            for place in _PLACES
            for times in options.multipliers
        }
        files = [file for pair in pairs.values() for file in pair]
        for name in options.board:
            board = parse_board(name)
            settings = ProfileSettings(runs=100, seconds=1.0, idle_seconds=0.0)
            field, unit, scale = "latency_ms", "µs", 1e3
            if isinstance(board, QemuBoard):
                settings = ProfileSettings(runs=1, rounds=1, warmup=1, idle_seconds=0.0)
                field, unit, scale = "instructions", "M instructions", 1e-6
            found = dict(zip(files, profile_on(board, files, settings), strict=True))
            for (scheme, place, times), pair in pairs.items():
                costs = [_cost(found[file], field) * scale for file in pair]
                size, channels, filters = place
                layer = f"{size} x {size} x {channels} -> {filters}"
                facts[f"{name} {scheme} {layer} r={times}"] = dict(
                    zip(("depth_multiplier", "repeated", "unit"), (*costs, unit), strict=True)
                )
                table.append(
                    [name, scheme, layer, str(times), f"{costs[0]:.4g} {unit}",
                     f"{costs[1]:.4g} {unit}", f"{costs[0] / costs[1]:.2f}"]
                )  # fmt: skip
    results.write("depth_multiplier", facts, table)


def _cost(record: Any, field: str) -> float:
    value = record[field]["p50"] if field == "latency_ms" else record[field]
    if value["value"] is None:
        raise SystemExit(f"{field}: {value['reason']}")
    return float(value["value"])


def _exported(
    folder: Path, scheme: str, place: tuple[int, int, int], times: int, repeated: bool
) -> Path:
    size, channels, filters = place
    source = keras.Input((size, size, 1))
    tensor = keras.layers.Conv2D(channels, 1, activation="relu")(source)
    if repeated:
        tensor = keras.layers.Concatenate()([tensor] * times)
    tensor = keras.layers.DepthwiseConv2D(
        3, padding="same", depth_multiplier=1 if repeated else times
    )(tensor)
    model = keras.Model(source, keras.layers.Conv2D(filters, 1)(tensor))
    file = folder / f"{scheme}-{size}-{channels}-{times}-{repeated}.tflite"
    samples = np.random.default_rng(0).normal(size=(8, size, size, 1)).astype(np.float32)
    ec.export_tflite(model, ec.Quantize(scheme), file, representative=[samples])
    return file


if __name__ == "__main__":
    main()
