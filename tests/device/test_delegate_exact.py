"""In exact arithmetic the delegate gives the codes of the runtime's reference kernels."""

from collections.abc import Callable

import numpy as np
import pytest
from delegate_models import EXAMPLES, OPERATORS, invoke, need_delegate, reference, run
from hypothesis import given, settings
from hypothesis import strategies as st
from tflite_file import ModelFile, TensorSpec

from edgekit_device.arithmetic import Arithmetic
from edgekit_device.delegate import instruction_sets, operator_rules


@pytest.fixture(scope="module", autouse=True)
def _delegate() -> None:
    need_delegate()


@pytest.mark.parametrize("make", OPERATORS.values(), ids=OPERATORS)
@settings(max_examples=EXAMPLES)
@given(seed=st.integers(0, 2**32 - 1))
def test_an_operator_gives_the_reference_kernels_codes(make: Callable, seed: int) -> None:
    model, inputs = make(np.random.default_rng(seed))
    content = model.to_bytes()
    (expected,) = invoke(reference(content), inputs)
    (actual,), _ = run(content, inputs)
    np.testing.assert_array_equal(actual, expected)


FAMILY = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED")


@pytest.mark.parametrize("name", FAMILY)
def test_every_instruction_set_gives_the_same_codes(name: str) -> None:
    for seed in range(25):
        model, inputs = OPERATORS[name](np.random.default_rng(seed))
        content = model.to_bytes()
        for multiplier in ("exact", "drum(5)"):
            arithmetic = Arithmetic(multiplier=multiplier)
            (expected,), _ = run(content, inputs, arithmetic, "plain")
            for instructions in instruction_sets():
                (actual,), _ = run(content, inputs, arithmetic, instructions)
                np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("name", FAMILY)
def test_float32_is_the_reference_kernels_but_for_the_order_of_sums(name: str) -> None:
    for seed in range(25):
        model, inputs = as_float32(*OPERATORS[name](np.random.default_rng(seed)))
        content = model.to_bytes()
        (expected,) = invoke(reference(content), inputs)
        (actual,), (event,) = run(content, inputs)
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
        assert event.bytes_out == 4 * expected.size


def as_float32(model: ModelFile, inputs: list[np.ndarray]) -> tuple[ModelFile, list[np.ndarray]]:
    """Give the same layers in float32; shapes stay int32."""
    output = model.outputs[0]
    for index, spec in enumerate(model.tensors):
        is_bias = spec.data is not None and spec.scales and spec.dtype == np.int32
        if spec.dtype == np.int8 or is_bias:
            data = None if spec.data is None else (spec.data / np.float32(127)).astype(np.float32)
            if is_bias:
                data = data / np.float32(1000)
            model.tensors[index] = TensorSpec(spec.shape, np.float32, data=data)
    assert model.tensors[output].dtype == np.float32
    return model, [(each / np.float32(127)).astype(np.float32) for each in inputs]


def test_every_operator_that_the_delegate_knows_is_compared() -> None:
    assert {name for name in OPERATORS if name != "REQUANTIZE"} == set(operator_rules())
