"""Records of an interrupted comparison are used again only where they still hold."""

import platform
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgekit.boards import LocalBoard, ProfileSettings, check_board
from edgekit.boards.profile_file import profile_toml
from edgekit.measuring import measure
from edgekit.progress import silent
from edgekit.store import open_run
from edgekit_device.profiles import shipped_profiles

HERE = LocalBoard(Path(sys.executable))
QUICK = ProfileSettings(runs=2, seconds=0, warmup=1, rounds=1, idle_seconds=0)
AGENT = {"agent": {"version": "1"}, "runtimes": [{"name": "litert", "version": "2"}]}


def test_the_agent_tells_its_version_and_its_runtimes() -> None:
    told = check_board(HERE, QUICK)
    assert told["agent"]["version"]
    assert told["runtimes"][0]["name"] == "litert"
    assert told["runtimes"][0]["version"]


@pytest.mark.parametrize(
    ("agent", "node", "found"),
    [
        (AGENT, "here", True),
        (AGENT, "there", False),
        (AGENT | {"agent": {"version": "2"}}, "here", False),
        (AGENT | {"runtimes": [{"name": "litert", "version": "3"}]}, "here", False),
    ],
    ids=["nothing", "machine", "agent", "runtime"],
)
def test_what_differs_is_measured_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    agent: dict[str, Any],
    node: str,
    found: bool,
) -> None:
    run, told = open_run(tmp_path), []
    monkeypatch.setattr(platform, "node", lambda: "here")
    measure(run, HERE, AGENT, [], QUICK, silent, resumed=False)
    monkeypatch.setattr(platform, "node", lambda: node)
    measure(run, HERE, agent, [], QUICK, told.append, resumed=True)
    assert any("what was measured" in step.detail for step in told) is found


@pytest.mark.parametrize("changed", [False, True])
def test_a_profile_that_was_written_anew_is_measured_with_again(
    tmp_path: Path, changed: bool
) -> None:
    run, told, file = open_run(tmp_path / "run"), [], tmp_path / "own.toml"
    profile = shipped_profiles()["pi4"]
    file.write_text(profile_toml(profile))
    settings = replace(QUICK, profile=str(file))
    measure(run, HERE, AGENT, [], settings, silent, resumed=False)
    file.write_text(profile_toml(replace(profile, clock_hz=1.8e9) if changed else profile))
    measure(run, HERE, AGENT, [], settings, told.append, resumed=True)
    assert any("what was measured" in step.detail for step in told) is not changed
