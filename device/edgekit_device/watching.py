"""The board while a model runs: temperature, clock, governor, throttling, and how busy it is."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from edgekit_device.conditions import Conditions, Moment
from edgekit_device.machine import cpu_clock
from edgekit_device.throttling import NAMES, held_now, held_since_start, read_flags

_CPU, _THERMAL = Path("sys/devices/system/cpu"), Path("sys/class/thermal")

# In the order of preference: a Pi's, other ARM boards', Intel's, AMD's.
_ZONES = ("cpu-thermal", "cpu_thermal", "soc-thermal", "x86_pkg_temp", "k10temp")

# A board heats up over minutes; a clock that was held down for less than a second and left no
# trace in the firmware's flags changes little.
_INTERVAL_S = 1.0


@dataclass(frozen=True)
class Glance:
    """The board at one moment: `cpu_clock`'s three seconds, and what the record keeps of it."""

    cpu: tuple[float, float, float]
    moment: Moment


class Watch:
    """Looks at the board; what held its clock down between two looks is seen at the second one."""

    def __init__(self, root: Path) -> None:
        """Find what there is to read; `root` is where `/sys` is found."""
        self._root = root
        self._zone = _cpu_zone(root)
        self._clocks = sorted((root / _CPU).glob("cpufreq/policy*/scaling_cur_freq"))
        self._clocks = self._clocks or sorted((root / _CPU).glob("cpu*/cpufreq/scaling_cur_freq"))
        self._counts = sorted((root / _CPU).glob("cpu*/thermal_throttle/core_throttle_count"))
        self._flags = read_flags(root)
        self._has_flags = self._flags is not None
        self._counted = _sum(self._counts)

    def begin(self, zero_s: float) -> Glance:
        """Look once, without what happened before this moment."""
        self._flags = self._read_flags()
        self._counted = _sum(self._counts)
        return self.glance(zero_s)

    def glance(self, zero_s: float) -> Glance:
        """Look once; times are `time.monotonic()` less `zero_s`."""
        moment = Moment(
            t_s=round(time.monotonic() - zero_s, 3),
            temperature_c=_scaled(self._zone, 1e-3),
            clock_hz=self._clock_hz(),
            governor=self._governor(),
            throttled=self._throttled(),
        )
        return Glance(cpu_clock(), moment)

    def _read_flags(self) -> int | None:
        # A machine that has never told any is not asked again: a hanging vcgencmd takes its time.
        return read_flags(self._root) if self._has_flags else None

    def _clock_hz(self) -> float | None:
        found = [hz for file in self._clocks if (hz := _scaled(file, 1e3)) is not None]
        if found:
            return math.fsum(found) / len(found)
        if self._root != Path("/"):
            return None
        try:
            frequency = psutil.cpu_freq()
        except (NotImplementedError, OSError, RuntimeError):
            return None
        return frequency.current * 1e6 if frequency and frequency.current > 0 else None

    def _governor(self) -> str | None:
        if not self._clocks:
            return None
        return _text(self._clocks[0].with_name("scaling_governor")) or None

    def _throttled(self) -> tuple[str, ...] | None:
        found: set[str] = set()
        before, now = self._flags, self._read_flags()
        if now is not None:
            # A flag of "since the start" that is new was raised since the last look.
            old = held_since_start(now if before is None else before)
            found |= {*held_now(now), *(set(held_since_start(now)) - set(old))}
            self._flags = now
        counted = _sum(self._counts)
        if counted is not None and self._counted is not None and counted > self._counted:
            found.add("throttled by heat")
        self._counted = counted
        if now is None and counted is None:
            return None
        return tuple(name for name in (*NAMES, "throttled by heat") if name in found)


@contextmanager
def watched(watch: Watch, zero_s: float, into: list[Glance]) -> Iterator[None]:
    """Append a glance before and after the block, and one a second while it runs."""
    into.append(watch.begin(zero_s))
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(_INTERVAL_S):
            into.append(watch.glance(zero_s))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        into.append(watch.glance(zero_s))


def conditions(glances: Sequence[Glance]) -> Conditions:
    """Say under which conditions a model ran, and whether anything held the clock down."""
    moments = tuple(glance.moment for glance in glances)
    told = [moment for moment in moments if moment.throttled is not None]
    if not told:
        reason = "this machine does not tell whether its clock was held down"
        return Conditions("unknown", reason if moments else "the model did not run", moments)
    held = [moment for moment in told if moment.throttled]
    if not held:
        return Conditions("no", None, moments)
    names = dict.fromkeys(name for moment in held for name in moment.throttled or ())
    reason = f"{', '.join(names)} at {len(held)} of {len(told)} looks at the board"
    return Conditions("yes", reason, moments)


def conditions_text(moment: Moment) -> str:
    """Give a moment's conditions for a person."""
    parts = []
    if moment.temperature_c is not None:
        parts.append(f"{moment.temperature_c:.1f} °C")
    if moment.clock_hz is not None:
        parts.append(f"{moment.clock_hz / 1e6:,.0f} MHz")
    if moment.governor is not None:
        parts.append(f"governor {moment.governor}")
    if moment.throttled is not None:
        parts.append(", ".join(moment.throttled) or "not throttled")
    return ", ".join(parts) or "not told by this machine"


def _cpu_zone(root: Path) -> Path | None:
    found: dict[str, Path] = {}
    for file in sorted((root / _THERMAL).glob("thermal_zone*/type")):
        found.setdefault(_text(file), file.with_name("temp"))
    named = [zone for zone in found if zone in _ZONES or zone.startswith("cpu")]
    best = min(named, key=lambda zone: _ZONES.index(zone) if zone in _ZONES else 0, default=None)
    return None if best is None else found[best]


def _sum(files: Sequence[Path]) -> int | None:
    counts = [count for file in files if (count := _scaled(file, 1)) is not None]
    return int(sum(counts)) if counts else None


def _scaled(file: Path | None, scale: float) -> float | None:
    try:
        value = float(_text(file)) * scale if file is not None else None
    except ValueError:
        return None
    return value if value is not None and math.isfinite(value) else None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
