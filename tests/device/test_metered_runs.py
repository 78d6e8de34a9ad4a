"""The whole way with a meter: a real run whose power is known gives known joules."""

import json
import os
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from agent_client import SHORT, AgentClient

from edgekit_device import Record, Settings, profile_models
from edgekit_device.cli import main
from edgekit_device.errors import MeterError
from edgekit_device.progress import Event
from edgekit_device.summary import record_text

Copy = Callable[..., Path]
IDLE_W, BUSY_W = 2.0, 6.0


@contextmanager
def every(seconds: float, step: Callable[[], None]) -> Iterator[None]:
    """Do something regularly while the block runs."""
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(seconds):
            step()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def check_known_joules(record: Record) -> None:
    assert record.status == "ok"
    assert record.metered is not None
    windows = record.metered.windows
    assert len(windows) >= 3
    energy, above = record.energy_j, record.energy_above_idle_j
    assert (energy.how, above.how) == ("measured", "measured")
    for number, watts in ((energy, BUSY_W), (above, BUSY_W - IDLE_W)):
        joules = sorted(watts * window.seconds / window.runs for window in windows)
        assert number.value == pytest.approx(joules[len(joules) // 2], rel=0.02)
        assert number.low == pytest.approx(joules[0], rel=0.02)
        assert number.high == pytest.approx(joules[-1], rel=0.02)
    for idle_w in (record.metered.idle_before_w, record.metered.idle_after_w):
        assert idle_w.value == pytest.approx(IDLE_W, rel=0.02)
    for window in windows:
        # No window leaves out what its inferences took.
        assert window.seconds / window.runs * 1e3 >= (record.latency_ms.min.value or 0)
        assert window.seconds >= 10
        assert window.runs >= 10
        assert 0 < (window.cpu_utilisation or 0) <= 1
    assert Record.from_json(json.loads(json.dumps(record.to_json(), allow_nan=False))) == record


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
    assert record.metered.sample_rate_hz == pytest.approx(9, abs=3)
    # The plan was made longer, and that was said.
    assert (record.settings.rounds, record.settings.seconds) == (5, 50.0)
    assert record.idle.seconds == 10.0
    assert "5 rounds of at least 10 s and 10 inferences" in str(events[0])
    assert "csv power.csv" in record_text(record)
    assert "windows" in record_text(record)


@pytest.mark.slow
def test_a_sustained_run_is_cut_into_windows(
    model: Copy, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wire, device = os.openpty()
    tty.setraw(wire)
    power = [IDLE_W]

    def follow(event: Event) -> None:
        power[0] = BUSY_W if event.event == "round" else IDLE_W

    monkeypatch.setitem(main.__globals__["_PROGRESS"], "none", follow)
    options = ["--duration", "51", "--meter", f"serial:{os.ttyname(device)}@9600"]
    with every(0.1, lambda: os.write(wire, f"5.0 V, {power[0] / 5} A\n".encode())):
        assert main(["profile", str(model()), *options, "--json", "--progress", "none"]) == 0
    os.close(wire)
    os.close(device)
    (data,) = json.loads(capsys.readouterr().out)
    record = Record.from_json(data)
    check_known_joules(record)
    assert record.metered is not None
    assert len(record.metered.windows) == len(record.round_medians_ms) == 5
    assert (record.settings.rounds, record.settings.seconds) == (1, 51.0)


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
