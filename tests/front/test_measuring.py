"""Records of an interrupted comparison are used again only where they still hold."""

import platform
import sys
from pathlib import Path
from typing import Any

import pytest

from edgekit.boards import LocalBoard, ProfileSettings, check_board
from edgekit.measuring import measure
from edgekit.progress import silent
from edgekit.store import open_run

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
