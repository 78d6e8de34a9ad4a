"""LCRM on three applications: from scratch as in the paper, inherited, and chosen per layer.

For each task and seed a parent is trained, then its LCRM versions. Scores are those of float32
files on the test samples. Every finished version is a line of a file beside the results, so that
an interrupted run goes on; the table has the mean and the spread over the seeds. Latencies are
measured at the end, all files in turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import results

import edgekit_converters as ec
from edgekit.boards import ProfileSettings, parse_board, profile_on
from edgekit.data import Dataset, load_data
from edgekit.data.generated import generated
from edgekit.stages import training_data
from edgekit.store import file_name
from edgekit.tasks import score_file

_LINES = Path(__file__).parent / "results" / "applications.log.jsonl"
_FILES = _LINES.with_name("applications.files")
_SCHEMES = {"float32": "", "int8": "_int8"}
_PROFILING = ProfileSettings(runs=30, seconds=1.0, idle_seconds=0.0, sample_interval_s=0.0)


@dataclass(frozen=True)
class Application:
    """A parent, its data, how long it trains, and what its automatic LCRM is asked for."""

    parent: str
    data: str
    samples: tuple[int, int, int]
    epochs: int
    target: str
    batch_size: int = 32
    learning_rate: float = 1e-3


APPLICATIONS = (
    Application("vgg9_small", "glyphs", (6000, 2000, 4000), 16, "macs<=0.4x"),
    Application("unet_small", "nuclei", (240, 60, 120), 24, "parameters<=0.33x", 8),
    Application("decom_net_small", "lowlight", (300, 60, 120), 16, "macs<=0.4x", 16),
)


@dataclass(frozen=True)
class Version:
    """One version of the parent: how it is made, and the share of the parent's epochs it gets."""

    recipe: str
    share: float


