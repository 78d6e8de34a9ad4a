"""The report on an emulated board: instructions instead of times, and why there are no curves."""

from typing import Any

from edgekit.report.evidence import MISSING, evidence, idle, machines
from edgekit.report.resources import resources

NO_TIME = {"how": "unavailable", "reason": "the clock counts instructions"}
ITEM: dict[str, Any] = {
    "recipe": "int8",
    "board": "qemu:pi4",
    "record": {
        "machine": {"model": "Raspberry Pi 4 Model B, emulated", "emulator": "QEMU 7.2"},
        "settings": {"sample_interval_s": 0.0},
        "idle": {"cpu_utilisation": {"how": "unavailable", "reason": "not watched"}, "seconds": 0},
        "load_ms": NO_TIME,
        "latency_ms": {"p50": NO_TIME},
        "instructions": {"how": "emulated", "value": 1.97e6},
        "samples": [],
    },
}


def test_instructions_stand_where_no_time_does() -> None:
    shown = evidence(ITEM)
    assert shown.instructions == "1.97 M†"
    assert {shown.load, *shown.latencies} == {MISSING}


def test_the_emulator_is_named_and_no_idle_time_is_missed() -> None:
    assert machines([ITEM]) == ("Raspberry Pi 4 Model B, emulated, QEMU 7.2",)
    assert idle([ITEM]) == ()


def test_no_curves_have_the_clock_as_the_reason() -> None:
    (missing,) = resources("qemu:pi4", [ITEM], [], "r").missing
    assert missing == "int8: the clock of an emulated board does not tell time"
