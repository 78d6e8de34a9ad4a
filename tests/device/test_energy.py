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


def test_no_power_model_is_unavailable_not_zero() -> None:
    assert energy_j([], power_w, QUARTER, TEN_MS).how == "unavailable"


@pytest.mark.parametrize("missing", [0, 1])
def test_an_unknown_input_makes_it_unavailable_for_the_same_reason(missing: int) -> None:
    inputs = [QUARTER, TEN_MS]
    inputs[missing] = Number.unavailable("nobody looked")
    assert energy_j([A], power_w, *inputs) == Number.unavailable("nobody looked")
