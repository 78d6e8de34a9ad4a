"""Coefficients fitted to measurements: exact data give them back, any data give sensible ones."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.boards.fitting import (
    Metering,
    Timed,
    fit_latency,
    fit_power,
    latency_error,
    least_squares,
    ratio_of,
)
from edgekit_device.board import LatencyModel, Power
from edgekit_device.energy import power_w

EARLIER = LatencyModel(2.0, 0.5, 0.63, 2.5, "somebody's fit")

seconds = st.floats(1e-6, 10.0)
factors = st.floats(0.05, 20.0)
watts = st.floats(0.1, 20.0)
shares = st.floats(0.0, 1.0)
clocks = st.floats(3e8, 3e9)


def timed(k: float, c: float) -> list[Timed]:
    """Three models on one and four threads, exactly as the form has it."""
    found = []
    for model, macs_s, traffic_s in (("a", 0.1, 0.01), ("b", 0.02, 0.03), ("c", 0.4, 0.0)):
        for threads in (1, 4):
            own_s = macs_s / threads
            found.append(Timed(model, own_s, traffic_s, k * own_s + c * traffic_s))
    return found


@given(factors, factors)
def test_exact_latencies_give_their_factors_back(k: float, c: float) -> None:
    fit = fit_latency(timed(k, c), EARLIER)
    assert fit is not None
    assert (fit.macs_factor, fit.traffic_factor) == (pytest.approx(k), pytest.approx(c))
    assert (fit.models, fit.runs, fit.with_traffic, fit.left_out) == (3, 6, True, True)
    # Each model is predicted exactly by the others, but tomorrow is another day.
    assert fit.after.worst == pytest.approx(0, abs=1e-6)
    assert (fit.low, fit.high) == (pytest.approx(0.9), pytest.approx(1.1))


def test_each_model_is_predicted_by_the_others() -> None:
    # b takes twice as long as the others say.
    data = [one for one in timed(2.0, 0.0) if one.model != "b"]
    data = [Timed(one.model, one.macs_s, 0.0, one.measured_s) for one in data]
    data.append(Timed("b", 0.1, 0.0, 0.4))
    fit = fit_latency(data, EARLIER)
    assert fit is not None
    assert not fit.with_traffic
    assert fit.traffic_factor == EARLIER.traffic_factor
    # b over what a and c alone predict.
    assert fit.high == pytest.approx(2.0)
    # a's two runs, 0.5 relative each, c's two and b's one: 3 / (2 * 0.25 + 0.0625) for a left out.
    others = (2 * 0.5 + 0.25) / (2 * 0.25 + 0.0625)
    assert fit.low == pytest.approx(2.0 / others)
    assert fit.after.worst == pytest.approx(0.5)


def test_one_model_fits_the_products_alone_and_keeps_the_earlier_interval() -> None:
    data = [one for one in timed(3.0, 0.5) if one.model == "a"]
    fit = fit_latency(data, EARLIER)
    assert fit is not None
    assert (fit.macs_factor, fit.traffic_factor) == (pytest.approx(3.0), 0.5)
    assert (fit.low, fit.high, fit.left_out) == (0.63, 2.5, False)
    assert fit_latency(data, None) is None


def test_models_in_the_cache_leave_the_traffic_factor_as_it_was() -> None:
    data = [Timed(name, macs_s, 0.0, 3 * macs_s) for name, macs_s in (("a", 0.1), ("b", 0.3))]
    fit = fit_latency(data, EARLIER)
    assert fit is not None
    assert (fit.macs_factor, fit.traffic_factor) == (pytest.approx(3.0), 0.5)
    bare = fit_latency(data, None)
    assert bare is not None
    assert bare.traffic_factor == 0


@given(
    st.lists(
        st.builds(Timed, st.sampled_from("abcd"), seconds, st.just(0.0) | seconds, seconds),
        min_size=1,
        max_size=12,
    )
)
def test_any_latencies_give_a_model_that_a_profile_can_hold(data: list[Timed]) -> None:
    fit = fit_latency(data, EARLIER)
    assert fit is not None
    numbers = (fit.macs_factor, fit.traffic_factor, fit.low, fit.high, fit.after.worst)
    assert all(math.isfinite(number) and number >= 0 for number in numbers)
    assert 0 < fit.low <= 1 <= fit.high <= 1e3
    assert fit.after.mean <= fit.after.worst * (1 + 1e-9)


@given(
    st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5), st.floats(-3, 3)), min_size=2, max_size=8)
)
def test_no_other_factors_above_0_are_nearer(rows: list[tuple[float, float, float]]) -> None:
    found = least_squares([row[:2] for row in rows], [row[2] for row in rows])
    if found is None:
        return
    x, y, target = np.array(rows).T

    def off(p: float, q: float) -> float:
        return float(np.sum((p * x + q * y - target) ** 2))

    assert min(found) >= 0
    steps = (-0.1, -1e-3, 0.0, 1e-3, 0.1)
    for dp, dq in product(steps, steps):
        other = max(found[0] + dp, 0.0), max(found[1] + dq, 0.0)
        assert off(*found) <= off(*other) + 1e-9 * (1 + off(0, 0))


def test_columns_in_proportion_are_not_told_apart() -> None:
    assert least_squares([(1, 2), (2, 4), (3, 6)], [1, 1, 1]) is None
    assert least_squares([(1, 0), (2, 0)], [1, 1]) is None
    assert least_squares([], []) is None


def power(idle: float, linear: float, cubic: float) -> list[Metering]:
    """Two utilisations at three clocks, exactly as the form has it."""
    model = Power(idle, idle + linear + cubic, "", clock_hz=1.5e9, cubic_w=cubic)
    points = product((0.25, 1.0), (6e8, 1e9, 1.8e9))
    return [
        Metering((used, clock_hz), power_w(model, used, clock_hz), used, clock_hz)
        for used, clock_hz in points
    ]


@given(watts, watts, watts)
def test_exact_watts_give_their_model_back(idle: float, linear: float, cubic: float) -> None:
    fit = fit_power(power(idle, linear, cubic), idle, 1.5e9)
    assert (fit.idle_w, fit.clock_hz, fit.runs) == (idle, 1.5e9, 6)
    assert (fit.linear_w, fit.cubic_w) == (
        pytest.approx(linear, rel=1e-3, abs=1e-3),
        pytest.approx(cubic, rel=1e-3, abs=1e-3),
    )
    assert fit.after is not None
    assert fit.after.worst == pytest.approx(0, abs=1e-3)
    assert (fit.low, fit.high) == (pytest.approx(0.95), pytest.approx(1.05))


def test_at_one_clock_all_grows_with_it_and_without_any_nothing_does() -> None:
    windows = [Metering(used, 2 + 4 * used, used, 1.8e9) for used in (0.25, 0.5, 1.0)]
    fit = fit_power(windows, 2.0, 1.5e9)
    assert (fit.linear_w, fit.cubic_w) == (pytest.approx(4 * 1.5 / 1.8), 0.0)
    blind = [Metering(one.run, one.mean_w, one.utilisation, None) for one in windows]
    fit = fit_power(blind, 2.0, 1.5e9)
    assert (fit.linear_w, fit.cubic_w, fit.clock_hz) == (pytest.approx(4.0), 0.0, None)


def test_one_run_does_not_know_its_error() -> None:
    fit = fit_power([Metering("a", 4.0, 0.5, None), Metering("a", 4.1, 0.5, None)], 2.0, 1.5e9)
    assert (fit.low, fit.high, fit.after, fit.runs, fit.windows) == (None, None, None, 1, 2)


@given(
    st.lists(
        st.builds(Metering, st.sampled_from("abc"), watts, shares, st.none() | clocks),
        min_size=1,
        max_size=12,
    ),
    watts,
    st.tuples(shares, shares),
    st.tuples(clocks, clocks),
)
def test_any_watts_give_power_that_never_falls_with_load_or_clock(
    windows: list[Metering],
    idle: float,
    used: tuple[float, float],
    clock: tuple[float, float],
) -> None:
    fit = fit_power(windows, idle, 1.5e9)
    full = fit.idle_w + fit.linear_w + fit.cubic_w
    model = Power(fit.idle_w, full, "", clock_hz=fit.clock_hz, cubic_w=fit.cubic_w)
    assert min(fit.linear_w, fit.cubic_w) >= 0
    low, high = sorted(used)
    assert power_w(model, low, clock[0]) <= power_w(model, high, clock[0]) * (1 + 1e-9)
    low, high = sorted(clock)
    assert power_w(model, used[0], low) <= power_w(model, used[0], high) * (1 + 1e-9)
    assert power_w(model, 0.0, high) == pytest.approx(idle)


def test_errors_are_of_the_prediction() -> None:
    data = [Timed("a", 1.0, 0.0, 1.0), Timed("b", 1.0, 0.0, 4.0)]
    error = latency_error(data, EARLIER)
    # Predicted 2 s: 100 % over the first, half of the second.
    assert (error.mean, error.worst) == (pytest.approx(0.75), pytest.approx(1.0))
    assert (ratio_of(1, 0), ratio_of(0, 0), ratio_of(1, 1e9)) == (1e3, 1.0, 1e-3)
