"""LCRM chosen for a latency on this machine, distilled, then pruned, clustered and quantised.

A VGG-9 on glyphs in float32, as it is trained, beside `lcrm(auto=true, target=…)+distill+PCQ`: the
size of the compressed file, the latency in turns, the accuracy. The recipe's goal is a share of
the parent's latency, which is measured first. Every finished seed is a line of a file beside the
results, so that an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import results

import edgekit_converters as ec
from edgekit import load_data, optimize
from edgekit.boards import ProfileSettings, parse_board, profile_on
from edgekit.data import glyphs
from edgekit.data.generated import generated
from edgekit.optimization import load_parent

_LINES = Path(__file__).parent / "results" / "automatic_cascade.log.jsonl"
_SAMPLES = (6000, 1000, 4000)
_PROFILING = ProfileSettings(runs=100, seconds=2.0, idle_seconds=0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=12, help="of the parent")
    parser.add_argument("--tuning-epochs", type=int, default=3, help="of P, C and Q each")
    parser.add_argument("--share", type=float, default=1 / 7, help="of the parent's latency")
    options = parser.parse_args()
    for seed in options.seeds:
        if seed not in {row["seed"] for row in _rows(options)}:
            with _LINES.open("a") as lines:
                lines.write(json.dumps(_carry_out(seed, options)) + "\n")
    _write(_rows(options))


def vgg9() -> Any:
    """VGG-9 with a quarter of its channels, which keep an int8 kernel busy."""
    layers: list[Any] = [keras.Input((glyphs.SIZE, glyphs.SIZE, 1))]
    for number, filters in enumerate((32, 64, 128, 128, 192, 192), start=1):
        layers += [
            keras.layers.Conv2D(filters, 3, padding="same", name=f"conv{number}"),
            keras.layers.BatchNormalization(momentum=0.9, name=f"conv{number}_bn"),
            keras.layers.ReLU(name=f"conv{number}_relu"),
        ]
        if number % 2 == 0:
            layers.append(keras.layers.MaxPooling2D(2))
    layers.append(keras.layers.Flatten())
    for _ in range(2):
        layers += [keras.layers.Dense(256, "relu"), keras.layers.Dropout(0.3)]
    layers.append(keras.layers.Dense(len(glyphs.CHARACTERS), "softmax"))
    return keras.Sequential(layers, name="vgg9_quarter")


def _carry_out(seed: int, options: Any) -> dict[str, Any]:
    """Trains the parent and carries out both recipes in one run folder."""
    data = load_data(generated("glyphs", seed=seed, samples=_SAMPLES), (24, 24, 1), seed=seed)
    training = ec.Training(
        epochs=options.epochs, patience=0, seed=seed, tuning_epochs=options.tuning_epochs
    )
    ec.set_seed(seed)
    model = vgg9()
    pairs = [(split.x, split.y) for split in (data.train, data.validation)]
    objective = ec.classification_objective(model, data.classes)
    ec.fine_tune(model, pairs[0], pairs[1], objective, training)
    parent = load_parent(model, seed=seed)
    with TemporaryDirectory() as folder:
        base = optimize(parent, "base", data, out=folder, folder="base", training=training)
        before = _latencies([base.file])[0]
        goal = f"latency_ms<={float(f'{before * options.share:.3g}')} on local"
        recipe = f"lcrm(auto=true, target='{goal}')+distill(epochs={options.epochs // 2})+PCQ"
        print(f"seed {seed}: {recipe}", flush=True)
        done = optimize(parent, recipe, data, out=folder, folder="auto", training=training)
        latencies = _latencies([base.file, done.file])
        row = {
            "seed": seed,
            "options": _settings(options),
            "recipe": recipe,
            "notes": [note for stage in done.stages for note in stage.notes],
            "latency_ms": latencies,
            "accuracy": [each.accuracy.value for each in (base, done)],
            "gzip_bytes": [each.gzip_bytes.value for each in (base, done)],
            "file_bytes": [each.file_bytes.value for each in (base, done)],
        }
    print(row, flush=True)
    return row


def _latencies(files: list[Path]) -> list[float]:
    records = profile_on(parse_board("local"), files, _PROFILING)
    return [float(record["latency_ms"]["p50"]["value"]) for record in records]


def _settings(options: Any) -> dict[str, Any]:
    return {key: value for key, value in vars(options).items() if key != "seeds"}


def _rows(options: Any) -> list[dict[str, Any]]:
    """The finished seeds of these options."""
    lines = _LINES.read_text().splitlines() if _LINES.exists() else []
    rows = (json.loads(line) for line in lines)
    return [row for row in rows if row["options"] == _settings(options)]


def _write(rows: list[dict[str, Any]]) -> None:
    table = [["seed", "recipe", "accuracy", "gzip -9", "latency"]]
    for row in rows:
        table.append(
            [
                str(row["seed"]), f"`{row['recipe']}`",
                "{:.4f} -> {:.4f}".format(*row["accuracy"]),
                _smaller(row["gzip_bytes"], "{:.0f}"), _smaller(row["latency_ms"], "{:.3f} ms"),
            ]
        )  # fmt: skip
    change = statistics.mean(row["accuracy"][1] - row["accuracy"][0] for row in rows)
    table.append(
        [
            "mean", "", f"{100 * change:+.2f} points",
            *(f"1/{statistics.mean(r[what][0] / r[what][1] for r in rows):.1f}"
              for what in ("gzip_bytes", "latency_ms")),
        ]
    )  # fmt: skip
    results.write("automatic_cascade", {"rows": rows}, table)


def _smaller(pair: list[float], form: str) -> str:
    return f"{form.format(pair[0])} -> {form.format(pair[1])} (1/{pair[0] / pair[1]:.1f})"


if __name__ == "__main__":
    main()
