"""What kind of machine this is, and how busy it is."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from edgekit_device.emulated import read_emulated
from edgekit_device.number import Number
from edgekit_device.record import Idle, Machine

DEVICE_TREE_MODEL = Path("proc/device-tree/model")

# The kernel counts CPU time in ticks of 10 ms: below this, a share of it is mostly rounding.
_LEAST_SECONDS = 0.2


def device_tree_model(root: Path) -> str | None:
    """Read the board's name as its device tree gives it, or None on a machine without one."""
    path = root / DEVICE_TREE_MODEL
    if not path.exists():
        return None
    return path.read_bytes().decode("utf-8", errors="replace").strip("\0 \n") or None


def read_machine(root: Path, board: str | None) -> Machine:
    """Describe this machine; `root` is where `/proc` is found, `board` the profile applied.

    Raises:
        BoardProfileError: an emulated board describes itself in another form.
    """
    emulated = read_emulated(root)
    return Machine(
        board=board,
        model=_model(root) if emulated is None else f"{emulated.model}, emulated",
        architecture=platform.machine(),
        cores=cores(),
        memory_bytes=int(psutil.virtual_memory().total),
        os=_os_name(),
        kernel=platform.release(),
        cpu_frequency_hz=_cpu_frequency_hz(),
        emulator=None if emulated is None else emulated.emulator,
    )


def cores() -> int:
    """Give the number of logical cores of the whole machine."""
    return psutil.cpu_count() or 1


class Busy:
    """The machine's busy and total CPU seconds over several stretches of time."""

    def __init__(self) -> None:
        """Start with nothing measured."""
        self._wall_s = self._busy_s = self._total_s = 0.0

    def add(self, before: tuple[float, float, float], after: tuple[float, float, float]) -> None:
        """Add the stretch between two answers of `cpu_clock`."""
        self._wall_s += after[0] - before[0]
        self._busy_s += after[1] - before[1]
        self._total_s += after[2] - before[2]

    def utilisation(self, way_out: str) -> Number:
        """Give the share of all cores, 0..1, or say that the stretches were too short."""
        if self._wall_s < _LEAST_SECONDS or self._total_s <= 0:
            return Number.unavailable(
                f"{self._wall_s:.2f} s are too short to measure the machine's CPU utilisation "
                f"(at least {_LEAST_SECONDS} s): {way_out}"
            )
        return Number.measured(min(max(self._busy_s / self._total_s, 0.0), 1.0))


def cpu_clock() -> tuple[float, float, float]:
    """Give wall seconds, and busy and total CPU seconds of all cores since boot."""
    return time.monotonic(), *busy_and_total_s(psutil.cpu_times()._asdict())


def busy_and_total_s(times: Mapping[str, float]) -> tuple[float, float]:
    """Add up the kernel's kinds of CPU time; waiting for a disk is idle for the CPU."""
    # Linux counts guests' time in user and nice already.
    total = sum(s for kind, s in times.items() if kind not in ("guest", "guest_nice"))
    return total - times["idle"] - times.get("iowait", 0.0), total


def idle_baseline(seconds: float) -> Idle:
    """Wait, and measure how busy the machine is without us; 0 seconds skips it."""
    if seconds <= 0:
        return Idle(Number.unavailable("the idle baseline is switched off (--idle-seconds 0)"), 0)
    before, busy = cpu_clock(), Busy()
    time.sleep(seconds)
    busy.add(before, cpu_clock())
    return Idle(busy.utilisation("give --idle-seconds more"), seconds)


def _model(root: Path) -> str:
    return device_tree_model(root) or _cpu_model(root) or platform.processor() or "unknown"


def _cpu_model(root: Path) -> str | None:
    path = root / "proc/cpuinfo"
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    return None


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def _cpu_frequency_hz() -> Number:
    try:
        frequency = psutil.cpu_freq()
    except (NotImplementedError, OSError, RuntimeError):
        frequency = None
    if frequency is None or frequency.current <= 0:
        return Number.unavailable("this machine does not tell its CPU frequency")
    return Number.measured(frequency.current * 1e6)
