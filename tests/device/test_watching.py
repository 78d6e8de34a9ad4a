"""What the board was like while a model ran, from recorded trees of /sys."""

import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgekit_device import Settings, profile_models
from edgekit_device.conditions import Conditions, Moment
from edgekit_device.progress import Event
from edgekit_device.protocol import Share
from edgekit_device.runtime import choose, installed
from edgekit_device.subject import Subject
from edgekit_device.summary import record_text
from edgekit_device.tally import Tally
from edgekit_device.throttling import flags, held_now, held_since_start
from edgekit_device.watching import Glance, Watch, conditions, conditions_text

SYSFS = Path(__file__).parent / "sysfs"
FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"


@pytest.fixture
def pi(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SYSFS / "pi4-ina219", tmp_path / "pi", symlinks=True))


@pytest.mark.parametrize(
    ("printed", "now", "before"),
    [
        ("throttled=0x0\n", (), ()),
        ("0\n", (), ()),
        ("throttled=0x50005", ("under-voltage", "throttled"), ("under-voltage", "throttled")),
        ("50000", (), ("under-voltage", "throttled")),
        ("throttled=0xa", ("frequency capped", "soft temperature limit"), ()),
    ],
)
def test_the_firmwares_flags_have_names(
    printed: str, now: tuple[str, ...], before: tuple[str, ...]
) -> None:
    value = flags(printed)
    assert value is not None
    assert (held_now(value), held_since_start(value)) == (now, before)


@pytest.mark.parametrize("printed", ["", "VCHI initialization failed", "throttled=", "-1", "0x"])
def test_what_are_no_flags_is_none(printed: str) -> None:
    assert flags(printed) is None


def test_a_pis_moment_is_read(pi: Path) -> None:
    moment = Watch(pi).glance(0.0).moment
    assert (moment.temperature_c, moment.clock_hz) == (pytest.approx(48.686), 1.5e9)
    assert (moment.governor, moment.throttled) == ("ondemand", ())
    assert conditions_text(moment) == "48.7 °C, 1,500 MHz, governor ondemand, not throttled"


