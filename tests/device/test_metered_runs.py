"""The whole way with a meter: a real run whose power is known gives known joules."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from agent_client import SHORT, AgentClient
from known_power import BUSY_W, IDLE_W, check_known_joules, every

from edgekit_device import Settings, profile_models
from edgekit_device.errors import MeterError
from edgekit_device.progress import Event
from edgekit_device.summary import record_text

Copy = Callable[..., Path]


@pytest.mark.slow
def test_a_file_of_an_external_meter_gives_known_joules(model: Copy, tmp_path: Path) -> None:
    path, power = tmp_path / "power.csv", [IDLE_W]
    path.write_text("time,V,A\n")
    events: list[Event] = []

    def follow(event: Event) -> None:
        events.append(event)
        power[0] = BUSY_W if event.event == "round" else IDLE_W

    def append() -> None:
        with path.open("a") as file:
            file.write(f"{time.time():.4f},5.0,{power[0] / 5}\n")

    settings = Settings(runs=1, seconds=1.0, rounds=1, meter=f"csv:{path}")
    with every(0.1, append):
        (record,) = profile_models([model()], settings, progress=follow)
    check_known_joules(record)
    assert record.metered is not None
    # Ten a second are written at most, and two are needed for a window.
    assert 2 <= record.metered.sample_rate_hz <= 11
    # The plan was made longer, and that was said.
    assert (record.settings.rounds, record.settings.seconds) == (5, 50.0)
    assert record.idle.seconds == 10.0
    assert "5 rounds of at least 10 s and 10 inferences" in str(events[0])
    assert "csv power.csv" in record_text(record)
    assert "windows" in record_text(record)


@pytest.mark.slow
def test_a_sustained_run_too_short_for_windows_says_so(model: Copy, tmp_path: Path) -> None:
    path = tmp_path / "power.csv"
    path.write_text("time,W\n")

    def append() -> None:
        with path.open("a") as file:
            file.write(f"{time.time():.4f},3.0\n")

    settings = Settings(duration_s=1.0, meter=f"csv:{path}")
    with every(0.1, append):
        (record,) = profile_models([model()], settings)
    assert record.energy_j.how == "unavailable"
    assert "it has 0.2 s, at least 10 s are needed" in str(record.energy_j.reason)
    assert record.latency_ms.p50.how == "measured"
    assert record.metered is not None
    assert record.metered.idle_before_w.value == pytest.approx(3.0)


def test_a_meter_that_is_not_there_ends_the_run_before_it_begins(
    model: Copy, quick: Callable[..., Settings], tmp_path: Path
) -> None:
    events: list[Event] = []
    with pytest.raises(MeterError, match=r"missing.csv cannot be read: No such file"):
        profile_models(
            [model()], quick(meter=f"csv:{tmp_path}/missing.csv"), progress=events.append
        )
    assert events == []


def test_a_board_answers_no_meter(model: Copy, tmp_path: Path) -> None:
    with AgentClient(tmp_path / "store") as agent:
        put = agent.put_model(model())
        settings = Settings(**{**vars(SHORT), "meter": "csv:/nowhere/power.csv"})
        agent.profile("j", put, settings=settings)
        end = agent.until("error")
    assert (end["kind"], end["job"], end["ended"]) == ("no-meter", "j", True)
    assert "/nowhere/power.csv" in end["message"]
