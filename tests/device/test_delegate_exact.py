"""In exact arithmetic the delegate gives the codes of the runtime's reference kernels."""

from collections.abc import Callable

import numpy as np
import pytest
from delegate_models import OPERATORS, invoke, need_delegate, reference, run
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit_device.delegate import operator_rules


@pytest.fixture(scope="module", autouse=True)
def _delegate() -> None:
    need_delegate()


@pytest.mark.parametrize("make", OPERATORS.values(), ids=OPERATORS)
@settings(max_examples=100)
@given(seed=st.integers(0, 2**32 - 1))
def test_an_operator_gives_the_reference_kernels_codes(make: Callable, seed: int) -> None:
    model, inputs = make(np.random.default_rng(seed))
    content = model.to_bytes()
    (expected,) = invoke(reference(content), inputs)
    (actual,), _ = run(content, inputs)
    np.testing.assert_array_equal(actual, expected)


def test_every_operator_that_the_delegate_knows_is_compared() -> None:
    assert {name for name in OPERATORS if name != "REQUANTIZE"} == set(operator_rules())