def test_vcgencmd_is_asked_where_there_is_no_file(
    pi: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pi / FIRMWARE).unlink()
    command = tmp_path / "vcgencmd"
    command.write_text('#!/bin/sh\n[ "$1" = get_throttled ] && echo throttled=0x1\n')
    command.chmod(command.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert Watch(pi).glance(0.0).moment.throttled == ("under-voltage",)


def test_a_workstations_moment_is_its_cpus() -> None:
    moment = Watch(SYSFS / "workstation").glance(0.0).moment
    # The package's zone, not the board's; the mean of both clocks.
    assert (moment.temperature_c, moment.clock_hz) == (pytest.approx(61), 3.5e9)
    assert (moment.governor, moment.throttled) == ("powersave", ())


def test_a_machine_that_tells_nothing_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    glance = Watch(tmp_path).glance(0.0)
    assert glance.moment == replace(glance.moment, temperature_c=None, clock_hz=None)
    assert (glance.moment.governor, glance.moment.throttled) == (None, None)
    found = conditions([glance])
    assert found.throttled == "unknown"
    assert "does not tell" in str(found.reason)
    assert conditions([]) == Conditions("unknown", "the model did not run", ())


def test_what_happened_between_two_looks_is_seen(pi: Path) -> None:
    # Under-voltage once before the run does not count.
    (pi / FIRMWARE).write_text("10000\n")
    watch = Watch(pi)
    first = watch.glance(0.0)
    (pi / FIRMWARE).write_text("50000\n")
    second, third = watch.glance(0.0), watch.glance(0.0)
    held = [glance.moment.throttled for glance in (first, second, third)]
    assert held == [(), ("throttled",), ()]
    found = conditions([first, second, third])
    assert (found.throttled, len(found.moments)) == ("yes", 3)
    assert found.reason == "throttled at 1 of 3 looks at the board"
    assert conditions([first, third]).throttled == "no"


def test_what_happened_before_a_model_began_is_not_its_own(pi: Path) -> None:
    watch = Watch(pi)
    (pi / FIRMWARE).write_text("40000\n")
    assert watch.begin(0.0).moment.throttled == ()
    (pi / FIRMWARE).write_text("60002\n")
    assert watch.begin(0.0).moment.throttled == ("frequency capped",)


def test_flags_that_are_told_again_count_again(pi: Path) -> None:
    watch = Watch(pi)
    (pi / FIRMWARE).write_text("busy\n")
    assert watch.begin(0.0).moment.throttled is None
    (pi / FIRMWARE).write_text("10002\n")
    # Since when there has been under-voltage, nobody knows.
    assert watch.glance(0.0).moment.throttled == ("frequency capped",)
    (pi / FIRMWARE).write_text("30000\n")
    assert watch.glance(0.0).moment.throttled == ("frequency capped",)


def test_a_pi_5_calls_its_firmware_otherwise(pi: Path) -> None:
    soc = pi / "sys/devices/platform/soc"
    (soc / "soc:firmware").rename(soc / "soc@107c000000:firmware")
    soc.rename(pi / "sys/devices/platform/soc@107c000000")
    file = pi / "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled"
    file.write_text("4\n")
    assert Watch(pi).glance(0.0).moment.throttled == ("throttled",)


def test_a_hot_workstation_is_throttled(tmp_path: Path) -> None:
    root = Path(shutil.copytree(SYSFS / "workstation", tmp_path / "root", symlinks=True))
    watch = Watch(root)
    assert watch.glance(0.0).moment.throttled == ()
    count = root / "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count"
    count.write_text("9\n")
    assert watch.glance(0.0).moment.throttled == ("throttled by heat",)
    assert watch.glance(0.0).moment.throttled == ()


def test_files_that_cannot_be_read_any_more_are_not_told(pi: Path) -> None:
    watch = Watch(pi)
    for file in ("sys/class/thermal/thermal_zone0/temp", FIRMWARE):
        (pi / file).write_text("nonsense\n")
    shutil.rmtree(pi / "sys/devices/system/cpu/cpufreq")
    moment = watch.glance(0.0).moment
    assert (moment.temperature_c, moment.clock_hz, moment.throttled) == (None, None, None)


def test_a_record_tells_of_throttling_in_the_run(
    model: Callable[..., Path], quick: Callable[..., Settings], pi: Path
) -> None:
    def undervolt(event: Event) -> None:
        if (event.event, event.round) == ("round", 2):
            (pi / FIRMWARE).write_text("10001\n")
        if event.event == "done":
            (pi / FIRMWARE).write_text("10000\n")

    paths = [model("conv_float32"), model("conv_int8")]
    records = profile_models(paths, quick(rounds=2), progress=undervolt, root=pi)
    for record in records:
        assert record.conditions.throttled == "yes"
        # Before and after each of the two shares.
        moments = record.conditions.moments
        assert [moment.throttled for moment in moments] == [(), (), *[("under-voltage",)] * 2]
        assert [moment.t_s for moment in moments] == sorted(moment.t_s for moment in moments)
        assert "the clock was held down (under-voltage at 2 of 4 looks" in record_text(record)
        assert "48.7 °C, 1,500 MHz" in record_text(record)


def test_the_clock_is_that_of_the_inferences(
    model: Callable[..., Path], quick: Callable[..., Settings], pi: Path
) -> None:
    subject = Subject(model(), quick(), choose("auto", installed()), Watch(pi))
    assert subject.clock_hz() is None

    def look(t_s: float, clock_hz: float | None) -> Glance:
        return Glance((t_s, 0.0, 0.0), Moment(t_s, None, clock_hz, None, None))

    # Two shares of 0.5 s: before each the core sleeps, and none is looked into.
    subject.shares = [Share(Tally((1,), (1,)), 1, 500_000_000, 1, begin_s) for begin_s in (10, 20)]
    subject.glances = [look(9.9, 6e8), look(10.6, 1.5e9), look(19.9, 6e8), look(20.6, 1.8e9)]
    assert subject.clock_hz() == 1.65e9
    subject.glances += [look(20.1, 1.2e9), look(20.2, None)]
    assert subject.clock_hz() == 1.2e9


def test_looks_are_taken_during_a_long_share(
    model: Callable[..., Path], quick: Callable[..., Settings], pi: Path
) -> None:
    (record,) = profile_models([model()], quick(seconds=2.5, rounds=1), root=pi)
    times: list[Any] = [moment.t_s for moment in record.conditions.moments]
    assert len(times) >= 3
    assert record.conditions.throttled == "no"
