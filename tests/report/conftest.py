"""A made-up comparison with the shape of a real one: digits, eight recipes, two boards."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgekit.comparison import Advice, Comparison, LayerSaving, Row, Stage
from edgekit_converters import Recipe, parse_recipe
from edgekit_converters.proof import FileProof, FloatOperator, LayerProof, WeightTensor
from edgekit_device.number import Number

# Test modules have no package under --import-mode=importlib: without this, no report_page.
sys.path.insert(0, str(Path(__file__).parent))

FIGURES: dict[str, tuple[float, int, int, int, int, float]] = {
    # recipe: accuracy, parameters, MACs, file, gzip, latency factor
    "base": (0.989, 46_762, 2_830_000, 193_560, 174_202, 1.00),
    "int8": (0.987, 46_762, 2_830_000, 55_688, 44_120, 0.41),
    "P": (0.986, 46_762, 2_830_000, 193_560, 101_337, 1.01),
    "C": (0.984, 46_762, 2_830_000, 193_560, 38_112, 0.99),
    "PCQ": (0.978, 46_762, 2_830_000, 55_688, 17_431, 0.42),
    "LCRM": (0.983, 18_140, 1_090_000, 79_204, 70_311, 0.52),
    "lcrm+int8": (0.981, 18_140, 1_090_000, 29_560, 21_874, 0.26),
    "lcrm+prune(0.5)+cluster(16)+int8": (0.966, 18_140, 1_090_000, 29_560, 11_020, 0.262),
}
PARETO = {"base", "int8", "LCRM", "lcrm+int8", "lcrm+prune(0.5)+cluster(16)+int8"}
EMULATED = "an emulated board draws no power of its own; the profile pi4 has no power model"


def accuracy_of(share: float, images: int = 1797) -> Number:
    spread = 1.96 * math.sqrt(share * (1 - share) / images)
    return Number.measured(share, round(share - spread, 4), min(1.0, round(share + spread, 4)))


def row_of(recipe: str, board: str) -> Row:
    accuracy, parameters, macs, file_bytes, gzip_bytes, factor = FIGURES[recipe]
    p50 = 1.842 * factor
    local = board == "local"
    return Row(
        recipe=recipe,
        board=board,
        file=f"models/{recipe}.tflite",
        sha256=hashlib.sha256(recipe.encode()).hexdigest(),
        accuracy=accuracy_of(accuracy),
        parameters=Number.counted(parameters),
        macs=Number.counted(macs),
        file_bytes=Number.counted(file_bytes),
        gzip_bytes=Number.counted(gzip_bytes),
        zstd_bytes=Number.counted(round(0.97 * gzip_bytes)),
        latency_p50_ms=Number.measured(p50, p50 * 0.97, p50 * 1.05)
        if local
        else Number.estimated(
            p50 * 14.2, p50 * 14.2 * 0.63, p50 * 14.2 * 2.5, "of the profile pi4"
        ),
        peak_rss_bytes=(Number.measured if local else Number.emulated)(43_500_000 + 2 * file_bytes),
        energy_j=Number.estimated(p50 * 0.0031, p50 * 0.0024, p50 * 0.0038)
        if local
        else Number.unavailable(EMULATED),
        pareto=recipe in PARETO,
        instructions=Number.unavailable("instructions are counted on emulated boards")
        if local
        else Number.emulated(round(6_400_000 * factor)),
    )


def failed(row: Row, message: str) -> Row:
    missing = Number.unavailable("the run ended in an error")
    return dataclasses.replace(
        row,
        latency_p50_ms=missing,
        peak_rss_bytes=missing,
        energy_j=missing,
        instructions=missing,
        pareto=False,
        error=message,
    )


def record_of(row: Row) -> dict[str, Any]:
    """As the agent writes it, without what the report does not show."""
    chance = random.Random(f"{row.recipe}{row.board}")
    error = None if row.error is None else {"kind": "runtime", "message": row.error}
    p50 = row.latency_p50_ms
    value = p50.value or 0.0

    def around(factor: float) -> dict[str, Any]:
        return (p50 if p50.value is None else Number.measured(value * factor)).to_json()

    samples = [
        {
            "t_s": i * 0.1,
            "cpu_cores": 0.0 if i < 2 else 0.9 + 0.15 * chance.random(),
            "rss_bytes": int(31e6 + 1.2e7 * (1 - math.exp(-i / 4)) + 2e5 * chance.random()),
        }
        for i in range(30)
    ]
    record = {
        "schema": "edgekit.record/2",
        "status": "ok" if row.error is None else "error",
        "error": error,
        "machine": {
            "board": None if row.board == "local" else "pi4",
            "model": "Raspberry Pi 4 Model B Rev 1.4",
            "architecture": "aarch64",
            "cores": 4,
            "memory_bytes": 3_977_000_000,
            "os": "Debian GNU/Linux 12 (bookworm)",
            "kernel": "6.1.0-rpi7-rpi-v8",
            "emulator": None if row.board == "local" else "QEMU 7.2, cortex-a72",
        },
        "runtime": {"name": "ai-edge-litert", "version": "2.3.0"},
        "threads": 1,
        "runs": 200,
        "latency_ms": {
            "min": around(0.93),
            "p50": p50.to_json(),
            "p90": around(1.08),
            "p99": around(1.31),
            "max": around(1.9),
            "mean": around(1.02),
        },
        "throughput_per_s": around(1.0) if not value else Number.measured(1e3 / value).to_json(),
        "cpu_utilisation": Number.measured(0.24).to_json(),
        "cpu_cores": Number.measured(0.97).to_json(),
        "peak_rss_bytes": row.peak_rss_bytes.to_json(),
        "energy_j": row.energy_j.to_json(),
        "energy_above_idle_j": row.energy_j.to_json(),
        "instructions": row.instructions.to_json(),
        "affinity": None,
        "metered": None,
        "conditions": {"throttled": "unknown", "reason": None, "moments": []},
        "samples": samples if row.error is None else [],
        "round_medians_ms": [value * f for f in (0.97, 1.0, 1.01, 1.05)] if value else [],
        "idle": {"cpu_utilisation": Number.measured(0.031).to_json(), "seconds": 2.0},
        "warmup_ms": [value * 3.1, value * 1.2, value * 1.05] if value else [],
        "load_ms": Number.measured(4.21).to_json(),
        "golden": {
            "status": "passed" if row.error is None else "absent",
            "largest_error": 2.1e-6 if row.error is None else None,
            "tolerance": 1e-4 if row.error is None else None,
            "samples": 16 if row.error is None else None,
            "reason": None if row.error is None else "the model did not run",
        },
    }
    return {"recipe": row.recipe, "board": row.board, "record": record}


def _with_idle(comparison: Comparison, share: float) -> Comparison:
    """The same runs on a machine of which other work took this share before the first model."""
    idle = {"cpu_utilisation": Number.measured(share).to_json(), "seconds": 2.0}
    records = tuple(
        {**item, "record": {**item["record"], "idle": idle}} for item in comparison.records
    )
    return dataclasses.replace(comparison, records=records)


def _twin_of(row: Row, recipe: str) -> Row:
    """A row of another recipe whose file came out the very same; its latency differs by noise."""
    p50 = Number.measured((row.latency_p50_ms.value or 0.0) * 0.9)
    return dataclasses.replace(
        row, recipe=recipe, same_as=row.recipe, pareto=False, latency_p50_ms=p50
    )


def stage_of(recipe: str, name: str, epochs: int, start: float) -> Stage:
    chance = random.Random(name)
    losses = [start * math.exp(-i / 3) + 0.03 + 0.01 * chance.random() for i in range(epochs)]
    history = {
        "loss": losses,
        "val_loss": [loss * 1.2 for loss in losses],
        "accuracy": [1 - loss / 3 for loss in losses],
        "val_accuracy": [0.99 - loss / 3 for loss in losses],
        "learning_rate": [1e-3] * epochs,
    }
    return Stage(
        recipe=recipe,
        name=name,
        seconds=1.9 * epochs + 0.4,
        epochs=epochs,
        history=history if epochs else {},
        changed=("conv2d_1", "conv2d_2", "dense"),
        skipped=(("conv2d", "3 input channels: nothing to share"),),
    )


@pytest.fixture(scope="session")
def comparison() -> Comparison:
    boards = ("local", "qemu:pi4")
    rows = [row_of(recipe, board) for board in boards for recipe in FIGURES]
    rows[-2] = failed(rows[-2], "the interpreter ended with signal 11 after 3 of 200 runs")
    return Comparison(
        model="digits_cnn.keras",
        data="sklearn digits (1797 images, 20 % held out)",
        created="2026-03-14T09:26:53Z",
        settings={"epochs": 12, "batch_size": 64, "rounds": 5, "seed": 7, "boards": list(boards)},
        versions={"edgekit": "0.1.0", "keras": "3.15.1", "tensorflow": "2.21.0"},
        rows=tuple(rows),
        layers=(
            LayerSaving("conv2d", "stem", "kept: 1 input channel", 320, 320, 18_432, 18_432, False),
            LayerSaving(
                "conv2d_1",
                "3x3, same",
                "depthwise + pointwise",
                18_496,
                2_432,
                1_179_648,
                155_648,
                True,
            ),
            LayerSaving(
                "conv2d_2",
                "3x3, stride 2",
                "low-rank 1x3 + 3x1",
                27_712,
                14_900,
                1_597_440,
                880_640,
                True,
            ),
        ),
        stages=(
            stage_of("base", "train", 12, 1.9),
            stage_of("int8", "int8", 0, 0.0),
            stage_of("P", "prune(0.5)", 6, 0.3),
            stage_of("C", "cluster(16)", 4, 0.2),
            stage_of("LCRM", "lcrm", 10, 0.9),
            dataclasses.replace(stage_of("lcrm+int8", "lcrm", 10, 0.9), reused=True),
        ),
        records=tuple(record_of(row) for row in rows),
        advice=(
            Advice(
                "lcrm+prune loses 0.015 against lcrm: train the pruned model longer.",
                "edgekit compare digits_cnn.keras --data digits --recipes 'lcrm+prune(0.5)+int8' "
                "--epochs 24 --board local",
            ),
            Advice("qemu:pi4 has no energy: give the board a power model in its profile."),
        ),
        notes=("The held-out images were never used in training or calibration.",),
    )


@pytest.fixture(scope="session")
def single(comparison: Comparison) -> Comparison:
    """One row and nothing else: no layers, stages, records, advice or notes."""
    return dataclasses.replace(
        comparison, rows=comparison.rows[:1], layers=(), stages=(), records=(), advice=(), notes=()
    )


@pytest.fixture(scope="session")
def with_idle() -> Callable[[Comparison, float], Comparison]:
    """The same runs on a machine that was busy before by that share."""
    return _with_idle


@pytest.fixture(scope="session")
def twin_of() -> Callable[[Row, str], Row]:
    """A row whose file is that of the given one."""
    return _twin_of


CASCADES = ("base", "P", "C", "Q", "PQ", "CQ", "PC", "PCQ")
LAYERS = (("conv2d_1", 18_432), ("conv2d_2", 27_648), ("dense", 640))


def _stage_of(recipe: Recipe) -> Stage:
    """What the last pass of the recipe did to a model of three kernels."""
    name, step = str(recipe), str(recipe.rewrites[-1])
    pruned, clustered, lcrm = (
        any(word in f"{p}" for p in recipe.passes) for word in ("prune", "cluster", "lcrm")
    )
    epochs = 20 if step == "lcrm" else 10
    parameters = 18_140 if lcrm else 46_762
    distinct = 16 if clustered else 9_000
    return dataclasses.replace(
        stage_of(name, step, epochs, 0.3),
        best_epoch=epochs - 3,
        trainable_parameters=parameters + 48 * clustered,
        other_parameters=112 + parameters * (("prune" in step) + clustered) + 30 * ("qat" in step),
        accuracy_before=0.987,
        accuracy_after=0.984,
        proof=tuple(
            LayerProof(
                layer,
                weights,
                0.5 if pruned else 0.0,
                distinct,
                min(distinct, 300),
                0.5 if pruned else None,
                16 if clustered else None,
            )
            for layer, weights in LAYERS
        ),
    )


def _file_proof_of(recipe: Recipe) -> FileProof:
    whole = recipe.export.scheme == "int8"
    clustered = "cluster" in "".join(map(str, recipe.passes))
    floats = (FloatOperator("SOFTMAX", "probabilities", "its input is float by request"),)
    return FileProof(
        operators=9,
        integer_operators=8 if whole else 0,
        floats=floats if whole else (),
        weights=tuple(
            WeightTensor(
                layer,
                f"digits/{layer}/kernel",
                "int8" if whole else "float32",
                weights,
                0.5 if recipe.prunes else 0.0,
                16 if clustered else 251,
                16 if clustered else 201,
            )
            for layer, weights in LAYERS
        ),
        not_found=("conv9",) if recipe.prunes else (),
    )


def _row_of_cascade(text: str, place: int) -> Row:
    recipe = parse_recipe(text)
    kinds = [type(step).__name__ for step in recipe.passes]
    whole, lcrm = recipe.export.scheme == "int8", "Lcrm" in kinds
    parameters, macs = (18_140, 1_090_000) if lcrm else (46_762, 2_830_000)
    file_bytes = round(parameters * (1.19 if whole else 4.14))
    change = round(-0.0008 * len(kinds) - 0.002 * lcrm, 4)
    packs = 0.9 * (0.55 if "Prune" in kinds else 1) * (0.25 if "Cluster" in kinds else 1)
    # Pruned and clustered files differ from their parents' latency by noise.
    p50 = 1.842 * (0.52 if lcrm else 1.0) * (0.5 if whole else 1.0) * (1 - 0.004 * (place % 4))
    steps = [Recipe(recipe.rewrites[:count]) for count in range(1, 1 + len(recipe.rewrites))]
    return Row(
        recipe=str(recipe),
        board="local",
        file=f"files/{recipe}.tflite",
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        accuracy=accuracy_of(0.989 + change, 5_000),
        accuracy_change=Number.measured(change, change - 0.004, change + 0.004),
        parameters=Number.counted(parameters),
        macs=Number.counted(macs),
        file_bytes=Number.counted(file_bytes),
        gzip_bytes=Number.counted(round(file_bytes * packs)),
        zstd_bytes=Number.counted(round(0.96 * file_bytes * packs)),
        latency_p50_ms=Number.measured(p50, p50 * 0.99, p50 * 1.01),
        peak_rss_bytes=Number.measured(43_500_000 + 2 * file_bytes),
        energy_j=Number.estimated(p50 * 0.0031, p50 * 0.0024, p50 * 0.0038),
        pareto=place % 5 == 0,
        stages=tuple(map(str, steps)),
        proof=_file_proof_of(recipe),
    )


def _in_turns(item: dict[str, Any], place: int, models: int, rounds: int = 5) -> dict[str, Any]:
    """The record with a second of samples in each round, while the other models wait."""
    chance = random.Random(place)
    samples = [
        {
            "t_s": round(models * turn + place + 0.1 * i, 3),
            "cpu_cores": 0.9 + 0.15 * chance.random(),
            "rss_bytes": int(40e6 + 3e5 * place + 2e5 * chance.random()),
        }
        for turn in range(rounds)
        for i in range(1, 11)
    ]
    return {**item, "record": {**item["record"], "samples": samples}}


@pytest.fixture(scope="session")
def sixteen(comparison: Comparison) -> Comparison:
    """All cascades, with and without LCRM, on one board: rows, stages, proofs and samples."""
    with_lcrm = ("lcrm" if name == "base" else f"lcrm+{name}" for name in CASCADES)
    rows = [_row_of_cascade(name, i) for i, name in enumerate((*CASCADES, *with_lcrm))]
    recipes = dict.fromkeys(name for row in rows for name in row.stages)
    records = [_in_turns(record_of(row), i, len(rows)) for i, row in enumerate(rows)]
    return dataclasses.replace(
        comparison,
        rows=tuple(rows),
        stages=tuple(_stage_of(parse_recipe(name)) for name in recipes),
        records=tuple(records),
        notes=(
            "Pruning or clustering alone makes no kernel of a CPU faster, and the file no smaller "
            "until it is packed: look at gzip and zstd.",
        ),
    )
