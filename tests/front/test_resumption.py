"""Comparisons that are killed at any moment or damaged in between end like undisturbed ones."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

RECIPES = ("lcrm+int8", "P", "PCQ")
"""Eight stages: the files of these and of base, and lcrm, P (shared), PC and PCQ as models."""

STAGES = 8
KILLS = 4
COSTS = ("latency_p50_ms", "peak_rss_bytes", "energy_j", "pareto")
"""The columns of a row that differ from one measurement to the next."""

pytestmark = pytest.mark.slow


class Comparison:
    """The real command in a run folder; it may be killed with all its children."""

    def __init__(
        self,
        model: Path,
        data: Path,
        run: Path,
        boards: tuple[str, ...] = ("local",),
        recipes: tuple[str, ...] = RECIPES,
    ) -> None:
        self.run = run
        self.command = [
            *(sys.executable, "-m", "edgekit", "compare", str(model), "--data", str(data)),
            *("--out", str(run), "--recipes", *recipes, "--deterministic", "--epochs", "2"),
            *("--tuning-epochs", "2", "--seconds", "0.2", "--runs", "3", "--rounds", "2"),
            *("--idle-seconds", "0"),
            *(word for board in boards for word in ("--board", board)),
        ]

    def finish(self) -> str:
        """What it tells while it works, all the way to its end."""
        done = subprocess.run(
            self.command, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr

    def kill_when(self, seen: Callable[[], Any]) -> bool:
        """Starts it, kills it once `seen` is true; False if it was faster."""
        with subprocess.Popen(
            self.command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            while not seen():
                if process.poll() is not None:
                    return False
                time.sleep(0.005)
            # The process has not been waited for: its number is still its own.
            os.killpg(process.pid, signal.SIGKILL)
            return True

    def result(self) -> dict[str, Any]:
        """The comparison without what differs from one measurement to the next."""
        told = json.loads((self.run / "comparison.json").read_text())
        rows = [
            {name: value for name, value in row.items() if name not in COSTS}
            for row in told["rows"]
        ]
        passing = ("seconds", "reused")
        stages = [
            {name: value for name, value in stage.items() if name not in passing}
            for stage in told["stages"]
        ]
        assert all(row["latency_p50_ms"]["how"] == "measured" for row in told["rows"])
        assert all(item["record"]["golden"]["status"] == "passed" for item in told["records"])
        kept = ("model", "data", "settings", "versions", "layers")
        return {"rows": rows, "stages": stages} | {name: told[name] for name in kept}

    def stored(self, recipe: str, file: str) -> Path:
        """A stored file of one recipe."""
        for path in self.run.glob("stages/[!.]*/stage.json"):
            stage = json.loads(path.read_text())["facts"].get("stage")
            name = stage["recipe"] if stage else next(path.parent.glob("*.tflite")).stem
            if name == recipe and (path.parent / file).exists():
                return path.parent / file
        raise AssertionError(f"{recipe} has no stored {file}")

    def is_clean(self) -> bool:
        """Nothing is left but the report and what the next run may use."""
        names = {path.name for path in self.run.iterdir()}
        known = {"comparison.json", "comparison.csv", "report.html", "files", "stages", ".lock"}
        hidden = [*self.run.glob("stages/.*"), *self.run.glob("files/.*")]
        return names == known and not hidden


@pytest.fixture(scope="module")
def undisturbed_run(
    tiny_keras: Path, digits_npz: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a comparison that nothing happens to."""
    run = Comparison(tiny_keras, digits_npz, tmp_path_factory.mktemp("undisturbed") / "run")
    run.finish()
    assert run.is_clean()
    return run.run


@pytest.fixture(scope="module")
def undisturbed(tiny_keras: Path, digits_npz: Path, undisturbed_run: Path) -> dict[str, Any]:
    """Its result."""
    return Comparison(tiny_keras, digits_npz, undisturbed_run).result()


@pytest.fixture
def comparison(tiny_keras: Path, digits_npz: Path, tmp_path: Path) -> Comparison:
    return Comparison(tiny_keras, digits_npz, tmp_path / "run")


def some_time_after_a_stage(run: Path, moments: random.Random) -> Callable[[], bool]:
    """True a while after one of the stages not yet kept is: a moment on machines of any speed."""
    stages = moments.randint(len(finished_stages(run)), STAGES - 1)
    seconds = moments.uniform(0, 2)
    begun: list[float] = []

    def seen() -> bool:
        if not begun and len(finished_stages(run)) >= stages:
            begun.append(time.monotonic())
        return bool(begun) and time.monotonic() - begun[0] > seconds

    return seen


def test_killed_at_random_moments(comparison: Comparison, undisturbed: dict[str, Any]) -> None:
    moments = random.Random(0)
    kills = [
        comparison.kill_when(some_time_after_a_stage(comparison.run, moments)) for _ in range(KILLS)
    ]
    assert any(kills), "every comparison ended before its moment came"
    comparison.finish()
    assert comparison.result() == undisturbed
    assert comparison.is_clean()


