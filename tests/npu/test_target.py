"""An NPU by name or file, with settings of its arithmetic."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from edgekit.npu.target import load_target
from edgekit_device.errors import ArithmeticSettingError, NpuProfileError


def test_without_settings_it_is_the_profile() -> None:
    npu = load_target("nepu-v1")
    assert str(npu) == "npu:nepu-v1"
    assert npu.precision == npu.profile.precision


@pytest.mark.parametrize("name", ["eyeriss", "edge-tpu-like", "scale-sim-32x32"])
def test_a_profile_without_an_arithmetic_costs_what_its_array_is_made_for(name: str) -> None:
    npu = load_target(name)
    assert npu.precision == npu.profile.precision
    assert load_target(name, ["weight_bits=4"]).precision.weight_bits == 4


def test_settings_change_results_costs_name_and_key() -> None:
    plain, npu = load_target("nepu-v1"), load_target("nepu-v1", ["weight_bits=4", "noise=0.1"])
    assert str(npu) == "npu:nepu-v1(weight_bits=4, noise=0.1)"
    assert (npu.arithmetic.weight_bits, npu.arithmetic.noise) == (4, 0.1)
    assert npu.precision.weight_bits == 4
    assert npu.key != plain.key


def test_a_profile_may_be_a_file_of_the_user(tmp_path: Path) -> None:
    shipped = files("edgekit_device") / "profiles" / "npus" / "nepu-v1.toml"
    text = shipped.read_text("utf-8").replace('name = "nepu-v1"', 'name = "mine"')
    own = tmp_path / "mine.toml"
    own.write_text(
        text.replace(
            "accumulator_bits = 32\naccumulator_overflow",
            "accumulator_bits = 20\naccumulator_overflow",
        )
    )
    npu = load_target(str(own))
    assert (str(npu), npu.arithmetic.accumulator_bits) == ("npu:mine", 20)


@pytest.mark.parametrize("name", ["nepu-v0", "none.toml"])
def test_a_profile_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(NpuProfileError, match=name):
        load_target(name)


def test_a_setting_that_is_none_is_refused() -> None:
    with pytest.raises(ArithmeticSettingError, match="'speed=9' is no setting"):
        load_target("nepu-v1", ["speed=9"])


def test_training_weighs_the_profiles_energies() -> None:
    costs = load_target("nepu-v1").energy_costs
    profile = load_target("nepu-v1").profile
    # Its array is of 8 bits: a product of 16 costs four times as much.
    assert costs.mac_j(8, 8) == pytest.approx(profile.array.multiply_j + profile.array.add_j)
    assert costs.weight_bit_j * 8 == profile.dram.read_j_per_byte
