"""A real comparison: every number against another way of getting it."""

import gzip
import math
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from ai_edge_litert.interpreter import Interpreter

from edgekit import compare
from edgekit.comparison import COLUMNS, Row
from edgekit.report.serialise import comparison_to_json

RECIPES = ["base", "int8", "lcrm", "lcrm+int8"]
# 3x3 convolutions 1->8, 8->8, 8->16 and a dense layer 16->10 on 8x8, 8x8, 4x4.
# LCRM leaves the first; 8->8 is case 3, 8->16 case 1.1: depthwise, then pointwise.
PARAMETERS = {
    "base": (9 * 1 + 1) * 8 + (9 * 8 + 1) * 8 + (9 * 8 + 1) * 16 + (16 + 1) * 10,
    "lcrm": (9 * 1 + 1) * 8 + (10 * 8 + 9 * 8) + (10 * 8 + 9 * 16) + (16 + 1) * 10,
}
MACS = {
    "base": 64 * 9 * 1 * 8 + 64 * 9 * 8 * 8 + 16 * 9 * 8 * 16 + 16 * 10,
    "lcrm": 64 * 9 * 1 * 8 + 64 * (9 * 8 + 8 * 8) + 16 * (9 * 8 + 8 * 16) + 16 * 10,
}


@pytest.fixture(params=RECIPES)
def row(compared: Any, request: pytest.FixtureRequest) -> Row:
    """Each row in turn."""
    return next(row for row in compared.result.rows if row.recipe == request.param)


def record_of(compared: Any, recipe: str) -> dict[str, Any]:
    found = [item["record"] for item in compared.result.records if item["recipe"] == recipe]
    assert len(found) == 1
    return found[0]


def test_there_is_one_row_per_recipe_in_the_order_asked_for(compared: Any) -> None:
    assert [(row.recipe, row.board) for row in compared.result.rows] == [
        (recipe, "local") for recipe in RECIPES
    ]
    assert [row.error for row in compared.result.rows] == [None] * 4


def test_accuracy_is_that_of_the_file_on_the_test_split(compared: Any, row: Row) -> None:
    arrays = np.load(compared.data)
    interpreter = Interpreter(model_path=str(compared.out / row.file))
    interpreter.allocate_tensors()
    into, out = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    assert into["dtype"] == np.float32
    right = 0
    for x, y in zip(arrays["x_test"], arrays["y_test"], strict=True):
        interpreter.set_tensor(into["index"], x[None])
        interpreter.invoke()
        right += int(interpreter.get_tensor(out["index"])[0].argmax() == y)
    assert row.accuracy.value == pytest.approx(right / 150)
    assert row.accuracy.low < row.accuracy.value < row.accuracy.high


def test_the_change_against_base_is_paired(compared: Any, row: Row) -> None:
    base = compared.result.rows[0]
    change = row.accuracy_change
    assert change.value == pytest.approx(row.accuracy.value - base.accuracy.value)
    assert change.low <= change.value <= change.high
    if row is base:
        assert change.value == 0


def test_sizes_are_those_of_the_file_on_disk(compared: Any, row: Row) -> None:
    content = (compared.out / row.file).read_bytes()
    assert row.file_bytes.value == len(content)
    packed = row.gzip_bytes.value
    assert packed == len(gzip.compress(content, 9, mtime=0))
    assert row.zstd_bytes.value == len(zstandard.compress(content, 19))


def test_parameters_and_macs_are_those_of_the_formulas(row: Row) -> None:
    kind = row.recipe.removesuffix("int8").removesuffix("+") or "base"
    assert (row.parameters.value, row.macs.value) == (PARAMETERS[kind], MACS[kind])


def test_latency_is_the_median_and_its_interval_the_rounds(compared: Any, row: Row) -> None:
    record = record_of(compared, row.recipe)
    medians = record["round_medians_ms"]
    latency = row.latency_p50_ms
    assert len(medians) == 3
    assert latency.how == "measured"
    assert (latency.low, latency.high) == pytest.approx((min(medians), max(medians)))
    assert record["runs"] >= 6
    assert record["latency_ms"]["min"]["value"] <= latency.value
    assert latency.value <= record["latency_ms"]["max"]["value"]
    assert latency.value == pytest.approx(statistics.median(medians), rel=0.5)


def test_every_files_answers_were_proven_on_the_board(compared: Any, row: Row) -> None:
    record = record_of(compared, row.recipe)
    assert record["status"] == "ok"
    assert record["golden"]["status"] == "passed"
    assert record["golden"]["samples"] >= 1
    assert row.peak_rss_bytes.value == record["peak_rss_bytes"]["value"] > 1e6


