"""`edgekit scan`, and recipes whose LCRM chooses for itself, on places real and emulated."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgekit import optimize
from edgekit.cli import main
from edgekit.optimization import load_data_for, load_parent
from edgekit.places import priced
from edgekit.progress import Step
from edgekit_converters import Training, apply_lcrm, inspect_model, load_model
from edgekit_converters.lcrm.goal import parse_goal

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scan") / "run"


@pytest.fixture(scope="module")
def shown(
    edgekit: Callable[..., Any], tiny_keras: Path, digits_npz: Path, folder: Path
) -> dict[str, Any]:
    ran = edgekit("scan", tiny_keras, "--data", digits_npz, "--out", folder, "--json")
    found: dict[str, Any] = json.loads(ran.out)
    return found


def test_the_scan_says_what_each_substitute_loses_and_saves(shown: dict[str, Any]) -> None:
    scan = shown["scan"]
    assert {trial["path"] for trial in scan["trials"]} == {"c2", "c3"}
    assert scan["skipped"] == [["c1", "first convolution"]]
    assert shown["unit"] == "MACs"
    assert shown["parent_cost"] == scan["macs"]
    costs = [point["cost"] for point in shown["front"]]
    assert costs == sorted(costs)
    assert all(0 < saved < scan["macs"] for saved in shown["saved"])
    assert shown["picked"] is None


def test_a_budget_picks_a_point_without_another_scan(
    shown: dict[str, Any],
    edgekit: Callable[..., Any],
    tiny_keras: Path,
    digits_npz: Path,
    folder: Path,
) -> None:
    given = ("scan", tiny_keras, "--data", digits_npz, "--out", folder)
    ran = edgekit(*given, "--budget", "macs<=0.5x")
    assert "scan for" not in ran.err
    assert "Carry it out: edgekit compare" in ran.out
    assert "lcrm(auto=true, target='\"'\"'macs<=0.5x'\"'\"')+distill+int8" in ran.out
    picked = json.loads(edgekit(*given, "--budget", "macs<=0.5x", "--json").out)["picked"]
    assert picked["cost"] <= 0.5 * shown["parent_cost"]
    better = [p for p in shown["front"] if p["cost"] <= 0.5 * shown["parent_cost"]]
    assert picked["off"] == min(point["off"] for point in better)


@pytest.mark.parametrize(
    ("budget", "says"),
    [
        ("macs<=100", "the nearest, c2 r=1, c3 r=1, comes to"),
        ("macs<=2x", "need no other layers"),
        ("fast", "no such goal"),
        ("latency_ms<=5 on qemu:pi9", "pi9"),
        ("latency_ms<=5 on nowhere", "is no board"),
        ("energy_mj<=1 on local", "unavailable"),
    ],
)
def test_a_budget_that_cannot_be_met_or_read_is_refused(
    shown: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    tiny_keras: Path,
    digits_npz: Path,
    folder: Path,
    budget: str,
    says: str,
) -> None:
    assert shown
    given = ["scan", str(tiny_keras), "--data", str(digits_npz), "--out", str(folder)]
    assert main([*given, "--budget", budget]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert says in said.err


@pytest.mark.parametrize(
    "target",
    [
        "macs<=0.5x",
        "energy_mj<=0.9x on nepu-v1",
        "latency_ms<=0.6x on qemu:pi4",
        "drop<=30 on pi4 in float32",
    ],
)
def test_a_recipe_reaches_its_goal_from_the_same_scan(
    shown: dict[str, Any], tiny_keras: Path, digits_npz: Path, folder: Path, target: str
) -> None:
    assert shown
    told: list[Step] = []
    parent = load_parent(tiny_keras)
    data = load_data_for(parent, str(digits_npz))
    done = optimize(
        parent, f"lcrm(auto=true, target='{target}')", data, out=folder,
        training=Training(epochs=1), progress=told.append,
    )  # fmt: skip
    assert not [step for step in told if step.task.startswith("scan for")]
    said = done.stages[-1].notes[0]
    assert "predicted before training" in said
    assert "came out" in said
    goal = parse_goal(target)
    replaced = [layer.layer for layer in done.layers if layer.substituted]
    assert replaced
    if goal.measure == "macs":
        assert (done.macs.value or 0) <= 0.5 * shown["parent_cost"]
    else:
        before, after = priced(goal).place.price([parent.model, load_model(newest(folder))])
        assert after < before
        assert after <= goal.limit * before or goal.measure == "drop" or "missed" in said


def test_a_board_is_measured(tiny_keras: Path) -> None:
    model = load_model(tiny_keras)
    smaller, _ = apply_lcrm(model)
    costs = priced(parse_goal("latency_ms<=1x on local")).place.price([model, smaller])
    assert all(0 < cost < 1e3 for cost in costs)


def newest(folder: Path) -> Path:
    """The model of the stage that was finished last."""
    return max((folder / "stages").glob("*/model.keras"), key=lambda file: file.stat().st_mtime)


def test_distillation_behind_it_is_one_stage_with_it(
    shown: dict[str, Any], tiny_keras: Path, digits_npz: Path, folder: Path
) -> None:
    assert shown
    parent = load_parent(tiny_keras)
    data = load_data_for(parent, str(digits_npz))
    done = optimize(
        parent, "lcrm(auto=true, target='macs<=0.5x')+distill(2)+int8", data, out=folder,
        training=Training(),
    )  # fmt: skip
    assert len(done.stages) == 1
    assert done.stages[0].epochs == 2
    assert any(text.startswith("chose ") for text in done.stages[0].notes)
    assert inspect_model(load_model(newest(folder))).macs <= 0.5 * shown["parent_cost"]
