"""Mean power from readings: what holds for all of them."""

from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edgekit_device.meters.meter import Reading
from edgekit_device.meters.trace import Trace

TIMES = st.lists(st.floats(0, 1e4), min_size=2, max_size=50, unique=True)
WATTS = st.floats(0.001, 1e3)


def apart(times: list[float]) -> None:
    ordered = sorted(times)
    assume(all(b - a > 1e-6 for a, b in pairwise(ordered)))


@given(times=TIMES, data=st.data())
def test_the_mean_lies_between_the_least_and_the_greatest(
    times: list[float], data: st.DataObject
) -> None:
    apart(times)
    watts = data.draw(st.lists(WATTS, min_size=len(times), max_size=len(times)))
    trace = Trace.of(map(Reading, times, watts), counts=False)
    mean_w = trace.mean_w() or 0
    assert min(watts) * (1 - 1e-9) <= mean_w <= max(watts) * (1 + 1e-9)


@given(times=TIMES, start_w=WATTS, slope=st.floats(0, 1))
def test_power_that_grows_evenly_is_integrated_exactly(
    times: list[float], start_w: float, slope: float
) -> None:
    apart(times)
    trace = Trace.of((Reading(t, start_w + slope * t) for t in times), counts=False)
    middle_s = (min(times) + max(times)) / 2
    assert trace.mean_w() == pytest.approx(start_w + slope * middle_s, rel=1e-6)


@given(times=TIMES, watts=WATTS, before_j=st.floats(0, 1e6))
def test_a_counter_gives_its_difference_over_the_time(
    times: list[float], watts: float, before_j: float
) -> None:
    apart(times)
    trace = Trace.of((Reading(t, before_j + watts * t) for t in times), counts=True)
    span_s = max(times) - min(times)
    # As far as the counter's own digits go.
    assert trace.mean_w() == pytest.approx(watts, rel=1e-6, abs=1e-9 * (1e7 + before_j) / span_s)


def test_readings_are_ordered_moved_and_cut() -> None:
    trace = Trace.of([Reading(3, 30), Reading(1, 10), Reading(2, 20)], 0.5, counts=False)
    assert trace.times_s == (1.5, 2.5, 3.5)
    assert trace.between(1.5, 3.0).values == (10, 20)
    assert trace.between(4, 5).mean_w() is None
    assert trace.between(1, 2).mean_w() is None


def test_the_longest_gap_may_be_at_an_edge() -> None:
    trace = Trace.of([Reading(1, 1), Reading(1.2, 1), Reading(2, 1)], counts=False)
    assert trace.longest_gap_s(0.9, 2.1) == pytest.approx(0.8)
    assert trace.longest_gap_s(0, 2.1) == pytest.approx(1)
    assert trace.longest_gap_s(1, 9) == pytest.approx(7)
    assert trace.longest_gap_s(5, 9) == pytest.approx(4)
