from pathlib import Path

import pytest

from edgekit_device.machine import Busy, busy_and_total_s, cpu_clock, idle_baseline, read_machine


def test_utilisation_is_weighted_by_time() -> None:
    busy = Busy()
    busy.add((0.0, 10.0, 100.0), (1.0, 12.0, 104.0))
    busy.add((5.0, 20.0, 200.0), (8.0, 20.0, 212.0))
    assert busy.utilisation("").value == pytest.approx(2 / 16)


def test_too_short_to_tell_is_unavailable_with_a_way_out() -> None:
    busy = Busy()
    busy.add((0.0, 0.0, 0.0), (0.05, 0.1, 0.1))
    number = busy.utilisation("give --seconds more")
    assert number.how == "unavailable"
    assert str(number.reason).endswith("give --seconds more")


def test_the_cpu_clock_counts_our_own_work() -> None:
    before, busy = cpu_clock(), Busy()
    while cpu_clock()[0] - before[0] < 0.5:
        pass
    busy.add(before, cpu_clock())
    cores = read_machine(Path("/"), None).cores
    assert (busy.utilisation("").value or 0) > 0.5 / cores


def test_waiting_is_idle_and_guests_count_once() -> None:
    linux = {"user": 5.0, "system": 2.0, "idle": 10.0, "iowait": 3.0, "guest": 4.0}
    assert busy_and_total_s(linux) == (7.0, 20.0)
    assert busy_and_total_s({"user": 1.0, "idle": 2.0}) == (1.0, 3.0)


def test_no_idle_baseline_is_unavailable_not_zero() -> None:
    assert idle_baseline(0).cpu_utilisation.how == "unavailable"
    assert idle_baseline(0.3).cpu_utilisation.how == "measured"


def test_a_board_is_called_what_its_device_tree_says(tmp_path: Path) -> None:
    (tmp_path / "proc" / "device-tree").mkdir(parents=True)
    (tmp_path / "proc" / "device-tree" / "model").write_bytes(b"Raspberry Pi 5 Model B Rev 1.0\0")
    machine = read_machine(tmp_path, "pi5")
    assert (machine.model, machine.board) == ("Raspberry Pi 5 Model B Rev 1.0", "pi5")


def test_a_computer_is_called_what_its_cpu_says(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Some CPU\n")
    assert read_machine(tmp_path, None).model == "Some CPU"
