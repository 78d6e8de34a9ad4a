"""Fewer bits, narrow accumulators, approximate multipliers, noise and zero skipping."""

from pathlib import Path

import numpy as np
import pytest
from delegate_models import EXAMPLES, OPERATORS, RUNTIME, need_delegate, reference, run
from delegate_models import invoke as invoke_model
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nepu_model import conv_family, normal

from edgekit_device.arithmetic import Arithmetic
from edgekit_device.delegate import Nepu, magnitudes, products
from edgekit_device.errors import ArithmeticSettingError, DelegateUnavailableError

FAMILY = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED")
IN_DOUBLE = RUNTIME.name == "litert"


@pytest.fixture(scope="module", autouse=True)
def _delegate() -> None:
    need_delegate()


ARITHMETICS = st.builds(
    Arithmetic,
    weight_bits=st.integers(2, 8),
    activation_bits=st.integers(2, 8),
    accumulator_bits=st.integers(16, 32),
    accumulator_overflow=st.sampled_from(["saturate", "wrap"]),
    multiplier=st.sampled_from(
        ["exact", "mitchell", *(f"drum({k})" for k in range(2, 9)), "truncated(3)", "truncated(9)"]
    ),
    noise=st.sampled_from([0.0, 0.0, 0.001, 0.1]),
    seed=st.integers(0, 2**64 - 1),
    skip_zero_weights=st.booleans(),
    skip_zero_activations=st.booleans(),
)


@pytest.mark.parametrize("name", FAMILY)
@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32 - 1), arithmetic=ARITHMETICS)
def test_sums_and_counts_are_those_of_the_definition(
    name: str, seed: int, arithmetic: Arithmetic
) -> None:
    model, inputs = OPERATORS[name](np.random.default_rng(seed))
    table = products(arithmetic.multiplier)
    expected = conv_family(model, inputs[0], arithmetic, table, IN_DOUBLE)
    (actual,), (event,) = run(model.to_bytes(), inputs, arithmetic)
    np.testing.assert_array_equal(actual, expected.output)
    counted = (event.macs, event.skipped_macs, event.saturations)
    assert counted == (expected.macs, expected.skipped_macs, expected.saturations)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
@pytest.mark.parametrize("name", FAMILY)
def test_the_definition_in_exact_arithmetic_is_the_reference_kernels(name: str, seed: int) -> None:
    model, inputs = OPERATORS[name](np.random.default_rng(seed))
    expected = conv_family(model, inputs[0], Arithmetic(), products("exact"), IN_DOUBLE)
    (actual,) = invoke_model(reference(model.to_bytes()), inputs)
    np.testing.assert_array_equal(expected.output, actual)


# From the publications' definitions over all operands from 1 to 255.
@pytest.mark.parametrize(
    ("multiplier", "percent"),
    [
        ("drum(3)", "12.10"),
        ("drum(4)", "5.89"),
        ("drum(5)", "2.84"),
        ("drum(6)", "1.301"),
        ("mitchell", "3.788"),
    ],
)
def test_mean_relative_errors_are_the_published_ones(multiplier: str, percent: str) -> None:
    operands = np.arange(1, 256)
    exact = np.multiply.outer(operands, operands)
    error = np.abs(magnitudes(multiplier)[1:, 1:] - exact) / exact
    digits = len(percent.split(".")[1])
    assert f"{100 * error.mean():.{digits}f}" == percent


def test_drum_is_exact_for_operands_that_fit() -> None:
    assert np.array_equal(magnitudes("drum(5)")[:32, :32], np.multiply.outer(*[np.arange(32)] * 2))
    assert np.array_equal(products("drum(8)"), products("exact"))


