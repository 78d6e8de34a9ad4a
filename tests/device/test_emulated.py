"""On a machine that says it is emulated: instructions, no time, few runs, one thread."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgekit_device import Record, Settings, profile_models
from edgekit_device.emulated import emulated_settings, read_emulated
from edgekit_device.errors import BoardProfileError, UsageError
from edgekit_device.machine import read_machine
from edgekit_device.number import Number
from edgekit_device.profiles import board_here
from edgekit_device.summary import record_text

TOLD = {"profile": "pi4", "model": "Raspberry Pi 4 Model B", "emulator": "QEMU 7.2, cortex-a72"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The root of an emulated board."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/edgekit-board.json").write_text(json.dumps(TOLD))
    return tmp_path


@pytest.fixture
def record(root: Path, model: Callable[..., Path]) -> Record:
    (record,) = profile_models([model("conv_int8")], Settings(warmup=1), root=root)
    return record


def test_it_is_the_board_that_it_says(root: Path) -> None:
    machine = read_machine(root, "pi4")
    assert machine.model == "Raspberry Pi 4 Model B, emulated"
    assert machine.emulator == "QEMU 7.2, cortex-a72"
    found = board_here(None, root)
    assert found.profile is not None
    assert found.profile.name == "pi4"


def test_a_real_machine_is_not_emulated(tmp_path: Path) -> None:
    assert read_emulated(tmp_path) is None
    assert read_machine(tmp_path, None).emulator is None


@pytest.mark.parametrize(("named", "reason"), [("pi400", None), ("pi5", "of a Cortex-A76")])
def test_another_profile_needs_the_same_cores(root: Path, named: str, reason: str | None) -> None:
    found = board_here(named, root)
    if reason is None:
        assert found.profile is not None
    else:
        assert found.profile is None
        assert reason in str(found.reason)


@pytest.mark.parametrize(
    "told", ["no json", "[]", '{"profile": "pi4"}', json.dumps({**TOLD, "model": 4})]
)
def test_a_description_of_another_form_is_refused(root: Path, told: str) -> None:
    (root / "etc/edgekit-board.json").write_text(told)
    with pytest.raises(BoardProfileError, match=re.escape("etc/edgekit-board.json")):
        read_machine(root, None)


def test_the_plan_is_short_whatever_is_asked() -> None:
    plan = emulated_settings(Settings(runs=500, rounds=20, warmup=7))
    assert (plan.runs, plan.rounds, plan.seconds, plan.idle_seconds) == (5, 1, 0, 0)
    assert (plan.warmup, plan.sample_interval_s) == (7, 0)
    assert emulated_settings(Settings(runs=2, rounds=1)).runs == 2


def test_more_than_one_thread_is_refused(root: Path, model: Callable[..., Path]) -> None:
    two = Settings(threads=2)
    with pytest.raises(UsageError, match=r"must be 1 on an emulated board.*Received: 2"):
        profile_models([model("conv_int8")], two, root=root)


def test_its_clock_is_never_given_as_time(record: Record) -> None:
    assert record.runs == record.settings.runs == 5
    latencies: dict[str, Number] = vars(record.latency_ms)
    times = [record.load_ms, record.throughput_per_s, record.energy_j, record.energy_above_idle_j]
    for number in (*latencies.values(), *times):
        assert number.how == "unavailable"
        assert "counts instructions" in str(number.reason)
    assert record.warmup_ms == record.round_medians_ms == record.samples == ()
    assert record.instructions.how == "emulated"
    # What was looked at meanwhile has times of that clock, too.
    assert record.conditions.moments == ()
    assert "counts instructions" in str(record.conditions.reason)
    assert record.peak_rss_bytes.how == record.cpu_utilisation.how == "emulated"
    assert Record.from_json(record.to_json()) == record


def test_the_text_tells_instructions_and_each_reason_once(record: Record) -> None:
    text = record_text(record)
    assert re.search(r"instructions +[\d,]+ per inference, emulated", text)
    assert re.search(r"emulated by +QEMU 7.2, cortex-a72", text)
    assert text.count("counts instructions") == 1
    assert "warm-up" not in text


def test_an_estimate_takes_the_place_of_what_is_unavailable(record: Record) -> None:
    estimate: Any = Number.estimated(2.0, 1.0, 3.0)
    told = replace(record, latency_ms=replace(record.latency_ms, p50=estimate), energy_j=estimate)
    assert re.search(r"latency p50 +2 ms \[1 to 3\], estimated", record_text(told))
    assert "energy         2,000 mJ per inference" in record_text(told)
