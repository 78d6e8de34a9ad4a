import pytest

from edgekit_device.board import Power
from edgekit_device.energy import energy_j, power_above_idle_w, power_w
from edgekit_device.number import Number

A, B = Power(2.0, 6.0, "laboratory A"), Power(1.0, 7.0, "laboratory B")
QUARTER, TEN_MS = Number.measured(0.25), Number.measured(10.0)


def test_two_sources_give_their_mean_and_range() -> None:
    energy = energy_j([A, B], power_w, QUARTER, TEN_MS)
    # A: 2 + 4/4 = 3 W, B: 1 + 6/4 = 2.5 W, both for 10 ms.
    assert (energy.how, energy.value) == ("estimated", pytest.approx(0.0275))
    assert (energy.low, energy.high) == (pytest.approx(0.025), pytest.approx(0.03))
    assert "laboratory A" in str(energy.reason)
    assert "laboratory B" in str(energy.reason)


def test_each_laboratory_counts_once() -> None:
    # At full load: A 6 W; B 7 and 9 W, 8 W on average.
    models = [A, Power(1.0, 7.0, "B, integers", "B"), Power(1.0, 9.0, "B, vectors", "B")]
    energy = energy_j(models, power_w, Number.measured(1.0), Number.measured(1e3))
    assert energy.value == pytest.approx(7.0)
    assert (energy.low, energy.high) == (pytest.approx(6.0), pytest.approx(9.0))
    assert str(energy.reason).startswith(
        "mean over 2 laboratories, range of 3 published power models: laboratory A; B, integers"
    )


def test_a_lone_laboratory_with_two_models_is_still_alone() -> None:
    models = [Power(1.0, 7.0, "integers", "B"), Power(1.0, 17.0, "vectors", "B")]
    energy = energy_j(models, power_w, Number.measured(1.0), Number.measured(1e3))
    assert (energy.low, energy.value) == (pytest.approx(7.0), pytest.approx(12.0))
    assert energy.high == pytest.approx(17.0)
    close = energy_j([models[0], models[0]], power_w, Number.measured(1.0), Number.measured(1e3))
    assert (close.low, close.high) == (pytest.approx(4.9), pytest.approx(9.1))
    assert "one laboratory only" in str(close.reason)


def test_above_idle_leaves_the_idle_power_out() -> None:
    energy = energy_j([A, B], power_above_idle_w, QUARTER, TEN_MS)
    assert (energy.low, energy.value, energy.high) == (
        pytest.approx(0.010),
        pytest.approx(0.0125),
        pytest.approx(0.015),
    )


def test_a_lone_source_gets_thirty_percent_and_says_so() -> None:
    energy = energy_j([A], power_w, QUARTER, TEN_MS)
    assert (energy.low, energy.value, energy.high) == (
        pytest.approx(0.021),
        pytest.approx(0.03),
        pytest.approx(0.039),
    )
    assert "30 %" in str(energy.reason)


def test_the_latencys_interval_is_the_energys_too() -> None:
    latency = Number.measured(10.0, 8.0, 15.0)
    energy = energy_j([A, B], power_w, QUARTER, latency)
    # B at its least 8 ms, A at its most 15 ms.
    assert energy.value == pytest.approx(0.0275)
    assert (energy.low, energy.high) == (pytest.approx(2.5 * 0.008), pytest.approx(3 * 0.015))
    alone = energy_j([A], power_w, QUARTER, latency)
    assert alone.low == pytest.approx(0.7 * 3 * 0.008)
    assert alone.high == pytest.approx(1.3 * 3 * 0.015)


def test_power_follows_the_clock_where_the_model_knows_it() -> None:
    # Of 4 W that full load adds at 1 GHz, 1 W grows with the clock's cube.
    model = Power(2.0, 6.0, "own", clock_hz=1e9, cubic_w=1.0)
    assert power_w(model, 1.0) == power_w(model, 1.0, 1e9) == pytest.approx(6.0)
    assert power_w(model, 0.5, 2e9) == pytest.approx(2 + 0.5 * (3 * 2 + 1 * 8))
    assert power_above_idle_w(model, 0.5, 5e8) == pytest.approx(0.5 * (3 / 2 + 1 / 8))
    assert power_w(A, 0.5, 2e9) == power_w(A, 0.5)
    energy = energy_j([model], power_w, Number.measured(1.0), Number.measured(1e3), 2e9)
    assert energy.value == pytest.approx(16.0)


def test_a_lone_laboratory_that_knows_its_error_keeps_it() -> None:
    model = Power(2.0, 6.0, "own", low=0.9, high=1.05)
    energy = energy_j([model], power_w, Number.measured(1.0), Number.measured(1e3))
    assert (energy.low, energy.value, energy.high) == (
        pytest.approx(5.4),
        pytest.approx(6.0),
        pytest.approx(6.3),
    )
    assert energy.reason == "one laboratory: own"


def test_no_power_model_is_unavailable_not_zero() -> None:
    assert energy_j([], power_w, QUARTER, TEN_MS).how == "unavailable"


@pytest.mark.parametrize("missing", [0, 1])
def test_an_unknown_input_makes_it_unavailable_for_the_same_reason(missing: int) -> None:
    inputs = [QUARTER, TEN_MS]
    inputs[missing] = Number.unavailable("nobody looked")
    assert energy_j([A], power_w, *inputs) == Number.unavailable("nobody looked")