def test_truncation_drops_low_bits_of_the_magnitude() -> None:
    signed = products("truncated(4)").astype(np.int64)
    exact = products("exact").astype(np.int64)
    assert np.array_equal(np.abs(signed), np.abs(exact) // 16 * 16)
    assert np.all(signed * exact >= 0)


def test_a_table_from_a_file_multiplies_as_given(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    table = (products("exact") + rng.integers(-300, 300, (256, 256))).astype("<i4")
    file = tmp_path / "circuit.bin"
    table.tofile(file)
    model, inputs = OPERATORS["CONV_2D"](rng)
    arithmetic = Arithmetic(multiplier=f"table({file})")
    expected = conv_family(model, inputs[0], arithmetic, table, IN_DOUBLE)
    (actual,), _ = run(model.to_bytes(), inputs, arithmetic)
    np.testing.assert_array_equal(actual, expected.output)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot be opened"),
        (np.zeros(65535, "<i4"), "262144 bytes"),
        (np.zeros(65537, "<i4"), "262144 bytes"),
        (np.full(65536, 70000, "<i4"), "not at 70000"),
    ],
)
def test_a_broken_table_is_refused(
    content: np.ndarray | None, sentence: str, tmp_path: Path
) -> None:
    file = tmp_path / "table.bin"
    if content is not None:
        content.tofile(file)
    with pytest.raises(ArithmeticSettingError, match=sentence):
        products(f"table({file})")
    with pytest.raises(DelegateUnavailableError, match=sentence):
        Nepu(Arithmetic(multiplier=f"table({file})"), RUNTIME)


def test_noise_has_the_deviation_that_was_asked_for() -> None:
    draws = np.array([normal(3, 0, 0, element) for element in range(4000)])
    assert abs(draws.mean()) < 0.05
    assert abs(draws.std() - 1) < 0.05


def test_the_same_seed_gives_the_same_noise_and_another_one_another() -> None:
    model, inputs = OPERATORS["CONV_2D"](np.random.default_rng(12))
    content = model.to_bytes()

    def outputs(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        nepu = Nepu(Arithmetic(noise=0.05, seed=seed), RUNTIME)
        interpreter = nepu.interpreter(content)
        first, second = (invoke_model(interpreter, inputs)[0] for _ in range(2))
        nepu.reset()
        return first, second, invoke_model(interpreter, inputs)[0]

    first, second, after_reset = outputs(1)
    assert not np.array_equal(first, second)
    assert np.array_equal(first, after_reset)
    assert np.array_equal(first, outputs(1)[0])
    assert not np.array_equal(first, outputs(2)[0])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"weight_bits": 1}, "arithmetic.weight_bits must be a whole number from 2 to 8"),
        ({"weight_bits": True}, "arithmetic.weight_bits must be"),
        ({"accumulator_bits": 33}, "from 16 to 32"),
        ({"accumulator_overflow": "trap"}, "saturate or wrap"),
        ({"multiplier": "drum(9)"}, "drum\\(2 to 8\\)"),
        ({"multiplier": "truncated(15)"}, "truncated\\(0 to 14\\)"),
        ({"multiplier": "table()"}, "table\\(FILE\\)"),
        ({"noise": float("nan")}, "a number from 0 to 1"),
        ({"seed": -1}, "from 0 to 18446744073709551615"),
        ({"skip_zero_weights": 1}, "true or false"),
    ],
)
def test_an_impossible_arithmetic_is_refused(options: dict, sentence: str) -> None:
    with pytest.raises(ArithmeticSettingError, match=sentence):
        Arithmetic(**options)


def test_a_profiles_table_is_read_and_an_unknown_key_refused() -> None:
    read = Arithmetic.from_table({"weight_bits": 4, "multiplier": "drum(6)"}, "nepu.toml")
    assert read == Arithmetic(weight_bits=4, multiplier="drum(6)")
    with pytest.raises(ArithmeticSettingError, match=r"nepu.toml: arithmetic.bits is not a key"):
        Arithmetic.from_table({"bits": 4}, "nepu.toml")
    with pytest.raises(ArithmeticSettingError, match=r"nepu.toml: arithmetic.weight_bits must be"):
        Arithmetic.from_table({"weight_bits": 9}, "nepu.toml")


def test_only_zero_skipping_leaves_arithmetic_exact() -> None:
    assert Arithmetic(skip_zero_weights=True, skip_zero_activations=True, seed=3).exact
    assert not Arithmetic(weight_bits=7).exact
    assert not Arithmetic(noise=0.01).exact
