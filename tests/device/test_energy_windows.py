"""Energy from a meter: which windows count, what is refused and what is flagged."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit_device import Settings
from edgekit_device.codec import encode
from edgekit_device.energy_windows import (
    DRIFT,
    LARGEST_DRIFT,
    LARGEST_GAP,
    LEAST_GOOD,
    LEAST_READINGS,
    LEAST_RUNS,
    LEAST_SECONDS,
    Energies,
    MeterLog,
    Stretch,
    lengthened,
    metered_energies,
)
from edgekit_device.energy_windows import (
    WINDOWS as FEWEST,
)
from edgekit_device.meters.meter import Reading
from edgekit_device.meters.named import FORMS
from edgekit_device.meters.trace import Trace

BEFORE, AFTER = Stretch(0.0, 10.0), Stretch(100.0, 10.0)
# Five windows of 11 s and 110 inferences each, with a pause of 2 s between them.
WINDOWS = [Stretch(20.0 + 13 * i, 11.0, 110, 0.25, 1.5e9) for i in range(5)]


def readings(stretch: Stretch, watts: Any, rate_hz: float = 10.0) -> list[Reading]:
    """Readings of a stretch; `watts` is a number or a function of the share of the stretch."""
    power = watts if callable(watts) else lambda share: watts
    count = int(stretch.seconds * rate_hz)
    return [
        Reading(stretch.start_s + (i + 0.5) / rate_hz, power((i + 0.5) / count))
        for i in range(count)
    ]


def energies(
    powers: list[Any],
    *,
    idle: tuple[Any, Any] = (2.0, 2.0),
    rate_hz: float = 10.0,
    windows: list[Stretch] = WINDOWS,
    remarks: tuple[str, ...] = (),
) -> Energies:
    pairs = [(BEFORE, idle[0]), *zip(windows, powers, strict=True), (AFTER, idle[1])]
    all_readings = [r for stretch, power in pairs for r in readings(stretch, power, rate_hz)]
    trace = Trace.of(all_readings, counts=False)
    log = MeterLog("ina226", "the board's supply", trace, remarks, BEFORE, AFTER)
    return metered_energies(log, windows)


def test_known_watts_are_known_joules() -> None:
    # 6 W for 11 s over 110 inferences; the idle board draws 2 W.
    found = energies([6.0] * 5)
    assert found.energy_j.how == found.energy_above_idle_j.how == "measured"
    assert found.energy_j.value == pytest.approx(0.6)
    assert found.energy_above_idle_j.value == pytest.approx(0.4)
    assert "sees the board's supply" in str(found.energy_j.reason)
    metered = found.metered
    assert (metered.meter, metered.scope, metered.flags) == ("ina226", "the board's supply", ())
    assert metered.idle_before_w.value == metered.idle_after_w.value == pytest.approx(2.0)
    assert metered.sample_rate_hz == pytest.approx(10)
    assert metered.jitter_s == pytest.approx(0, abs=1e-9)
    assert len(metered.windows) == 5
    window = metered.windows[0]
    assert (window.seconds, window.runs, window.samples) == (11.0, 110, 110)
    assert (window.cpu_utilisation, window.clock_hz) == (0.25, 1.5e9)
    assert window.longest_gap_s == pytest.approx(0.1)
    json.dumps(encode(metered), allow_nan=False)


@given(
    powers=st.lists(st.floats(2.5, 50), min_size=5, max_size=5),
    idle=st.tuples(st.floats(0.5, 2.4), st.floats(0.5, 2.4)),
)
def test_the_value_is_the_median_and_lies_in_its_interval(
    powers: list[float], idle: tuple[float, float]
) -> None:
    found = energies(powers, idle=idle)
    whole, above = found.energy_j, found.energy_above_idle_j
    assert whole.value == pytest.approx(sorted(powers)[2] / 10)
    assert (whole.low, whole.high) == (
        pytest.approx(min(powers) / 10),
        pytest.approx(max(powers) / 10),
    )
    assert above.value == pytest.approx((sorted(powers)[2] - sum(idle) / 2) / 10)
    assert above.low == pytest.approx((min(powers) - max(idle)) / 10)
    assert above.high == pytest.approx((max(powers) - min(idle)) / 10)


def test_a_counter_gives_the_same_joules() -> None:
    total_j, values = 0.0, []
    for stretch, watts in ((BEFORE, 2.0), *((one, 6.0) for one in WINDOWS), (AFTER, 2.0)):
        for step in range(int(stretch.seconds * 10) + 1):
            values.append(Reading(stretch.start_s + step / 10, total_j + watts * step / 10))
        total_j = values[-1].value
    log = MeterLog("RAPL", "the package", Trace.of(values, counts=True), (), BEFORE, AFTER)
    found = metered_energies(log, WINDOWS)
    assert found.energy_j.value == pytest.approx(0.6)
    assert found.energy_above_idle_j.value == pytest.approx(0.4)


def refusal(found: Energies) -> str:
    assert found.energy_j.how == found.energy_above_idle_j.how == "unavailable"
    assert found.metered.windows == ()
    return str(found.energy_j.reason)


def test_windows_that_are_too_short_are_refused() -> None:
    short = [replace(window, seconds=9.9) for window in WINDOWS]
    said = refusal(energies([6.0] * 5, windows=short))
    assert "0 of 5 energy windows of ina226 are good" in said
    assert "it has 9.9 s, at least 10 s are needed" in said
    few = [replace(window, runs=9) for window in WINDOWS]
    assert "it has 9 inferences, at least 10" in refusal(energies([6.0] * 5, windows=few))


def test_too_few_readings_are_refused() -> None:
    said = refusal(energies([6.0] * 5, rate_hz=1.5))
    assert f"the meter gave 16 readings in it, at least {LEAST_READINGS} are needed" in said
    assert energies([6.0] * 5, rate_hz=2).energy_j.how == "measured"


def test_a_meter_that_stopped_is_said() -> None:
    trace = Trace.of(
        [r for one, w in ((BEFORE, 2.0), (WINDOWS[0], 6.0)) for r in readings(one, w)], counts=False
    )
    log = MeterLog("csv", "a board", trace, ("csv was cut",), BEFORE, AFTER)
    found = metered_energies(log, WINDOWS)
    assert found.energy_j.how == "unavailable"
    assert "1 of 5 energy windows" in str(found.energy_j.reason)
    assert "the meter gave 0 readings" in str(found.energy_j.reason)
    assert "csv was cut" in str(found.energy_j.reason)
    assert found.metered.idle_after_w.how == "unavailable"


def test_a_gap_costs_its_window_and_two_bad_windows_are_flags() -> None:
    gap = [r for r in readings(WINDOWS[1], 6.0) if not 36 < r.t_s < 37.5]
    parts = [(BEFORE, 2.0), (WINDOWS[0], 6.0), (WINDOWS[2], 6.0), (WINDOWS[4], 6.0), (AFTER, 2.0)]
    others = [r for stretch, watts in parts for r in readings(stretch, watts)]
    trace = Trace.of([*gap, *others], counts=False)
    found = metered_energies(MeterLog("m", "s", trace, (), BEFORE, AFTER), WINDOWS)
    assert found.energy_j.value == pytest.approx(0.6)
    assert len(found.metered.windows) == 3
    first, second = found.metered.flags
    assert first.startswith("window 2 of 5 is left out: the meter gave nothing for 1.")
    assert second.startswith("window 4 of 5 is left out: the meter gave 0 readings")


def test_the_median_is_that_of_most_windows() -> None:
    windows = [Stretch(20.0 + 13 * i, 11.0, 110) for i in range(6)]
    trace = Trace.of(
        [r for one in (BEFORE, *windows[:3], AFTER) for r in readings(one, 6.0)], counts=False
    )
    log = MeterLog("m", "s", trace, (), BEFORE, Stretch(200.0, 10.0))
    assert metered_energies(log, windows[:5]).energy_j.value == pytest.approx(0.6)
    said = str(metered_energies(log, windows).energy_j.reason)
    assert "3 of 6 energy windows of m are good, at least 4 are needed" in said


def drifting(by: float) -> Any:
    """6 W on average; the means of the first and last third are apart by this share of them."""
    return lambda share: 6.0 * (1 + by * 1.5 * (share - 0.5))


@pytest.mark.parametrize(
    ("drift", "windows", "flags"), [(0.04, 5, 0), (-0.04, 5, 0), (0.06, 5, 1), (-0.2, 5, 1)]
)
def test_a_drifting_window_is_flagged(drift: float, windows: int, flags: int) -> None:
    found = energies([6.0] * 4 + [drifting(drift)])
    assert len(found.metered.windows) == windows
    assert len([flag for flag in found.metered.flags if "window 5 of 5" in flag]) == flags
    assert found.energy_j.value == pytest.approx(0.6)


def test_windows_that_drift_too_far_are_refused() -> None:
    said = refusal(energies([drifting(0.3)] * 5))
    assert "the power drifts by +30% from its first to its last third" in said
    assert "something else ran meanwhile" in said


def test_a_throttled_window_is_flagged() -> None:
    windows = [*WINDOWS[:4], replace(WINDOWS[4], held=("under-voltage",))]
    (flag,) = energies([6.0] * 5, windows=windows).metered.flags
    assert flag == "window 5 of 5: the clock was held down (under-voltage)"


def test_idle_powers_that_differ_are_flagged_and_widen() -> None:
    found = energies([6.0] * 5, idle=(2.0, 2.4))
    assert "drew 2 W before the models and 2.4 W after" in found.metered.flags[0]
    assert found.energy_above_idle_j.value == pytest.approx(0.38)
    assert found.energy_above_idle_j.low == pytest.approx(0.36)
    assert found.energy_above_idle_j.high == pytest.approx(0.4)


def test_without_idle_the_whole_is_known_all_the_same() -> None:
    found = energies([6.0] * 5, idle=(2.0, drifting(0.5)))
    assert found.energy_j.value == pytest.approx(0.6)
    assert found.energy_above_idle_j.how == "unavailable"
    assert "the idle board's power is not known: the power drifts" in str(
        found.energy_above_idle_j.reason
    )


def test_a_model_that_cannot_be_told_from_idle_is_flagged() -> None:
    found = energies([2.01, 2.0, 1.99, 2.01, 2.02])
    assert "not told apart from the idle board's" in found.metered.flags[-1]


def test_a_meter_that_is_wired_backwards_is_refused() -> None:
    assert "wired backwards" in refusal(energies([-6.0] * 5))


def test_a_plan_is_lengthened_to_whole_windows_and_not_shortened() -> None:
    plan = lengthened(Settings(runs=7, seconds=3.0, rounds=2, idle_seconds=0.0))
    assert (plan.rounds, plan.seconds_per_round, plan.runs_per_round) == (5, 10.0, 10)
    assert plan.idle_seconds == 10.0
    long = Settings(runs=700, seconds=300.0, rounds=7, idle_seconds=60.0)
    assert lengthened(long) == long
    sustained = lengthened(Settings(duration_s=30.0, idle_seconds=1.0))
    assert (sustained.plan.seconds, sustained.plan.rounds, sustained.idle_seconds) == (30, 1, 10)


@given(rounds=st.integers(1, 30), seconds=st.floats(0, 1000), runs=st.integers(1, 1000))
def test_every_lengthened_plan_has_windows_that_count(
    rounds: int, seconds: float, runs: int
) -> None:
    plan = lengthened(Settings(rounds=rounds, seconds=seconds, runs=runs))
    # A share lasts at least this many whole nanoseconds.
    assert int(plan.seconds_per_round * 1e9) >= 10 * 10**9
    assert plan.runs_per_round >= 10
    assert plan.rounds >= 5


def test_the_page_on_meters_knows_the_bounds_and_the_names() -> None:
    page = (Path(__file__).parents[2] / "docs/power-meters.md").read_text()
    for kind in ("auto", "model", "hwmon", "iio", "pmic", "rapl", "csv:FILE", "serial:DEVICE"):
        assert f"| `{kind}" in page
        assert kind in FORMS
    assert f"| under {LEAST_SECONDS:g} s or {LEAST_RUNS} inferences |" in page
    assert f"| under {LEAST_READINGS} in a window" in page
    assert (LARGEST_GAP, LEAST_GOOD, FEWEST) == (0.1, 3, 5)
    assert f"| above {DRIFT:.0%}".replace("%", " %") in page
    assert f"| above {LARGEST_DRIFT:.0%}".replace("%", " %") in page
