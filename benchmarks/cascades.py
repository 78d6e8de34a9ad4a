"""What each cascade costs in accuracy and gains in size, on digits and on a harder task.

Every recipe of the paper's comparison on both tasks; no profiling, since pruning and clustering
change no latency.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import results

import edgekit_converters as ec
from edgekit import load_data, optimize
from edgekit.comparing import ALL_RECIPES
from edgekit.data import Dataset, glyphs
from edgekit.data.generated import generated
from edgekit.optimization import load_parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", default=["digits", "glyphs"])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    table = [["task", "recipe", "accuracy", "change", "file", "gzip -9", "of base", "zstd -19"]]
    facts: dict[str, Any] = {"seed": options.seed}
    for task in options.tasks:
        model, data, training = TASKS[task](options.seed)
        with tempfile.TemporaryDirectory() as folder:
            parent = load_parent(model, seed=options.seed)
            seconds, done = carry_out_all(
                parent, data, training, Path(folder) / "shared", ALL_RECIPES
            )
        base = done["base"]
        for recipe, result in done.items():
            change = result["accuracy"] - base["accuracy"]
            ratio = base["gzip_bytes"] / result["gzip_bytes"]
            table.append(
                [
                    task, recipe, f"{result['accuracy']:.4f}", f"{100 * change:+.2f} points",
                    str(result["file_bytes"]), str(result["gzip_bytes"]), f"1/{ratio:.1f}",
                    str(result["zstd_bytes"]),
                ]
            )  # fmt: skip
        facts[task] = {"recipes": done, "seconds": seconds}
    results.write("cascades", facts, table)


def carry_out_all(
    parent: Any, data: Dataset, training: Any, out: Path, recipes: Sequence[str]
) -> tuple[float, dict[str, dict[str, float]]]:
    """Seconds for the recipes in one run folder, and what each of them came to."""
    start, done = time.monotonic(), {}
    for recipe in recipes:
        result = optimize(parent, recipe, data, out=out, training=training)
        numbers = ("accuracy", "file_bytes", "gzip_bytes", "zstd_bytes")
        done[recipe] = {name: float(getattr(result, name).value or 0) for name in numbers}
        print(f"{recipe}: {done[recipe]}", flush=True)
    return time.monotonic() - start, done


def digits_task(seed: int) -> tuple[Any, Dataset, Any]:
    data = load_data("digits", (8, 8, 1), seed=seed)
    training = ec.Training(epochs=40, patience=8, seed=seed)
    return _trained(ec.digits_cnn(), data, training), data, training


def glyphs_task(seed: int) -> tuple[Any, Dataset, Any]:
    arrays = generated("glyphs", seed=seed, samples=(6000, 1000, 3000))
    data = load_data(arrays, (glyphs.SIZE, glyphs.SIZE, 1), seed=seed)
    training = ec.Training(epochs=30, patience=6, batch_size=64, seed=seed, tuning_epochs=6)
    return _trained(glyphs_cnn(), data, training), data, training


def glyphs_cnn() -> Any:
    """A CNN like the digits one for glyphs."""
    import keras

    layers: list[Any] = [keras.Input((glyphs.SIZE, glyphs.SIZE, 1))]
    for number, filters in enumerate((32, 64, 96, 96, 64), start=1):
        layers += [
            keras.layers.Conv2D(filters, 3, padding="same", name=f"conv{number}"),
            keras.layers.BatchNormalization(momentum=0.9, name=f"conv{number}_bn"),
            keras.layers.ReLU(name=f"conv{number}_relu"),
        ]
        if number <= 3:
            layers.append(keras.layers.MaxPooling2D(2))
    layers += [keras.layers.Flatten(), keras.layers.Dropout(0.3)]
    layers.append(keras.layers.Dense(len(glyphs.CHARACTERS), "softmax"))
    return keras.Sequential(layers, name="glyphs_cnn")


def _trained(model: Any, data: Dataset, training: Any) -> Any:
    ec.set_seed(training.seed)
    ec.fine_tune(
        model,
        (data.train.x, data.train.y),
        (data.validation.x, data.validation.y),
        ec.classification_objective(model, data.classes),
        training,
    )
    return model


TASKS = {"digits": digits_task, "glyphs": glyphs_task}


if __name__ == "__main__":
    main()
