"""Meters of the machine itself, read from recorded trees of /sys and from what a Pi 5 prints."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit_device.errors import MeterError, UsageError
from edgekit_device.meters.choosing import choose_meter, meters_here
from edgekit_device.meters.meter import Meter, Polled
from edgekit_device.meters.named import MeterName, parse_meter
from edgekit_device.meters.pmic import rails_w
from edgekit_device.meters.rapl import unwrapped_uj

SYSFS = Path(__file__).parent / "sysfs"
PMIC = SYSFS / "pi5-pmic_read_adc.txt"


def opened(named: str, root: Path) -> Meter:
    meter = choose_meter(named, root).meter
    assert meter is not None
    return meter


def values(meter: Meter, count: int = 1) -> list[float]:
    return [reading.value for _ in range(count) for reading in meter.read()]


@pytest.fixture
def tree(tmp_path: Path) -> Any:
    """A recorded tree that may be changed."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(SYSFS / name, tmp_path / name, symlinks=True))

    return copy


def put_vcgencmd(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    file = folder / "vcgencmd"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(file.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def test_hwmon_finds_the_sensor_by_its_name_among_others() -> None:
    meter = opened("hwmon", SYSFS / "pi4-ina219")
    assert (meter.name, meter.counts) == ("hwmon ina219 at 1-0040", False)
    # All watts go by it, and Linux does not know it by itself.
    assert meter.scope.endswith("wired into, by a shunt of 100 mOhm")
    assert values(meter) == [pytest.approx(3.12)]


def test_a_sensor_without_power_gives_volts_times_amperes(tree: Any) -> None:
    root = tree("pi4-ina219")
    (root / "sys/class/hwmon/hwmon2/power1_input").unlink()
    # 5108 mV x 612 mA
    assert values(opened("hwmon", root)) == [pytest.approx(5.108 * 0.612)]


def test_iio_scales_its_raw_values() -> None:
    meter = opened("iio", SYSFS / "iio-ina226")
    assert meter.name == "iio ina226 at 1-0041"
    assert meter.scope.endswith("by a shunt of 10 mOhm")
    # 125 x 25 mW
    assert values(meter) == [pytest.approx(3.125)]


def test_iio_without_power_gives_volts_times_amperes(tree: Any) -> None:
    root = tree("iio-ina226")
    (root / "sys/bus/iio/devices/iio:device0/in_power2_raw").unlink()
    # 4096 x 1.25 mV x 612 x 1 mA; channel 0 is the shunt's.
    assert values(opened("iio", root)) == [pytest.approx(5.12 * 0.612)]


def test_of_several_sensors_one_has_to_be_named(tree: Any) -> None:
    root = tree("pi4-ina219")
    bus = root / "sys/devices/platform/soc/fe804000.i2c/i2c-1"
    shutil.copytree(bus / "1-0040", bus / "1-0045", symlinks=True)
    (bus / "1-0045/hwmon/hwmon2").rename(bus / "1-0045/hwmon/hwmon3")
    device = bus / "1-0045/hwmon/hwmon3/device"
    device.unlink()
    device.symlink_to("../../../1-0045")
    (bus / "1-0045/hwmon/hwmon3/power1_input").write_text("700000\n")
    (root / "sys/class/hwmon/hwmon3").symlink_to(bus / "1-0045/hwmon/hwmon3")
    with pytest.raises(MeterError, match=r"several sensors .*hwmon:1-0040"):
        choose_meter("hwmon", root)
    assert values(opened("hwmon:1-0045", root)) == [pytest.approx(0.7)]
    with pytest.raises(MeterError, match="no sensor '1-0041'"):
        choose_meter("hwmon:1-0041", root)
    chosen = choose_meter("auto", root)
    assert chosen.meter is None
    assert "several sensors" in str(chosen.note)


def test_rapl_adds_the_packages_up_and_counts_none_twice(tree: Any) -> None:
    root = tree("workstation")
    meter = opened("rapl", root)
    assert (meter.name, meter.counts) == ("RAPL package-0, package-1", True)
    assert "not the rest of the machine" in meter.scope
    assert values(meter) == [0.0]
    for domain, grown_uj in (("intel-rapl:1", 2_000_000), ("intel-rapl:2", 9_000_000)):
        file = root / f"sys/class/powercap/{domain}/energy_uj"
        file.write_text(f"{int(file.read_text()) + grown_uj}\n")
    (root / "sys/class/powercap/intel-rapl:0:0/energy_uj").write_text("999000000000\n")
    assert values(meter) == [pytest.approx(2.0)]
    # Package 0 was 850 µJ before the end of its range.
    (root / "sys/class/powercap/intel-rapl:0/energy_uj").write_text("1499150\n")
    assert values(meter) == [pytest.approx(3.5)]


@given(
    start=st.integers(0, 10**6 - 1),
    steps=st.lists(st.integers(0, 10**6 - 1), min_size=1, max_size=50),
)
def test_a_counter_that_wraps_counts_what_was_used(start: int, steps: list[int]) -> None:
    shown = [total % 10**6 for total in accumulate(steps, initial=start)]
    counted = [unwrapped_uj(before, now, 10**6) for before, now in pairwise(shown)]
    assert counted == steps


@contextmanager
def as_nobody() -> Iterator[Path]:
    """A folder of ours, looked at by someone who is not root."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        root, user = os.geteuid() == 0, os.geteuid()
        try:
            yield Path(folder)
        finally:
            if root:
                os.seteuid(user)


def test_rapl_that_only_root_may_read_is_said() -> None:
    with as_nobody() as folder:
        shutil.copytree(SYSFS / "workstation", folder / "root", symlinks=True)
        for file in (folder / "root").glob("sys/devices/virtual/powercap/intel-rapl/*/energy_uj"):
            file.chmod(0o400 if os.geteuid() == 0 else 0)
        if os.geteuid() == 0:
            os.seteuid(65534)
        with pytest.raises(MeterError, match="only root may read intel-rapl:0/energy_uj"):
            choose_meter("rapl", folder / "root")
        chosen = choose_meter("auto", folder / "root")
        assert chosen.meter is None
        assert "sudo chmod" in str(chosen.note)
        assert any("only root" in text for text in meters_here(folder / "root"))


def test_the_power_controller_sums_volts_times_amperes_over_its_rails() -> None:
    watts = rails_w(PMIC.read_text())
    assert len(watts) == 12
    assert watts["VDD_CORE"] == pytest.approx(1.88106 * 0.7204872)
    # Volts alone: what comes in at 5 V is not measured.
    assert "EXT5V" not in watts
    assert 2 < sum(watts.values()) < 3
    with pytest.raises(ValueError, match="no rail"):
        rails_w("error=1 error_msg='Command not registered'")


def test_pmic_asks_vcgencmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_vcgencmd(tmp_path, monkeypatch, f'[ "$1" = pmic_read_adc ] && cat {PMIC}')
    meter = opened("pmic", tmp_path)
    assert "5 V" in meter.scope
    assert values(meter, 2) == [pytest.approx(sum(rails_w(PMIC.read_text()).values()))] * 2


def test_pmic_on_another_pi_or_machine_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MeterError, match="there is no command vcgencmd"):
        choose_meter("pmic", tmp_path)
    put_vcgencmd(tmp_path, monkeypatch, "echo \"error=1 error_msg='Command not registered'\"")
    with pytest.raises(MeterError, match=r"Command not registered.*Only a Pi 5"):
        choose_meter("pmic", tmp_path)


def test_a_pi_5_that_may_not_be_asked_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_vcgencmd(tmp_path, monkeypatch, "echo 'VCHI initialization failed'")
    tree = tmp_path / "proc/device-tree"
    tree.mkdir(parents=True)
    (tree / "compatible").write_bytes(b"raspberrypi,4-model-b\0brcm,bcm2711\0")
    assert choose_meter("auto", tmp_path).note is None
    (tree / "compatible").write_bytes(b"raspberrypi,5-model-b\0brcm,bcm2712\0")
    assert "only members of the group video" in str(choose_meter("auto", tmp_path).note)
    assert "only members of the group video" in meters_here(tmp_path)[0]


def test_auto_takes_the_first_that_can_be_read(
    tree: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert choose_meter("auto", tmp_path).meter is None
    assert opened("auto", SYSFS / "workstation").name.startswith("RAPL")
    both = tree("workstation")
    shutil.rmtree(both / "sys/class/thermal")
    shutil.copytree(SYSFS / "pi4-ina219", both, symlinks=True, dirs_exist_ok=True)
    assert opened("auto", both).name == "hwmon ina219 at 1-0040"
    assert len(meters_here(both)) == 2
    put_vcgencmd(tmp_path, monkeypatch, f"/bin/cat {PMIC}")
    assert opened("auto", both).name == "Pi 5 PMIC"
    assert choose_meter("model", both).meter is None


@pytest.mark.parametrize("kind", ["hwmon", "iio", "rapl"])
def test_a_named_meter_that_is_not_there_is_an_error(kind: str, tmp_path: Path) -> None:
    with pytest.raises(MeterError, match=f"meter {kind}: there is no"):
        choose_meter(kind, tmp_path)


def test_an_emulated_board_has_no_meter() -> None:
    root = SYSFS / "pi4-ina219"
    assert choose_meter("auto", root, "qemu").meter is None
    with pytest.raises(MeterError, match=r"emulated board \(qemu\)"):
        choose_meter("hwmon", root, "qemu")


def test_a_reading_that_fails_leaves_a_gap_and_ten_in_a_row_end_it() -> None:
    answers: list[float | None] = [1.0, *[None] * 9, 2.0, *[None] * 10]

    def value() -> float:
        answer = answers.pop(0)
        if answer is None:
            raise OSError(5, "Input/output error")
        return answer

    meter = Polled("bus", "board", 0.0, value)
    assert values(meter, 20) == [1.0, 2.0]
    with pytest.raises(MeterError, match=r"bus cannot be read any more: .*Input/output"):
        meter.read()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("auto", MeterName("auto")),
        ("hwmon", MeterName("hwmon")),
        ("hwmon:ina226", MeterName("hwmon", "ina226")),
        ("csv:a/b.csv", MeterName("csv", "a/b.csv")),
        ("csv:power.csv@-1.5", MeterName("csv", "power.csv", -1.5)),
        ("csv:me@home.csv", MeterName("csv", "me@home.csv")),
        ("serial:/dev/ttyUSB0", MeterName("serial", "/dev/ttyUSB0")),
        ("serial:/dev/ttyUSB0@9600", MeterName("serial", "/dev/ttyUSB0", 9600.0)),
    ],
)
def test_a_meters_name_is_taken_apart(text: str, name: MeterName) -> None:
    assert parse_meter(text) == name


@pytest.mark.parametrize(
    "text",
    [
        *("", "ina219", "csv", "csv:", "serial", "serial:", "model:x", "auto:", "hwmon:"),
        *("serial:/dev/ttyUSB0@0", "serial:/dev/ttyUSB0@9600.5", "csv:@3", "csv:a\0b", None, 3),
    ],
)
def test_what_is_no_meters_name_is_refused_with_the_forms(text: Any) -> None:
    with pytest.raises(UsageError, match=r"meter: must be auto, model, .*Received: "):
        parse_meter(text)


@given(st.text())
def test_any_text_is_a_name_or_refused(text: str) -> None:
    try:
        assert parse_meter(text).kind in text
    except UsageError as error:
        assert repr(text) in str(error)  # noqa: PT017  most texts are none
