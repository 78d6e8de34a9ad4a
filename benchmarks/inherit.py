"""What substitutes inherit: accuracy before any training, and epochs to the parent's accuracy.

A VGG-9-like network on glyphs: LCRM from scratch as in the paper, inherited, and inherited with
distillation, for depth multipliers 1 and 2. With --alexnet: time and memory of fitting AlexNet's
four substitutes on images of 224 x 224.
"""

from __future__ import annotations

import argparse
import resource
import time
from typing import Any

import numpy as np
import results

import edgekit_converters as ec
from edgekit.data.glyphs import CHARACTERS, SIZE, make_glyphs
from edgekit_converters.complexity import total_macs
from edgekit_converters.graph import read_graph
from edgekit_converters.lcrm.inherit import inherit
from edgekit_converters.outcome import Outcome

_BATCH = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--alexnet", action="store_true", help="time and memory of a fit instead")
    parser.add_argument("--images", type=int, default=2048, help="that AlexNet is fitted on")
    parser.add_argument("--samples", type=int, default=5000, help="glyphs to train on")
    parser.add_argument("--epochs", type=int, default=20, help="of the parent and from scratch")
    parser.add_argument("--short", type=int, default=8, help="epochs where something is inherited")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.alexnet:
        _alexnet(options.images)
    else:
        _glyphs(options)


def vgg9() -> Any:
    """Six convolutions and two dense layers for glyphs; every case of LCRM occurs."""
    import keras

    layers: list[Any] = [keras.Input((SIZE, SIZE, 1))]
    for number, filters in enumerate((32, 64, 96, 96, 64, 64), start=1):
        layers += [
            keras.layers.Conv2D(filters, 3, padding="same", name=f"conv{number}"),
            keras.layers.BatchNormalization(momentum=0.9, name=f"conv{number}_bn"),
            keras.layers.ReLU(name=f"conv{number}_relu"),
        ]
        if number in (1, 2, 4):
            layers.append(keras.layers.MaxPooling2D(2))
    layers += [keras.layers.Flatten(), keras.layers.Dense(256, "relu"), keras.layers.Dropout(0.4)]
    layers.append(keras.layers.Dense(len(CHARACTERS), "softmax"))
    return keras.Sequential(layers, name="vgg9")


def _glyphs(options: Any) -> None:
    seed = options.seed
    train, validation, test = (
        make_glyphs(count, 10 * seed + part)
        for part, count in ((1, options.samples), (2, 2000), (3, 3000))
    )
    data = ec.TrainingData(train, validation, len(CHARACTERS))
    training = ec.Training(epochs=options.epochs, patience=0, batch_size=_BATCH, seed=seed)
    short = ec.Training(epochs=options.short, patience=0, batch_size=_BATCH, seed=seed)
    untrained = ec.Training(epochs=0, batch_size=_BATCH, seed=seed)
    ec.set_seed(seed)
    parent = vgg9()
    told = ec.fine_tune(
        parent, train, validation, ec.classification_objective(parent, data.classes), training
    )
    goal = max(told.history["val_accuracy"])
    rows = [_row("parent", parent, None, told.history, test, goal, 0.0)]
    for multiplier in (1, 2):
        kind = {"multiplier": multiplier}
        scratch = ec.run_pass(
            parent, ec.Lcrm(weights="fresh", **kind), data=data, training=training
        )
        rows.append(
            _row(
                f"scratch, r = {multiplier}", scratch.model, None, _curves(scratch), test, goal, 0.0
            )
        )
        start = time.monotonic()
        step = ec.Lcrm(inherit=True, **kind)
        fitted = ec.run_pass(parent, step, data=data, training=untrained)
        seconds, before = time.monotonic() - start, _right(fitted.model, test)
        trained = ec.run_pass(parent, step, data=data, training=short)
        taught = ec.run_pass(
            fitted.model, ec.Distill(options.short), data=data, training=short, parent=parent
        )
        for name, outcome in (("inherited", trained), ("inherited + distilled", taught)):
            rows.append(
                _row(
                    f"{name}, r = {multiplier}",
                    outcome.model,
                    before,
                    _curves(outcome),
                    test,
                    goal,
                    seconds,
                )
            )
    table = [
        [
            "model",
            "MACs",
            "untrained",
            "after training",
            "of epochs",
            "to 1 point below",
            "to the parent's",
            "fit",
        ]
    ]
    for row in rows:
        table.append(
            [
                row["model"], f"{row['macs'] / 1e6:.2f} M",
                "" if row["untrained"] is None else f"{row['untrained']:.3f}",
                f"{row['trained']:.3f}", str(row["epochs"]), str(row["near"] or "not"),
                str(row["reached"] or "not"), f"{row['fit_s']:.0f} s" if row["fit_s"] else "",
            ]
        )  # fmt: skip
    facts = {"seed": seed, "samples": options.samples, "parent_validation": goal, "rows": rows}
    results.write("inherit", facts, table)


def _row(
    name: str, model: Any, before: float | None, history: Any, test: Any, goal: float, fit_s: float
) -> dict[str, Any]:
    seen = history["val_accuracy"]
    row = {
        "model": name,
        "macs": total_macs(read_graph(model))[0],
        "untrained": before,
        "trained": _right(model, test),
        "epochs": len(seen),
        "near": next((i + 1 for i, each in enumerate(seen) if each >= goal - 0.01), None),
        "reached": next((i + 1 for i, each in enumerate(seen) if each >= goal), None),
        "fit_s": fit_s,
        "validation": seen,
    }
    print(row, flush=True)
    return row


def _curves(outcome: Outcome) -> dict[str, list[float]]:
    return outcome.trained.history


def _right(model: Any, test: tuple[Any, Any]) -> float:
    return float((model.predict(test[0], verbose=0).argmax(-1) == test[1]).mean())


def _alexnet(images: int) -> None:
    # Weights as initialised: what is timed does not depend on them.
    parent = ec.alexnet()
    x = np.random.default_rng(0).random((images, 224, 224, 3), np.float32)
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    student, plan = ec.apply_lcrm(parent)
    start = last = time.monotonic()
    rows: list[list[str]] = []
    names = [decision.path for decision in plan if decision.substitute]

    def note(layer: int, layers: int, facts: dict[str, float]) -> None:
        nonlocal last
        now = time.monotonic()
        rows.append([names[layer - 1], f"{now - last:.0f} s"])
        print(rows[-1], flush=True)
        last = now

    inherit(parent, student, plan, [x], note)
    seconds, peak = time.monotonic() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows += [["batch norms and dense layer", f"{time.monotonic() - last:.0f} s"]]
    rows += [["all", f"{seconds:.0f} s"], ["peak memory", f"{peak / 2**20:.2f} GiB"]]
    rows += [["memory before the fit, images included", f"{held:.2f} GiB"]]
    facts = {"images": images, "seconds": seconds, "peak_gib": peak / 2**20, "before_gib": held}
    results.write("inherit_alexnet", facts, [["", f"{images} images"], *rows])


if __name__ == "__main__":
    main()