def test_energy_is_the_profiles_power_times_latency(compared: Any, row: Row) -> None:
    record = record_of(compared, row.recipe)
    use = record["machine_cpu_utilisation"]
    if use["how"] == "unavailable":
        assert row.energy_j.how == "unavailable"
        return
    share, p50 = use["value"], row.latency_p50_ms
    two = [2.0 + 4.0 * share, 1.0 + 6.0 * share]
    assert row.energy_j.how == "estimated"
    assert row.energy_j.value == pytest.approx(sum(two) / 2 * p50.value / 1e3)
    # From the least model at the latency's low end to the greatest at its high end.
    span = (min(two) * p50.low / 1e3, max(two) * p50.high / 1e3)
    assert (row.energy_j.low, row.energy_j.high) == pytest.approx(span)


def test_every_number_says_how_it_came_about(row: Row) -> None:
    said = {column: getattr(row, column).how for column in COLUMNS}
    assert said.pop("energy_j") in ("estimated", "unavailable")
    counted = {"parameters", "macs", "file_bytes", "gzip_bytes", "zstd_bytes"}
    assert said == {name: "counted" if name in counted else "measured" for name in said}


def test_best_rows_are_those_that_nobody_beats(compared: Any) -> None:
    rows = {
        r.recipe: (-r.accuracy.value, r.latency_p50_ms.value, r.file_bytes.value)
        for r in compared.result.rows
    }
    best = {
        name
        for name, mine in rows.items()
        if not any(
            other != mine and all(a <= b for a, b in zip(other, mine, strict=True))
            for other in rows.values()
        )
    }
    assert {r.recipe for r in compared.result.rows if r.pareto} == best


def test_a_shared_prefix_is_trained_once_and_says_how_it_went(compared: Any) -> None:
    (stage,) = compared.result.stages
    assert (stage.recipe, stage.name, stage.epochs) == ("lcrm", "lcrm", 2)
    assert not stage.reused
    assert [change.split(":")[0] for change in stage.changed] == ["c2", "c3"]
    assert stage.skipped == (("c1", "first convolution"),)
    assert all(
        len(values) == 2 and all(map(math.isfinite, values)) for values in stage.history.values()
    )
    assert len(list((compared.out / "stages").glob("*/model.keras"))) == 1
    assert (stage.trainable_parameters, stage.other_parameters) == (PARAMETERS["lcrm"], 0)
    assert 1 <= stage.best_epoch <= 2
    arrays = np.load(compared.data)
    assert stage.accuracy_after is not None
    assert stage.accuracy_after * len(arrays["y_val"]) == pytest.approx(
        round(stage.accuracy_after * len(arrays["y_val"]))
    )


def test_a_row_names_the_stages_behind_it(row: Row) -> None:
    assert row.stages == (("lcrm",) if "lcrm" in row.recipe else ())


def test_the_result_is_on_disk_before_compare_returns(compared: Any) -> None:
    assert compared.written_by_compare == comparison_to_json(compared.result)


def test_savings_are_listed_per_convolution(compared: Any) -> None:
    saved = {saving.layer: saving for saving in compared.result.layers}
    assert list(saved) == ["c1", "c2", "c3"]
    assert [saved[name].substituted for name in saved] == [False, True, True]
    assert [saved[name].case for name in ("c2", "c3")] == ["3", "1.1"]
    before = sum(s.macs_before or 0 for s in saved.values())
    after = sum(s.macs_after or 0 for s in saved.values())
    assert before - after == MACS["base"] - MACS["lcrm"]


def test_a_second_run_trains_nothing_and_writes_the_same_files(
    compared: Any, profiling: Any
) -> None:
    before = {file.name: file.read_bytes() for file in (compared.out / "files").glob("*.tflite")}
    steps: list[str] = []
    again = compare(
        compared.model,
        compared.data,
        out=compared.out,
        training=compared.training,
        profiling=profiling,
        progress=lambda step: steps.append(step.task),
    )
    assert [stage.reused for stage in again.stages] == [True]
    assert not any(step.split()[0] in ("train", "export", "score", "found") for step in steps)
    after = {file.name: file.read_bytes() for file in (compared.out / "files").glob("*.tflite")}
    assert after == before
    assert [row.accuracy for row in again.rows] == [row.accuracy for row in compared.result.rows]


def test_other_training_is_another_stage(compared: Any, profiling: Any, tmp_path: Path) -> None:
    file = f"files/{RECIPES[2]}.tflite"
    other = compare(
        compared.model,
        compared.data,
        ["lcrm"],
        out=tmp_path,
        training=replace(compared.training, seed=1),
        profiling=profiling,
    )
    assert (tmp_path / file).read_bytes() != (compared.out / file).read_bytes()
    assert (tmp_path / "files/base.tflite").read_bytes() == (
        compared.out / "files/base.tflite"
    ).read_bytes()
    keys = [
        path.parent.name
        for run in (tmp_path, compared.out)
        for path in (run / "stages").glob("*/model.keras")
    ]
    assert len(set(keys)) == 2
    assert other.settings["training"]["seed"] == 1
