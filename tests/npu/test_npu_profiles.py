"""NPU profiles: all shipped ones load, and each rule of the schema is kept."""

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest

from edgekit.npu.profile import load_npu
from edgekit_device.errors import NpuProfileError
from edgekit_device.npus import npu_data, shipped_npus

ROOT = Path(__file__).parents[2]
SHIPPED = {
    "edge-tpu-like", "ethos-u55-like", "eyeriss", "nepu-v1", "scale-sim-32x32", "timeloop-eyeriss",
}  # fmt: skip


def test_the_profiles_of_the_checkout_are_shipped() -> None:
    assert set(shipped_npus()) == SHIPPED
    assert {file.stem for file in (ROOT / "profiles" / "npus").iterdir()} == SHIPPED
    assert (files("edgekit_device") / "profiles" / "npus" / "nepu-v1.toml").is_file()


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_a_shipped_profile_loads_by_the_name_of_its_file(name: str) -> None:
    profile = load_npu(name)
    assert profile.name == name
    assert profile.sources["clock_hz"]


def test_what_nepu_v1_is() -> None:
    nepu = load_npu("nepu-v1")
    assert (nepu.cores, nepu.array.elements, nepu.peak_macs_per_s) == (4, 1024, 4.096e12)
    assert set(nepu.array.dataflows) == {"WS", "OS", "IS"}
    assert nepu.precision.skip_zero_activations
    # HBM2, 3.9 pJ per bit.
    assert nepu.dram.read_j_per_byte == pytest.approx(8 * 3.9e-12)


def test_the_peaks_of_known_machines() -> None:
    tops = {name: 2 * load_npu(name).peak_macs_per_s / 1e12 for name in SHIPPED}
    assert tops["edge-tpu-like"] == pytest.approx(4.0, rel=0.01)
    assert tops["ethos-u55-like"] == pytest.approx(0.256)
    assert tops["eyeriss"] == pytest.approx(0.0672)


def test_without_an_arithmetic_the_array_works_at_its_own_widths() -> None:
    eyeriss = load_npu("eyeriss").precision
    assert (eyeriss.weight_bits, eyeriss.activation_bits, eyeriss.accumulator_bits) == (16, 16, 16)
    assert not eyeriss.skip_zero_activations


@pytest.fixture
def npu_file(tmp_path: Path) -> Callable[..., str]:
    """nepu-v1 with one text replaced, as a file."""

    def write(old: str, new: str) -> str:
        text = shipped_npus()["nepu-v1"]
        assert old in text
        file = tmp_path / "mine.toml"
        file.write_text(text.replace(old, new, 1))
        return str(file)

    return write


def test_a_file_of_ones_own_is_read(npu_file: Callable[..., str]) -> None:
    assert load_npu(npu_file('name = "nepu-v1"', 'name = "mine"')).name == "mine"


def test_multipliers_of_ones_own_need_a_source(npu_file: Callable[..., str]) -> None:
    table = '[multipliers]\n"drum(4)" = 0.4\n\n[error]'
    with pytest.raises(NpuProfileError, match=r"sources\.multipliers\.drum\(4\): is missing"):
        load_npu(npu_file("[error]", table))
    file = Path(npu_file("[error]", table))
    file.write_text(file.read_text().replace("[sources]", '[sources]\nmultipliers = "mine"'))
    assert load_npu(str(file)).multipliers == {"drum(4)": 0.4}


@pytest.mark.parametrize(
    ("old", "new", "key", "rule"),
    [
        ("edgekit.npu/1", "edgekit.npu/2", "schema", "must be 'edgekit.npu/1'"),
        ("cores = 4", "cores = 0", "cores", "from 1 to 64"),
        ("cores = 4", "cores = 4\ncolour = 'red'", "colour", "not a key"),
        ("clock_hz = 1_000_000_000", "clock_hz = 1000", "clock_hz", "from 1e+06"),
        ("static_w = 0.1", "", "static_w", "is missing"),
        ("rows = 32", "rows = 32.5", "array.rows", "whole number"),
        ("rows = 32", "rows = 32\nshape = 3", "array.shape", "not a key"),
        ('["WS", "OS", "IS"]', '["XS"]', "array.dataflows", "some of WS, OS, IS, RS"),
        ('["WS", "OS", "IS"]', '["WS", "RS"]', "array.dataflows", "must stand alone"),
        ('["WS", "OS", "IS"]', '["WS", "WS"]', "array.dataflows", "some of"),
        ('zero_skipping = "skip"', 'zero_skipping = "x"', "array.zero_skipping", "one of none"),
        ("skip_efficiency = 0.61", "skip_efficiency = 2", "array.skip_efficiency", "from 0 to 1"),
        ('zero_skipping = "skip"', 'zero_skipping = "gate"', "array.skip_efficiency", "not a key"),
        ("double_buffered = true", "double_buffered = 1", "buffer.double_buffered", "true or"),
        ("bytes = 131_072", "bytes = 1", "buffer.bytes", "from 256"),
        ("multiply_j = 0.0284e-12", "multiply_j = 0.0284", "array.multiply_j", "from 0 to 1e-06"),
        ("latency = [", "latency = [1.1, ", "error.latency", "two factors"),
        ("weight_bits = 8\nactivation_bits = 8\naccumulator_bits = 32\naccumulator_over",
         "weight_bits = 1\nactivation_bits = 8\naccumulator_bits = 32\naccumulator_over",
         "arithmetic.weight_bits", "from 2 to 32"),
        ('multiplier = "exact"', 'multiplier = "fast"', "arithmetic.multiplier", "must be exact"),
        ('"saturate"', '"clip"', "arithmetic.accumulator_overflow", "one of saturate, wrap"),
        ("noise = 0.0", "noise = -1", "arithmetic.noise", "from 0 to 1"),
        ("seed = 0", "seed = 0\nrounds = 3", "arithmetic.rounds", "not a key"),
        ("registers = ", "registers.x = ", "sources.registers", "must be text"),
        ('cores = "a choice', 'core = "a choice', "sources.cores", "say where the number is from"),
        ('cores = "a choice', 'name = "x"\ncores = "a choice', "sources.name", "not the key of a"),
    ],
)  # fmt: skip
def test_a_broken_profile_names_file_key_and_rule(
    npu_file: Callable[..., str], old: str, new: str, key: str, rule: str
) -> None:
    file = npu_file(old, new)
    with pytest.raises(NpuProfileError) as caught:
        load_npu(file)
    message = str(caught.value)
    assert message.startswith(f"{file}: {key}: "), message
    assert rule in message


def test_what_is_not_toml_or_not_there_is_said(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    with pytest.raises(NpuProfileError, match="cannot be read"):
        npu_data(str(file))
    file.write_text("cores = ")
    with pytest.raises(NpuProfileError, match="not TOML"):
        npu_data(str(file))
    with pytest.raises(NpuProfileError, match="nepu-v1"):
        npu_data("nepu-v9")
