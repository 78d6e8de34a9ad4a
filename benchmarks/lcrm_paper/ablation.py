"""The LCRM paper's ablation (Table 13) on glyphs: each case of the algorithm left out once.

A case left out means that its convolutions stay as the parent has them. All models start from
fresh weights and train on the same images with the same settings. Each finished training is a line
of a log, from which an interrupted run goes on.

    python -m benchmarks.lcrm_paper.ablation
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

import edgekit_converters as ec
from benchmarks import results
from benchmarks.lcrm_paper.rows import mean_text
from edgekit.boards import LocalBoard, ProfileSettings, profile_on
from edgekit.data.glyphs import CHARACTERS, SIZE, make_glyphs
from edgekit_converters.complexity import parameters, total_macs
from edgekit_converters.graph import read_graph
from edgekit_converters.lcrm.plan import plan_lcrm

CASES = ("1.1", "1.2", "2", "3")
SCHEMES = ("float32", "int8")
LOG = Path(results.__file__).parent / "results" / "ablation.log.jsonl"


@dataclass(frozen=True)
class Setup:
    """What every training has in common; images of 24 x 24, Adam, the best epoch by validation."""

    train: int = 3000
    validation: int = 500
    test: int = 2000
    epochs: int = 12
    batch_size: int = 32
    learning_rate: float = 1e-3


SETUPS = {"alexnet_small": Setup(), "vgg9_small": Setup(train=2400, epochs=10)}
"""What fits two cores in half an hour; an epoch of the second takes twice as long."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=SETUPS, default=list(SETUPS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    for name, value in asdict(Setup()).items():
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=type(value), help="instead of the network's own")
    parser.add_argument("--seconds", type=float, default=4.0, help="of profiling for each file")
    parser.add_argument("--log", type=Path, default=LOG, help="finished trainings, one a line")
    options = parser.parse_args()
    asked = {name: getattr(options, name) for name in asdict(Setup())}
    given = {name: value for name, value in asked.items() if value is not None}
    setups = {model: replace(SETUPS[model], **given) for model in options.models}
    done = train_all(setups, options.seeds, options.log)
    rows = summary(done, costs(options.models, options.seconds))
    facts = {
        "setups": {model: asdict(setup) for model, setup in setups.items()},
        "seeds": options.seeds,
        "load_average": os.getloadavg()[0],
        "rows": rows,
        "trainings": done,
    }
    results.write("ablation", facts, table(rows))


def variants(model: Any) -> dict[str, tuple[str, ...] | None]:
    """The `where` of every version of the model: None leaves it alone, () is all of LCRM.

    A case is left out where it occurs.
    """
    plan = [d for d in plan_lcrm(read_graph(model)) if d.substitute is not None]
    found: dict[str, tuple[str, ...] | None] = {"parent": None, "lcrm": ()}
    for case in CASES:
        layers = tuple(f"!{decision.path}" for decision in plan if decision.case == case)
        if layers:
            found[f"without {case}"] = layers
    return found


def build(name: str, variant: str) -> Any:
    """The parent or a version of it, all weights fresh."""
    model = ec.PARENTS[name]()
    where = variants(model)[variant]
    return model if where is None else ec.apply_lcrm(model, where=where, weights="fresh")[0]


def train_all(setups: dict[str, Setup], seeds: list[int], log: Path) -> list[dict[str, Any]]:
    """Every version of every model with every seed, seeds outermost; what the log has is kept."""
    done = []
    for seed in seeds:
        for name, setup in setups.items():
            known, data = _logged(log, setup), _data(setup)
            for variant in variants(ec.PARENTS[name]()):
                row = known.get((name, variant, seed))
                if row is None:
                    row = _trained(name, variant, seed, setup, data)
                    with log.open("a") as file:
                        file.write(json.dumps({"setup": asdict(setup), **row}) + "\n")
                    print(row, flush=True)
                done.append(row)
    return done


@cache
def _data(setup: Setup) -> tuple[Any, ...]:
    return tuple(
        make_glyphs(count, part, SIZE)
        for part, count in enumerate((setup.train, setup.validation, setup.test), start=1)
    )


def _logged(log: Path, setup: Setup) -> dict[tuple[str, str, int], dict[str, Any]]:
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    mine = [line for line in lines if line.pop("setup") == asdict(setup)]
    return {(line["model"], line["variant"], line["seed"]): line for line in mine}


