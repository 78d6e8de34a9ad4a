"""A model kept on cores of the caller's choice."""

import os
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit_device import Settings, profile_models
from edgekit_device.affinity import cores_from
from edgekit_device.cli import main
from edgekit_device.errors import UsageError
from edgekit_device.progress import Event
from edgekit_device.summary import record_text


@pytest.mark.parametrize(
    ("text", "cores"), [("0", (0,)), ("0,2-3", (0, 2, 3)), ("3, 1-2,2", (1, 2, 3)), ("5-5", (5,))]
)
def test_cores_are_numbers_and_ranges(text: str, cores: tuple[int, ...]) -> None:
    assert cores_from(text) == cores


@given(st.sets(st.integers(0, 4095), min_size=1, max_size=20))
def test_any_cores_come_back(cores: set[int]) -> None:
    assert cores_from(",".join(map(str, cores))) == tuple(sorted(cores))


@pytest.mark.parametrize("text", ["", ",", "a", "-1", "3-1", "0-", "1.5", "0-99999", "4096"])
def test_what_are_no_cores_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"affinity: .*such as 0,2-3\. Received: "):
        cores_from(text)


def test_the_worker_runs_on_the_cores_named_and_the_record_says_so(
    model: Callable[..., Path], quick: Callable[..., Settings]
) -> None:
    core = max(os.sched_getaffinity(0))
    seen: list[list[int]] = []

    def look(event: Event) -> None:
        if event.event == "round":
            seen.extend(child.cpu_affinity() for child in psutil.Process().children())

    before = os.sched_getaffinity(0)
    (record,) = profile_models([model()], quick(rounds=1, affinity=(core,)), progress=look)
    assert seen == [[core]]
    assert record.affinity == (core,)
    assert f"on cores {core}" in record_text(record)
    # The agent, which watches, stays where it was.
    assert os.sched_getaffinity(0) == before


def test_a_core_that_is_not_there_is_a_sentence(
    model: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profile", str(model()), "--affinity", "0,4000", "--meter", "model"]) == 2
    said = capsys.readouterr().err
    assert "there is no core 4000 for the agent here: it may run on 0" in said
    assert len(said.splitlines()) == 1


def test_no_cores_at_all_are_refused() -> None:
    with pytest.raises(UsageError, match="affinity: must be at least one core"):
        Settings(affinity=())
