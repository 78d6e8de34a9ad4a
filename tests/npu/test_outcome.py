"""What a file comes to on an NPU that runs all of it, some of it, or nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import NpuError
from edgekit.npu.comparing import as_sure_as, outcome_of
from edgekit.npu.emulation import cost_of_emulation, emulate_file
from edgekit.npu.outcome import NpuOutcome
from edgekit.npu.target import load_target
from edgekit_device import Number
from edgekit_device.delegate import library_path
from edgekit_device.errors import DelegateUnavailableError

MODELS = Path(__file__).parents[1] / "device" / "models"
HALF = Number.measured(0.5, 0.1, 0.9)


@pytest.fixture(autouse=True)
def _delegate() -> None:
    try:
        library_path()
    except DelegateUnavailableError as error:
        pytest.skip(str(error))


def outcome(name: str, *settings: str) -> NpuOutcome:
    file, npu = MODELS / f"{name}.tflite", load_target("nepu-v1", settings)
    done, _ = emulate_file(file, npu)
    return outcome_of("r", npu, done, cost_of_emulation(file, npu, done), HALF)


def test_a_float_file_with_a_reshape_has_no_number_at_all() -> None:
    found = outcome("two_by_two")  # a reshape costs nothing on any NPU: no reason to score
    numbers = (
        found.accuracy, found.latency_ms, found.energy_j, found.cycles, found.utilisation,
        found.dram_bytes, found.skipped_share, found.saturations,
    )  # fmt: skip
    assert {number.how for number in numbers} == {"unavailable"}
    assert all(number.how == "unavailable" for _, number in found.energy_parts_j)
    assert "float32" in (found.accuracy.reason or "")


def test_an_int8_file_has_all_of_them() -> None:
    found = outcome("conv_int8")
    assert (found.accuracy.how, found.accuracy.value) == ("emulated", 0.5)
    for number in (found.latency_ms, found.energy_j, found.cycles, found.dram_bytes):
        assert number.how == "estimated"
        assert number.low is not None
        assert number.high is not None
        assert number.low <= (number.value or 0) <= number.high
    assert found.not_estimated == ()


def test_an_unpublished_multiplier_leaves_the_energy_open_until_it_is_given() -> None:
    assert outcome("conv_int8", "multiplier=drum(4)").energy_j.how == "unavailable"
    given = load_target("nepu-v1", ["multiplier=drum(4)"], 0.4)
    assert given.precision.multiplier_energy == 0.4


@pytest.mark.parametrize("name", ["truncated(0)", "truncated(14)", "drum(8)"])
def test_every_multiplier_of_the_delegate_can_be_costed(name: str) -> None:
    assert load_target("nepu-v1", [f"multiplier={name}"]).precision.multiplier == name


def test_a_table_is_told_by_its_content(tmp_path: Path) -> None:
    file = tmp_path / "mine.bin"
    setting = f"multiplier=table({file})"
    with pytest.raises(NpuError, match=r"there is no file .*mine\.bin; make one"):
        load_target("nepu-v1", [setting])
    np.zeros(65536, np.int16).tofile(file)
    before = load_target("nepu-v1", [setting]).key
    np.ones(65536, np.int16).tofile(file)
    assert load_target("nepu-v1", [setting]).key != before


def test_the_widths_that_are_costed_tell_npus_apart() -> None:
    wide, narrow = load_target("eyeriss"), load_target("eyeriss", ["weight_bits=8"])
    assert wide.arithmetic == narrow.arithmetic
    assert wide.key != narrow.key


@given(st.floats(1e-9, 1e9), st.floats(1e-9, 1e9), st.floats(1.0, 3.0))
def test_a_value_lies_in_the_interval_that_it_takes_over(
    total: float, value: float, upper: float
) -> None:
    found = as_sure_as(Number.estimated(total, total, total * upper), value)
    assert found.value == value
    assert found.low is not None
    assert found.high is not None
    assert found.low == pytest.approx(value)
    assert found.high == pytest.approx(value * upper)
