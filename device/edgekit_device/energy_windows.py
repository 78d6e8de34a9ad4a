"""Energy of one inference from a meter, by windows after the rules of MLPerf Tiny.

MLPerf Tiny (Banbury et al., NeurIPS 2021) takes the median of five measurements, each of at least
10 s and 10 inferences.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median, pstdev

from edgekit_device.metered import Metered, Window
from edgekit_device.meters.trace import Trace
from edgekit_device.number import Number
from edgekit_device.settings import Settings

WINDOWS = 5
"""Repetitions whose median counts."""

LEAST_SECONDS, LEAST_RUNS = 10.0, 10
"""Of one window; both must hold."""

LEAST_READINGS = 20
"""Of the meter in one window. A reading that averages over the window's edge, and so is partly of
the idle board, then weighs at most a twentieth."""

LARGEST_GAP = 0.1
"""Longest time without a reading, as a share of the window: what happened there is unknown and
weighs as much as the gap is long."""

DRIFT, LARGEST_DRIFT = 0.05, 0.25
"""How far the means of a window's first and last third may be apart, as a share of its mean.

Above the first the window is flagged: such sensors are good to some percent (INA219 boards: a shunt
of 1 % and a gain error of up to 1 %), so it is more than their noise; the window's mean is up to
three quarters of it away from either end. Above the second it is refused: a board that warms up
draws some percent more, so something else began or ended meanwhile."""

LEAST_GOOD = 3
"""Windows that have to be left: a majority of the five, and of more windows a majority of those."""


@dataclass(frozen=True)
class Stretch:
    """A stretch of time on the meter's clock; `runs` is 0 for the idle board.

    `held` names what held the clock down meanwhile.
    """

    start_s: float
    seconds: float
    runs: int = 0
    cpu_utilisation: float | None = None
    clock_hz: float | None = None
    held: tuple[str, ...] = ()


@dataclass(frozen=True)
class MeterLog:
    """What a meter told in one session, and when the board was idle in it."""

    meter: str
    scope: str
    trace: Trace
    remarks: tuple[str, ...]
    idle_before: Stretch
    idle_after: Stretch


@dataclass(frozen=True)
class Energies:
    """Joules of one inference, and the windows that they come from."""

    energy_j: Number
    energy_above_idle_j: Number
    metered: Metered


def lengthened(settings: Settings) -> Settings:
    """Give the settings with windows, and an idle baseline, that satisfy the rules above.

    A run of `duration_s` stays as long as it is: it is cut into windows.
    """
    idle_seconds = max(settings.idle_seconds, LEAST_SECONDS)
    if settings.duration_s is not None:
        return replace(settings, idle_seconds=idle_seconds)
    rounds = max(settings.rounds, WINDOWS)
    return replace(
        settings,
        rounds=rounds,
        seconds=max(settings.seconds, rounds * LEAST_SECONDS),
        runs=max(settings.runs, rounds * LEAST_RUNS),
        idle_seconds=idle_seconds,
    )


def metered_energies(log: MeterLog, stretches: Sequence[Stretch]) -> Energies:
    """Judge a model's stretches and give the median energy of the good ones.

    Joules of one inference are the window's mean watts times its seconds, over its inferences;
    above idle, the mean of the idle board's watts before and after the session is taken off first.
    The intervals run over the windows; above idle, over both idle powers as well.
    """
    flags = list(log.remarks)
    good: list[Window] = []
    bad: list[str] = []
    for number, stretch in enumerate(stretches, 1):
        window = _window(log.trace, stretch)
        if isinstance(window, str):
            bad.append(f"window {number} of {len(stretches)} is left out: {window}")
            continue
        good.append(window)
        flags += (f"window {number} of {len(stretches)}: {said}" for said in _doubts(log, stretch))
    idles = [_idle_w(log, stretch) for stretch in (log.idle_before, log.idle_after)]
    flags = [*bad, *flags, *_idle_doubts(idles)]
    rate_hz, jitter_s = _rate(log.trace, stretches)
    least_good = max(LEAST_GOOD, len(stretches) // 2 + 1)
    if len(good) < least_good:
        needed = f"at least {least_good} are needed for the energy"
        few = f"{len(good)} of {len(stretches)} energy windows of {log.meter} are good"
        way_out = "--meter model estimates it instead"
        why = "; ".join([f"{few}, {needed}", *bad, *log.remarks, way_out])
        energy_j = above_j = Number.unavailable(why)
    else:
        energy_j = _energy_j(good, log)
        above_j = _above_idle_j(good, idles, log)
        if above_j.low is not None and above_j.low <= 0:
            flags.append("the model's power is not told apart from the idle board's")
    before_w, after_w = idles
    metered = Metered(
        log.meter, log.scope, before_w, after_w, rate_hz, jitter_s, tuple(good), tuple(flags)
    )
    return Energies(energy_j, above_j, metered)


def _window(trace: Trace, stretch: Stretch) -> Window | str:
    """Give the window, or why it cannot count."""
    if stretch.seconds < LEAST_SECONDS:
        return f"it has {stretch.seconds:.1f} s, at least {LEAST_SECONDS:g} s are needed"
    if stretch.runs < LEAST_RUNS:
        return f"it has {stretch.runs} inferences, at least {LEAST_RUNS} are needed"
    mean_w = _mean_w(trace, stretch)
    if isinstance(mean_w, str):
        return mean_w
    end_s = stretch.start_s + stretch.seconds
    return Window(
        seconds=stretch.seconds,
        runs=stretch.runs,
        mean_w=mean_w,
        cpu_utilisation=stretch.cpu_utilisation,
        clock_hz=stretch.clock_hz,
        samples=len(trace.between(stretch.start_s, end_s).times_s),
        longest_gap_s=trace.longest_gap_s(stretch.start_s, end_s),
    )


def _mean_w(trace: Trace, stretch: Stretch) -> float | str:
    """Give the mean power of a stretch, or why the meter does not tell it."""
    end_s = stretch.start_s + stretch.seconds
    inside = trace.between(stretch.start_s, end_s)
    readings, gap_s = len(inside.times_s), trace.longest_gap_s(stretch.start_s, end_s)
    if readings < LEAST_READINGS:
        return f"the meter gave {readings} readings in it, at least {LEAST_READINGS} are needed"
    if gap_s > LARGEST_GAP * stretch.seconds:
        return (
            f"the meter gave nothing for {gap_s:.1f} s of its {stretch.seconds:.1f} s, at most "
            f"{LARGEST_GAP:.0%} are allowed"
        )
    mean_w = inside.mean_w()
    if mean_w is None:
        return "its readings are all of one moment"
    if mean_w <= 0:
        return f"its mean power is {mean_w:.3g} W, not above 0: is the meter wired backwards?"
    drift = _drift(trace, stretch, mean_w)
    if abs(drift) > LARGEST_DRIFT:
        return (
            f"the power drifts by {drift:+.0%} from its first to its last third, at most "
            f"{LARGEST_DRIFT:.0%} are allowed: something else ran meanwhile"
        )
    return mean_w


def _drift(trace: Trace, stretch: Stretch, mean_w: float) -> float:
    third_s, end_s = stretch.seconds / 3, stretch.start_s + stretch.seconds
    first_w = trace.between(stretch.start_s, stretch.start_s + third_s).mean_w()
    last_w = trace.between(end_s - third_s, end_s).mean_w()
    return 0.0 if first_w is None or last_w is None else (last_w - first_w) / mean_w


def _doubts(log: MeterLog, stretch: Stretch) -> list[str]:
    found = []
    if stretch.held:
        found.append(f"the clock was held down ({', '.join(stretch.held)})")
    mean_w = _mean_w(log.trace, stretch)
    drift = _drift(log.trace, stretch, mean_w) if isinstance(mean_w, float) else 0.0
    if abs(drift) > DRIFT:
        found.append(f"the power drifts by {drift:+.0%} from its first to its last third")
    return found


def _idle_w(log: MeterLog, stretch: Stretch) -> Number:
    mean_w = _mean_w(log.trace, stretch)
    if isinstance(mean_w, str):
        return Number.unavailable(f"the idle board's power is not known: {mean_w}")
    return Number.measured(mean_w)


def _idle_doubts(idles: Sequence[Number]) -> list[str]:
    before_w, after_w = (idle.value for idle in idles)
    if before_w is None or after_w is None:
        return [str(idle.reason) for idle in idles if idle.value is None]
    drift = (after_w - before_w) / max(before_w, after_w)
    if abs(drift) <= DRIFT:
        return []
    return [f"the idle board drew {before_w:.3g} W before the models and {after_w:.3g} W after"]


def _energy_j(windows: Sequence[Window], log: MeterLog) -> Number:
    joules = [window.mean_w * window.seconds / window.runs for window in windows]
    reason = f"median of {len(windows)} windows of {log.meter}, which sees {log.scope}"
    return Number.measured(median(joules), min(joules), max(joules), reason)


def _above_idle_j(windows: Sequence[Window], idles: Sequence[Number], log: MeterLog) -> Number:
    known_w = [idle.value for idle in idles if idle.value is not None]
    if len(known_w) < len(idles):
        return Number.unavailable(next(str(idle.reason) for idle in idles if idle.value is None))

    def above(idle_w: float) -> list[float]:
        return [(w.mean_w - idle_w) * w.seconds / w.runs for w in windows]

    value, low, high = (
        median(above(math.fsum(known_w) / len(known_w))),
        min(above(max(known_w))),
        max(above(min(known_w))),
    )
    reason = f"median of {len(windows)} windows of {log.meter}, the idle board's power taken off"
    return Number.measured(value, low, high, reason)


def _rate(trace: Trace, stretches: Sequence[Stretch]) -> tuple[float, float]:
    """Give readings a second inside the windows, and the deviation of the times between them."""
    gaps_s = [
        after - before
        for stretch in stretches
        for before, after in pairwise(
            trace.between(stretch.start_s, stretch.start_s + stretch.seconds).times_s
        )
    ]
    total_s = math.fsum(gaps_s)
    return (len(gaps_s) / total_s, pstdev(gaps_s)) if total_s > 0 else (0.0, 0.0)
