"""A sustained run with a serial meter (a pty here) whose power is known."""

import json
import os
import tty
from collections.abc import Callable
from pathlib import Path

import pytest
from known_power import BUSY_W, IDLE_W, check_known_joules, every

from edgekit_device import Record
from edgekit_device.cli import main
from edgekit_device.progress import Event

Copy = Callable[..., Path]


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
