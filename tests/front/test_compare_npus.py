"""Recipes on an emulated NPU: every number against another way of getting it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgekit_converters as ec
from edgekit import compare
from edgekit.comparison import Comparison
from edgekit.npu.emulation import cost_of_emulation, emulate_file
from edgekit.npu.estimating import estimate
from edgekit.npu.outcome import NpuOutcome
from edgekit.npu.target import load_target
from edgekit.npu.workload import read_workload
from edgekit.report import print_table, write_report
from edgekit.report.serialise import comparison_from_json, comparison_to_json
from edgekit_converters import Training

RECIPES = ["base", "int8", "lcrm+int8"]
SETTINGS = ["weight_bits=3"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("npus") / "run"


@pytest.fixture(scope="module")
def compared(run: Path, tiny_keras: Path, digits_npz: Path, profiling: Any) -> Comparison:
    return compare(
        tiny_keras,
        digits_npz,
        RECIPES,
        npus=[load_target("nepu-v1"), load_target("nepu-v1", SETTINGS)],
        out=run,
        training=Training(epochs=2, learning_rate=0.01),
        profiling=profiling,
    )


def outcome(compared: Comparison, recipe: str, npu: str = "npu:nepu-v1") -> NpuOutcome:
    (found,) = (one for one in compared.npus if (one.recipe, one.npu) == (recipe, npu))
    return found


def test_every_recipe_has_a_row_on_every_place(compared: Comparison) -> None:
    places = ["local", "npu:nepu-v1", "npu:nepu-v1(weight_bits=3)"]
    assert [(row.board, row.recipe) for row in compared.rows] == [
        (place, recipe) for place in places for recipe in RECIPES
    ]
    assert all(row.error is None for row in compared.rows)
    for row in compared.rows[3:]:
        assert row.peak_rss_bytes.how == "unavailable"


def test_exact_arithmetic_scores_as_the_reference_kernels(
    compared: Comparison, run: Path, digits_npz: Path
) -> None:
    file = run / "files" / "int8.tflite"
    signature, infer = ec.tflite.open_file(file, reference=True)
    arrays = np.load(digits_npz)
    right = 0
    for x, y in zip(arrays["x_test"], arrays["y_test"], strict=True):
        (raw,) = infer([signature.inputs[0].quantise(x[None])])
        right += int(np.argmax(raw)) == int(y)
    found = outcome(compared, "int8").accuracy
    assert found.how == "emulated"
    assert found.value == right / len(arrays["y_test"])


def test_fewer_bits_change_answers_and_save_energy(compared: Comparison) -> None:
    full = outcome(compared, "int8")
    narrow = outcome(compared, "int8", "npu:nepu-v1(weight_bits=3)")
    assert narrow.accuracy.value != full.accuracy.value
    assert narrow.energy_j.value is not None
    assert full.energy_j.value is not None
    assert narrow.energy_j.value < full.energy_j.value


def test_costs_are_those_of_estimate_with_what_was_skipped(compared: Comparison, run: Path) -> None:
    file, npu = run / "files" / "lcrm+int8.tflite", load_target("nepu-v1")
    found = outcome(compared, "lcrm+int8")
    static = estimate(read_workload(file), npu.profile, npu.precision)
    assert found.latency_ms.how == found.energy_j.how == "estimated"
    assert found.skipped_share.value is not None
    assert 0 < found.skipped_share.value < 1
    assert found.cycles.value is not None
    assert found.cycles.value <= static.cycles
    assert sum(layer.cycles for layer in found.layers) == pytest.approx(found.cycles.value)
    parts = [number.value or 0 for _, number in found.energy_parts_j]
    assert sum(parts) == pytest.approx(found.energy_j.value)


def test_a_float_file_has_no_numbers_but_the_reason(compared: Comparison) -> None:
    found = outcome(compared, "base")
    for number in (found.accuracy, found.latency_ms, found.energy_j, found.cycles):
        assert number.how == "unavailable"
    assert "computes in float32" in (found.accuracy.reason or "")
    assert {reason for _, reason in found.not_estimated} == {
        "it computes in float32, and nepu-v1 in integers; quantise the model first, such as with: "
        "edgekit optimize MODEL --recipe int8"
    }


def test_report_and_json_hold_the_npus(
    compared: Comparison, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert comparison_from_json(comparison_to_json(compared)) == compared
    page = write_report(compared, run).html.read_text()
    assert "On an NPU that is emulated" in page
    assert "npu:nepu-v1(weight_bits=3)" in page
    print_table(compared)
    text = capsys.readouterr().out
    assert "npu:nepu-v1, in its arithmetic" in text
    assert outcome(compared, "int8").coverage in text


def test_what_was_emulated_is_not_emulated_again(
    compared: Comparison, run: Path, tiny_keras: Path, digits_npz: Path, profiling: Any
) -> None:
    told: list[str] = []
    again = compare(
        tiny_keras,
        digits_npz,
        RECIPES,
        npus=[load_target("nepu-v1")],
        out=run,
        training=Training(epochs=2, learning_rate=0.01),
        profiling=profiling,
        progress=lambda step: told.append(step.task),
    )
    assert not any(task.startswith(("emulate", "train")) for task in told)
    assert again.npus == compared.npus[:3]


def test_the_agents_sentence_is_the_users(run: Path, compared: Comparison) -> None:
    from edgekit.errors import NpuError

    file = run / "files" / "int8.tflite"
    wrong = [np.zeros((1, 2, 2), np.int8)]
    with pytest.raises(NpuError, match=r"cannot be emulated: .* takes float32 of shape"):
        emulate_file(file, load_target("nepu-v1"), wrong)
    done, _ = emulate_file(file, load_target("nepu-v1"))
    assert done.inputs == "golden"
    assert cost_of_emulation(file, load_target("nepu-v1"), done).with_events
    assert json.dumps(done.to_json())