def finished_stages(run: Path) -> list[Path]:
    return list(run.glob("stages/[!.]*/stage.json"))


def stage_begun(run: Path) -> bool:
    return any(run.glob("stages/.*"))


def stage_finished(run: Path) -> bool:
    return any(run.glob("stages/[!.]*/model.keras"))


def file_published(run: Path) -> bool:
    return any(run.glob("files/PCQ.tflite"))


MOMENTS = {
    "stage-begun": (stage_begun, "was interrupted; 0 finished stages are kept, the unfinished one"),
    "last-file-published": (file_published, "was interrupted; 8 finished stages are kept"),
}


@pytest.mark.parametrize(("seen", "says"), MOMENTS.values(), ids=MOMENTS)
def test_killed_at_a_chosen_moment(
    comparison: Comparison,
    undisturbed: dict[str, Any],
    seen: Callable[[Path], bool],
    says: str,
) -> None:
    if not comparison.kill_when(lambda: seen(comparison.run)):
        pytest.fail("the comparison ended before the moment came")
    assert says in comparison.finish()
    assert comparison.result() == undisturbed
    assert comparison.is_clean()


def test_damage_between_runs_is_told_and_repaired(
    comparison: Comparison, undisturbed: dict[str, Any], undisturbed_run: Path
) -> None:
    shutil.copytree(undisturbed_run, comparison.run)
    os.truncate(comparison.stored("lcrm", "model.keras"), 1000)
    os.truncate(comparison.stored("PC", "model.keras"), 1000)
    flipped = comparison.stored("lcrm+int8", "lcrm+int8.tflite")
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 1
    flipped.write_bytes(content)
    comparison.stored("base", "stage.json").unlink()
    told = comparison.finish()
    altered = "does not have the content it was stored with); it is done again"
    assert f"found: stage lcrm was damaged (model.keras {altered}" in told
    assert f"found: stage PC was damaged (model.keras {altered}" in told
    assert f"found: file of lcrm+int8 was damaged (lcrm+int8.tflite {altered}" in told
    assert "found: file of base was damaged (it has no stage.json); it is done again" in told
    assert told.count("found:") == 4
    assert comparison.result() == undisturbed
    quiet = comparison.finish()
    assert not any(word in quiet for word in ("found", "train", "export", "score"))
    assert comparison.result() == undisturbed


def test_a_stage_damaged_in_an_interrupted_run(
    comparison: Comparison, undisturbed: dict[str, Any]
) -> None:
    assert comparison.kill_when(lambda: stage_finished(comparison.run))
    os.truncate(comparison.stored("lcrm", "model.keras"), 1000)
    told = comparison.finish()
    assert "was interrupted; 2 finished stages are kept" in told
    assert "stage lcrm was damaged" in told
    assert comparison.result() == undisturbed


def test_a_board_measured_before_the_kill_is_not_measured_again(
    tiny_keras: Path, digits_npz: Path, tmp_path: Path
) -> None:
    other = tmp_path / "python"
    other.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    other.chmod(0o755)
    boards = ("local", f"local:{other}")
    # Nothing to train: the boards are what takes time.
    comparison = Comparison(tiny_keras, digits_npz, tmp_path / "run", boards, ("int8",))

    def measured() -> list[Path]:
        return list(comparison.run.glob("measured/[!.]*/stage.json"))

    assert comparison.kill_when(measured)
    (kept,) = measured()
    before = json.loads(kept.read_text())["facts"]["records"]
    told = comparison.finish()
    # Both are this machine, which measures one at a time: whichever came first.
    first, second = sorted(boards, key=lambda board: f"measured on {board} before" not in told)
    assert f"found: what was measured on {first} before the interruption is used" in told
    assert f"measured on {second} before" not in told

    def records(board: str) -> list[Any]:
        found = json.loads((comparison.run / "comparison.json").read_text())["records"]
        return [item["record"] for item in found if item["board"] == board]

    assert records(first) == before
    assert len(records(second)) == len(before) == 2
    assert comparison.is_clean()
    # One that came to its end is measured again.
    assert "found:" not in comparison.finish()
    assert records(first) != before


def test_a_second_comparison_in_the_folder_is_refused(
    comparison: Comparison,
) -> None:
    refused: list[Any] = []

    def both() -> bool:
        if not stage_begun(comparison.run):
            return False
        refused.append(
            subprocess.run(comparison.command, capture_output=True, text=True, check=False)
        )
        return True

    assert comparison.kill_when(both)
    assert refused[0].returncode == 2
    last = refused[0].stderr.splitlines()[-1]
    assert f"{comparison.run} is in use by the process " in last