def _trained(name: str, variant: str, seed: int, setup: Setup, data: Any) -> dict[str, Any]:
    train, validation, test = data
    ec.set_seed(seed)
    model = build(name, variant)
    start = time.monotonic()
    told = ec.fine_tune(
        model,
        train,
        validation,
        ec.classification_objective(model, len(CHARACTERS)),
        ec.Training(
            epochs=setup.epochs,
            batch_size=setup.batch_size,
            learning_rate=setup.learning_rate,
            patience=0,
            seed=seed,
        ),
    )
    seconds = time.monotonic() - start
    with tempfile.TemporaryDirectory() as folder:
        scores = {scheme: _score(model, scheme, train, test, folder) for scheme in SCHEMES}
    return {
        "model": name,
        "variant": variant,
        "seed": seed,
        "accuracy": scores["float32"][0],
        "loss": scores["float32"][1],
        "int8_accuracy": scores["int8"][0],
        "best_epoch": told.best_epoch,
        "validation": told.history["val_accuracy"],
        "validation_loss": told.history["val_loss"],
        "seconds": seconds,
    }


def _score(model: Any, scheme: Any, train: Any, test: Any, folder: str) -> tuple[float, float]:
    """Accuracy and cross-entropy of the model's file on the test images."""
    file = Path(folder) / f"{scheme}.tflite"
    ec.export_tflite(model, ec.Quantize(scheme), file, representative=[train[0][:200]])
    images, labels = test
    given = np.stack([outputs[0] for outputs in ec.predict(file, images)])
    chosen = given[np.arange(len(labels)), labels]
    right = ec.guess(given, False) == labels
    return float(right.mean()), float(-np.log(np.maximum(chosen, 1e-7)).mean())


def costs(names: Any, seconds: float) -> dict[tuple[str, str], dict[str, Any]]:
    """Parameters, MACs, bytes of the files, and their latency on this machine in turns."""
    images = make_glyphs(64, 4, SIZE)[0]
    found: dict[tuple[str, str], dict[str, Any]] = {}
    files: dict[tuple[str, str, str], Path] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            for variant in variants(ec.PARENTS[name]()):
                ec.set_seed(0)  # latency does not depend on what the weights have learnt
                model = build(name, variant)
                facts = {"parameters": parameters(model), "macs": total_macs(read_graph(model))[0]}
                for scheme in SCHEMES:
                    file = Path(folder) / f"{name}-{variant.replace(' ', '-')}-{scheme}.tflite"
                    ec.export_tflite(model, ec.Quantize(scheme), file, representative=[images])
                    files[name, variant, scheme] = file
                    facts[f"{scheme}_bytes"] = file.stat().st_size
                found[name, variant] = facts
        settings = ProfileSettings(seconds=seconds, rounds=8)
        told = profile_on(LocalBoard(Path(sys.executable)), list(files.values()), settings)
    for (name, variant, scheme), record in zip(files, told, strict=True):
        found[name, variant][f"{scheme}_latency_ms"] = record["latency_ms"]["p50"]
    return found


def summary(
    done: list[dict[str, Any]], costs: dict[tuple[str, str], dict[str, Any]]
) -> list[dict[str, Any]]:
    """One row for each version: mean and standard deviation over the seeds, and its costs."""
    rows = []
    for (name, variant), facts in costs.items():
        mine = [row for row in done if (row["model"], row["variant"]) == (name, variant)]
        row: dict[str, Any] = {"model": name, "variant": variant, **facts}
        for what in ("accuracy", "loss", "int8_accuracy", "best_epoch"):
            values = [float(one[what]) for one in mine]
            row[what] = {"mean": mean(values), "spread": spread(values)}
        rows.append(row)
    return rows


def spread(values: list[float]) -> float | None:
    """The sample standard deviation; None where there is one value."""
    return stdev(values) if len(values) > 1 else None


def table(rows: list[dict[str, Any]]) -> list[list[str]]:
    """The rows as text."""
    lines = [
        ["model", "version", "accuracy", "loss", "int8", "parameters", "MACs", "float32 file",
         "int8 file", "float32 ms", "int8 ms"]
    ]  # fmt: skip
    for row in rows:
        lines.append(
            [
                row["model"], row["variant"], mean_text(row["accuracy"]), mean_text(row["loss"]),
                mean_text(row["int8_accuracy"]), f"{row['parameters']:,}",
                f"{row['macs'] / 1e6:.2f} M", f"{row['float32_bytes']:,}",
                f"{row['int8_bytes']:,}", _ms(row["float32_latency_ms"]),
                _ms(row["int8_latency_ms"]),
            ]
        )  # fmt: skip
    return lines


def _ms(number: dict[str, Any]) -> str:
    value = number.get("value", math.nan)
    return f"{value:.3f}"


if __name__ == "__main__":
    main()
