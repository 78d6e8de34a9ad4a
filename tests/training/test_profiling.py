"""`edgekit train --profile`: each batch size in a process of its own."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgekit.cli import FAILED, OK, USAGE, main
from edgekit.optimization import load_parent
from edgekit.training.profiling import Subject, rewritten
from edgekit.training.rows import NUMBERS
from edgekit_device.number import Number

# JAX is one of the tests' dependencies, PyTorch is tried where it happens to be installed.
OTHER_BACKENDS = ["jax", *(["torch"] if importlib.util.find_spec("torch") else [])]
QUICK = ("--steps", "3", "--seconds", "0", "--json")


def rows_of(told: dict[str, Any]) -> dict[tuple[str, int], dict[str, Any]]:
    return {(row["model"], row["batch_size"]): row for row in told["rows"]}


@pytest.mark.slow
def test_a_batch_that_cannot_be_had_costs_its_own_row_alone(
    models_py: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["train", f"{models_py}:fragile", "--data", "digits", "--profile", *QUICK]
    assert main([*asked, "--batch-sizes", "2,4,8,16,5000"]) == FAILED
    told = json.loads(capsys.readouterr().out)
    errors = {size: row["error"] for (_, size), row in rows_of(told).items()}
    assert errors[2] is None
    assert "a batch of 4: " in errors[4]
    assert "needs more memory than there is" in errors[4]
    assert "was killed, as the system does where memory runs out" in errors[8]
    assert "ValueError: " in errors[16]
    assert "16 are odd" in errors[16]
    assert "a batch of 5000: it needs as many training samples" in errors[5000]
    row = rows_of(told)["tiny", 2]
    assert len(row["first_steps_ms"]) == 3
    known = {name for name in NUMBERS if Number.from_json(row[name]).value is not None}
    assert {"throughput_images_per_s", "step_ms", "cpu_share", "inference_ms"} <= known
    assert row["peak_rss_bytes"]["value"] > row["peak_rss_growth_bytes"]["value"] > 0


@pytest.mark.slow
def test_lcrm_stands_beside_its_parent(
    models_py: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["train", f"{models_py}:tiny", "--data", "digits", "--profile", *QUICK]
    assert main([*asked, "--batch-sizes", "32", "--recipe", "lcrm", "--out", str(tmp_path)]) == OK
    told = json.loads(capsys.readouterr().out)
    assert list(rows_of(told)) == [("tiny", 32), ("tiny lcrm", 32)]
    parent, lcrm = told["models"]
    assert lcrm["macs"]["value"] < parent["macs"]["value"]
    assert lcrm["recipe"] == "lcrm"
    assert json.loads((tmp_path / "training-profile.json").read_text()) == told


def test_what_substitutes_learn_from_does_not_matter_to_a_profile(models_py: Path) -> None:
    parent = load_parent(f"{models_py}:tiny")
    made = rewritten(Subject("tiny", parent), "lcrm(inherit=true, samples=512)")
    plain = rewritten(Subject("tiny", parent), "lcrm")
    assert made.name == "tiny lcrm(inherit=true, samples=512)"
    assert made.parent.model.count_params() == plain.parent.model.count_params()
    assert made.parent.model.count_params() < parent.model.count_params()


@pytest.mark.slow
def test_a_profile_that_cannot_be_written_is_shown_all_the_same(
    models_py: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "training-profile.json").mkdir()
    asked = ["train", f"{models_py}:tiny", "--data", "digits", "--profile", *QUICK]
    assert main([*asked, "--batch-sizes", "32", "--out", str(tmp_path)]) == USAGE
    said = capsys.readouterr()
    assert list(rows_of(json.loads(said.out))) == [("tiny", 32)]
    assert "training-profile.json" in said.err
    assert "stages" not in said.err


@pytest.mark.slow
@pytest.mark.parametrize("backend", OTHER_BACKENDS)
def test_another_backend_trains_and_is_profiled(
    models_py: Path, tmp_path: Path, backend: str
) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    environ = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "PYTHONPATH": os.pathsep.join(each or os.getcwd() for each in sys.path),
    }

    def run(*arguments: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "edgekit", "train", f"{models_py}:tiny", "--data"]
        ran = subprocess.run(
            [*command, "digits", *arguments], env=environ, capture_output=True, text=True
        )
        assert ran.returncode == OK, ran.stderr
        told: dict[str, Any] = json.loads(ran.stdout)
        return told

    told = run("--profile", "--recipe", "lcrm", "--batch-sizes", "32", *QUICK)
    assert told["backend"] == backend
    assert all(row["step_ms"]["how"] == "measured" for row in told["rows"])
    out = tmp_path / "trained.keras"
    done = run("--epochs", "2", "--batch-size", "128", "-o", str(out), "--json")
    losses = done["history"]["loss"]
    assert losses[-1] < losses[0]
    assert out.is_file()
