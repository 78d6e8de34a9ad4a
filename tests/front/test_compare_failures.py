"""What fails becomes a row; what cannot be used is refused before any work."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgekit import ProfileSettings, compare, optimize
from edgekit.comparing import ALL_RECIPES
from edgekit.errors import EdgeKitError, RunError
from edgekit.journal import alone
from edgekit_converters import parse_recipe
from edgekit_converters.errors import ConverterError, ExportError, RecipeError, TrainingError
from edgekit_device import EdgeKitDeviceError


@pytest.fixture
def again(compared: Any, profiling: Any, tmp_path: Path) -> Any:
    """The comparison once more with changes, in a copy of its folder."""
    shutil.copytree(compared.out, tmp_path / "run")

    def run(**changes: Any) -> Any:
        settings = {"out": tmp_path / "run", "training": compared.training, "profiling": profiling}
        model, data = changes.pop("model", compared.model), changes.pop("data", compared.data)
        return compare(model, data, **{**settings, **changes})

    return run


def test_a_recipe_that_fails_is_a_row_with_the_reason_beside_the_others(again: Any) -> None:
    done = again(recipes=["lcrm(where='nothing')", "int8"])
    assert [row.recipe for row in done.rows] == ["base", "lcrm(where='nothing')", "int8"]
    good, failed, other = done.rows
    assert "matches no convolution of this model; it has c1, c2, c3" in (failed.error or "")
    assert good.error is None
    assert other.error is None
    assert other.latency_p50_ms.value > 0
    assert failed.accuracy.reason == "the recipe failed"
    assert not failed.pareto
    assert [item["recipe"] for item in done.records] == ["base", "int8"]


def test_a_board_that_fails_keeps_what_was_learnt_without_it(again: Any, tmp_path: Path) -> None:
    broken = tmp_path / "python"
    # The first time, when it is asked whether it could, all is well.
    once = f'[ -e {tmp_path}/asked ] || {{ touch {tmp_path}/asked; exec {sys.executable} "$@"; }}'
    broken.write_text(f"#!/bin/sh\n{once}\nexit 1\n")
    broken.chmod(0o755)
    done = again(recipes=["int8"], boards=["local", f"local:{broken}"])
    assert [(row.recipe, row.board, row.error is None) for row in done.rows] == [
        ("base", "local", True),
        ("int8", "local", True),
        ("base", f"local:{broken}", False),
        ("int8", f"local:{broken}", False),
    ]
    here, there = done.rows[1], done.rows[3]
    assert there.accuracy == here.accuracy
    assert there.file_bytes == here.file_bytes
    assert there.latency_p50_ms.value is None
    assert f"local:{broken} cannot profile" in there.error
    assert any(row.pareto for row in done.rows[:2])
    assert not any(row.pareto for row in done.rows[2:])


def test_a_damaged_stage_is_done_again_and_said_so(again: Any, tmp_path: Path) -> None:
    (model,) = (tmp_path / "run" / "stages").glob("*/model.keras")
    model.write_bytes(model.read_bytes()[:-100])
    tasks: list[str] = []
    done = again(recipes=["lcrm"], progress=lambda step: tasks.append(step.task))
    assert [row.error for row in done.rows] == [None, None]
    said = "tage lcrm was damaged (model.keras does not have the content it was stored with)"
    assert any(said in note for note in done.notes)
    assert "train lcrm" in tasks
    assert [stage.reused for stage in done.stages] == [False]
    # The file of the same stage is whole and stays.
    assert "export lcrm" not in tasks


def test_two_comparisons_in_one_folder_at_a_time_are_refused(
    again: Any, models_py: Path, tmp_path: Path
) -> None:
    run, models = tmp_path / "run", f"{models_py}:tiny"
    with (
        alone(run, "edgekit compare the first") as first,
        pytest.raises(RunError, match=r"is in use by the process \d+ .*--out") as refused,
    ):
        again()
    for part in (str(run), str(first.pid), first.started, "the first"):
        assert part in str(refused.value)
    with alone(run, "the first"), pytest.raises(RunError, match="is in use"):
        optimize(models, "base", out=run)


def test_the_name_all_stands_for_the_papers_comparison() -> None:
    assert len(ALL_RECIPES) == len(set(ALL_RECIPES)) == 16
    assert ALL_RECIPES[:2] == ("base", "P")
    assert ALL_RECIPES[-1] == "lcrm+PCQ"
    assert [str(parse_recipe(name)) for name in ALL_RECIPES] == list(ALL_RECIPES)


def test_without_a_power_model_energy_is_unavailable_with_the_reason(again: Any) -> None:
    quick = ProfileSettings(runs=2, seconds=0, rounds=1, idle_seconds=0)
    (row,) = again(recipes=["base"], profiling=quick).rows
    assert row.energy_j.how == "unavailable"
    assert row.energy_j.value is None
    assert "--profile" in (row.energy_j.reason or "")


def test_doubled_recipes_and_boards_are_one(again: Any, profiling: Any) -> None:
    quick = replace(profiling, runs=2, seconds=0, rounds=1, idle_seconds=0)
    done = again(
        recipes=["int8", "base", " INT8"],
        boards=["local", f"local:{sys.executable}", "local"],
        profiling=quick,
    )
    assert [(row.recipe, row.board) for row in done.rows] == [("base", "local"), ("int8", "local")]


REFUSED = {
    "unknown-pass": ({"recipes": ["shrink"]}, RecipeError, "'shrink' is no pass"),
    "all-alone": ({"recipes": "all", "boards": ["pi"]}, EdgeKitError, "'pi' is no board"),
    "all-and-wrong": ({"recipes": ["all", "shrink"]}, RecipeError, "'shrink' is no pass"),
    "int8-first": ({"recipes": ["int8+lcrm"]}, RecipeError, "int8 must come last"),
    "unknown-board": ({"boards": ["pi"]}, EdgeKitError, "'pi' is no board"),
    "no-data": ({"data": "nowhere"}, EdgeKitError, "'nowhere' is not a data set"),
    "no-agent": ({"boards": ["local:/bin/false"]}, EdgeKitError, "/bin/false cannot profile"),
    "no-profile": (
        {"profiling": ProfileSettings(profile="pi9")},
        EdgeKitDeviceError,
        "no board profile 'pi9'",
    ),
    "profile-file": (
        {"profiling": ProfileSettings(profile="none.toml")},
        EdgeKitDeviceError,
        "none.toml cannot be read",
    ),
    "no-runtime": (
        {"profiling": ProfileSettings(runtime="tflite-runtime")},
        EdgeKitError,
        r"lacks tflite-runtime \(it has litert\).*pip install 'edgekit-device\[tflite-runtime\]'",
    ),
    "one-array": ({"data": (1, 2, 3)}, EdgeKitError, "the data gave tuple"),
    "no-model": ({"model": "none.keras"}, ConverterError, "none.keras does not exist"),
}


@pytest.mark.parametrize(("changes", "kind", "says"), REFUSED.values(), ids=REFUSED)
def test_input_that_cannot_be_used_is_refused_before_any_work(
    again: Any, changes: dict[str, Any], kind: type[Exception], says: str
) -> None:
    steps: list[Any] = []
    with pytest.raises(kind, match=says):
        again(progress=steps.append, **changes)
    assert steps == []


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"runs": 0}, "runs: must be a whole number of at least 1"),
        ({"seconds": float("nan")}, "seconds: must be a finite number"),
        ({"runtime": "onnx"}, "runtime: must be one of"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_profiling_that_the_agent_would_refuse_is_refused_at_once(
    setting: dict[str, Any], says: str
) -> None:
    with pytest.raises(EdgeKitDeviceError, match=says):
        ProfileSettings(**setting)


def test_a_model_of_two_inputs_is_told_what_works(models_py: Path, tmp_path: Path) -> None:
    source = f"{models_py}:two_inputs"
    with pytest.raises(EdgeKitError, match=r"'two_inputs' has 2 inputs \(a, b\)"):
        optimize(source, "float32", "digits", out=tmp_path)
    assert optimize(source, "float32", out=tmp_path).file.is_file()


def test_more_classes_than_outputs_are_refused(models_py: Path, tmp_path: Path) -> None:
    import numpy as np

    np.savez(tmp_path / "d.npz", x=np.zeros((48, 8, 8, 1)), y=np.arange(48) % 12)
    with pytest.raises(TrainingError, match="10 outputs but the labels go up to 11"):
        optimize(f"{models_py}:tiny", "base", tmp_path / "d.npz", out=tmp_path)


def test_int8_without_data_is_refused(models_py: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="int8 needs representative inputs"):
        optimize(f"{models_py}:tiny", "int8", out=tmp_path)


def test_an_open_input_size_is_refused_before_any_work(
    models_py: Path, compared: Any, tmp_path: Path
) -> None:
    file = tmp_path / "open.py"
    file.write_text("""
import keras
def open_size():
    inputs = keras.Input((None, None, 1))
    middle = keras.layers.GlobalAveragePooling2D()(inputs)
    return keras.Model(inputs, keras.layers.Dense(10)(middle), name="open_size")
""")
    with pytest.raises(ExportError, match="open shape"):
        compare(f"{file}:open_size", compared.data, ["base"], out=tmp_path / "run")


def test_a_folder_with_another_models_comparison_is_refused(
    again: Any, models_py: Path, tmp_path: Path
) -> None:
    before = (tmp_path / "run/files/base.tflite").read_bytes()
    with pytest.raises(RunError, match=r"holds the comparison of another model .*--out"):
        again(model=f"{models_py}:no_conv")
    assert (tmp_path / "run/files/base.tflite").read_bytes() == before