def versions(target: str) -> tuple[Version, ...]:
    """The paper's LCRM, the inherited one in a third of its epochs, the automatic one in half."""
    return (
        Version("lcrm(weights=fresh)", 1.0),
        Version("lcrm(inherit=true)+distill", 1 / 3),
        Version(f"lcrm(auto=true, target='{target}')+distill", 1 / 2),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", default=[each.data for each in APPLICATIONS])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    for seed in options.seeds:
        for application in APPLICATIONS:
            if application.data in options.tasks:
                _carry_out(application, seed)
    _write(_timed(rows()))


def _carry_out(application: Application, seed: int) -> None:
    """Trains and scores what no earlier run has finished; the parent is kept nowhere."""
    wanted = [Version("base", 1.0), *versions(application.target)]
    done = {row["recipe"] for row in rows() if _is_of(row, application, seed)}
    if done.issuperset(version.recipe for version in wanted):
        return
    ec.set_seed(seed)
    parent = ec.PARENTS[application.parent]()
    shape = tuple(parent.inputs[0].shape[1:])
    data = load_data(generated(application.data, shape, seed=seed, samples=application.samples))
    given, settings = training_data(data), _settings(application, seed)
    objective = ec.objective_for(parent, given.targets)
    curve = _curve(
        ec.fine_tune(parent, given.train, given.validation, objective, settings).history, objective
    )
    best = max(curve)
    if "base" not in done:
        facts = {"epochs": len(curve), "to_parent": curve.index(best) + 1, "validation": curve}
        _keep(application, seed, "base", parent, data, facts)
    for version in wanted[1:]:
        if version.recipe in done:
            continue
        epochs = max(round(application.epochs * version.share), 1)
        first, *taught = ec.parse_recipe(version.recipe).passes
        trained = replace(settings, epochs=epochs)
        fitted = replace(settings, epochs=0) if taught else trained
        outcome = started = ec.run_pass(parent, first, data=given, training=fitted)
        if taught:
            outcome = ec.run_pass(
                started.model, ec.Distill(epochs), data=given, training=trained, parent=parent
            )
        curve = _curve(outcome.trained.history, objective)
        facts = {
            "epochs": epochs,
            "to_parent": next((i + 1 for i, each in enumerate(curve) if each >= best), None),
            "untrained": started.accuracy_after if taught else None,
            "validation": curve,
            "chosen": started.notes,
        }
        _keep(application, seed, version.recipe, outcome.model, data, facts)


def _settings(application: Application, seed: int) -> Any:
    return ec.Training(
        epochs=application.epochs,
        patience=0,
        batch_size=application.batch_size,
        learning_rate=application.learning_rate,
        seed=seed,
    )


def _curve(history: dict[str, list[float]], objective: Any) -> list[float]:
    """What training showed of the validation samples after each epoch; more is better.

    Of pictures the mean squared error, negated.
    """
    sign = -1 if objective.watched == "mse" else 1
    return [sign * each for each in history[f"val_{objective.watched}"]]


def _keep(
    application: Application, seed: int, recipe: str, model: Any, data: Dataset, facts: Any
) -> None:
    """Scores the version's files on the test samples and adds its line."""
    seen = ec.inspect_model(model)
    from_logits = ec.objective_for(model, data.targets).from_logits
    row = {
        "task": application.data,
        "model": application.parent,
        "recipe": recipe,
        "seed": seed,
        "metric": data.task.metric,
        "parameters": seen.parameters,
        "macs": seen.macs,
        **facts,
    }
    calibration = [data.train.x[:200]]
    _FILES.mkdir(exist_ok=True)
    for scheme, suffix in _SCHEMES.items():
        file = _file(row, scheme)
        done = ec.export_tflite(model, ec.Quantize(scheme), file, representative=calibration)
        scored = score_file(data.task, file, data.test.x, data.test.y, from_logits)
        row[f"score{suffix}"] = data.task.number(scored.samples).value
        row[f"metrics{suffix}"] = {each.name: each.value.value for each in scored.metrics}
        row[f"file_bytes{suffix}"] = done.file_bytes
        row[f"gzip_bytes{suffix}"] = done.gzip_bytes
    print({key: value for key, value in row.items() if key != "validation"}, flush=True)
    with _LINES.open("a") as lines:
        lines.write(json.dumps(row) + "\n")


def _file(row: dict[str, Any], scheme: str) -> Path:
    return _FILES / f"{row['task']}-{row['seed']}-{file_name(row['recipe'])}-{scheme}.tflite"


def _timed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with the latencies of their files."""
    files = [_file(row, scheme) for row in rows for scheme in _SCHEMES]
    records = profile_on(parse_board("local"), files, _PROFILING)
    found = dict(
        zip(files, (record["latency_ms"]["p50"]["value"] for record in records), strict=True)
    )
    return [
        row | {f"latency_ms{end}": found[_file(row, scheme)] for scheme, end in _SCHEMES.items()}
        for row in rows
    ]


def rows() -> list[dict[str, Any]]:
    """Every version finished so far."""
    if not _LINES.exists():
        return []
    return [json.loads(line) for line in _LINES.read_text().splitlines()]


def _is_of(row: dict[str, Any], application: Application, seed: int) -> bool:
    return (row["task"], row["seed"]) == (application.data, seed)


def _groups(rows: list[dict[str, Any]]) -> Iterator[tuple[str, str, list[dict[str, Any]]]]:
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["task"], row["recipe"]), []).append(row)
    for (task, recipe), group in sorted(found.items(), key=lambda each: each[0][0]):
        yield task, recipe, group


def _write(rows: list[dict[str, Any]]) -> None:
    header = ["task", "recipe", "seeds", "MACs", "parameters", "untrained", "score", "score int8"]
    table = [[*header, "metrics", "epochs", "to the parent's"]]
    for task, recipe, group in _groups(rows):
        untrained = [row["untrained"] for row in group if row.get("untrained") is not None]
        reached = [str(row["to_parent"] or "not") for row in group]
        named = [
            each for row in group for each, value in row["metrics"].items() if value is not None
        ]
        names = list(dict.fromkeys(named))
        others = (f"{name} {_mean([row['metrics'][name] for row in group])}" for name in names)
        table.append(
            [
                task, recipe, str(len(group)),
                f"{statistics.mean(row['macs'] for row in group) / 1e6:.2f} M",
                f"{statistics.mean(row['parameters'] for row in group) / 1e3:.1f} k",
                _mean(untrained), _mean([row["score"] for row in group]),
                _mean([row["score_int8"] for row in group]), "; ".join(others),
                str(group[0]["epochs"]), ", ".join(reached),
            ]
        )  # fmt: skip
    results.write("applications", {"rows": rows}, table)


def _mean(values: list[float | None]) -> str:
    """Mean and standard deviation over the seeds."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    spread = f" ± {statistics.stdev(known):.3f}" if len(known) > 1 else ""
    return f"{statistics.mean(known):.3f}{spread}"


if __name__ == "__main__":
    main()
