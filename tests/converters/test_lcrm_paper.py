"""The LCRM paper's Tables 2, 3 and 4 to the last digit (Hussain et al., IEEE Access 2023)."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit_converters import apply_lcrm, inspect_model
from edgekit_converters.graph import read_graph
from edgekit_converters.lcrm.plan import plan_lcrm
from edgekit_converters.lcrm.rules import (
    STYLES,
    Convolution,
    Depthwise,
    Pointwise,
    Style,
    convolution_macs,
    convolution_parameters,
    lcrm_case,
    substitute,
    substitute_macs,
    substitute_parameters,
)
from edgekit_converters.parents import alexnet

TABLE_3 = {
    # block: (parent operations, LCRM operations, % less), with 386 channels
    "conv2": (276_889_600, 12_157_184, "95.61"),
    "conv3": (128_065_536, 14_561_280, "88.63"),
    "conv4": (193_098_816, 21_955_680, "88.63"),
    "conv5": (128_065_536, 14_229_504, "88.89"),
}
TABLE_4 = {
    # block: (case, parent parameters, LCRM parameters, % less), with 384 channels
    "conv2": ("1.1", 409_856, 6_656 + 16_640, "94.316"),
    "conv3": ("1.2", 885_120, 2_560 + 32_896, "95.99"),
    "conv4": ("3", 1_327_488, 3_840, "99.71"),
    "conv5": ("2", 884_992, 98_560, "88.86"),
}


@cache
def plan(filters: int, style: Style) -> dict[str, Any]:
    return {d.path: d for d in plan_lcrm(read_graph(alexnet(filters=filters)), style=style)}


def less(before: int, after: int, digits: int) -> str:
    return f"{100 * (1 - after / before):.{digits}f}"


@pytest.mark.parametrize("block", TABLE_3)
def test_table_3_operations(block: str) -> None:
    before, after, percent = TABLE_3[block]
    decision = plan(386, "equations")[block]
    assert (decision.macs_before, decision.macs_after) == (before, after)
    assert less(before, after, 2) == percent


@pytest.mark.parametrize("block", TABLE_4)
def test_table_4_parameters(block: str) -> None:
    case, before, after, percent = TABLE_4[block]
    decision = plan(384, "table4")[block]
    assert decision.case == case
    assert (decision.parameters_before, decision.parameters_after) == (before, after)
    assert less(before, after, len(percent.partition(".")[2])) == percent


@pytest.mark.parametrize("style", STYLES)
def test_conv1_is_kept_and_conv5_is_not_the_last(style: Style) -> None:
    decisions = plan(384, style)
    assert decisions["conv1"].reason == "first convolution"
    assert decisions["conv1"].parameters_before == decisions["conv1"].parameters_after == 23_296
    assert [path for path, d in decisions.items() if d.substitute] == [*TABLE_4]


TOTALS = {"equations": 8_012_938, "notebook": 7_787_658, "table4": 7_804_298}


@pytest.mark.parametrize("style", TOTALS)
def test_whole_alexnet_has_the_parameters_of_the_paper(style: Style) -> None:
    parent = alexnet()
    assert parent.count_params() == 11_150_602
    rewritten, _ = apply_lcrm(parent, style=style)
    assert rewritten.count_params() == TOTALS[style]
    assert rewritten.output_shape == parent.output_shape


def test_an_inspection_promises_what_the_rewrite_gives() -> None:
    inspection = inspect_model(alexnet())
    assert inspection.parameters == 11_150_602
    assert inspection.parameters_after == TOTALS["equations"]
    assert inspection.macs - inspection.macs_after == sum(
        (d.macs_before or 0) - (d.macs_after or 0) for d in inspection.lcrm
    )
    assert inspection.not_counted == ()


channels = st.integers(1, 600)
kernels = st.integers(2, 11)
sizes = st.tuples(st.integers(1, 64), st.integers(1, 64))


@given(channels, channels, kernels, sizes)
def test_table_2_ratios_hold_exactly(m: int, n: int, k: int, size: tuple[int, int]) -> None:
    conv = Convolution((k, k), m, n, size, size, use_bias=False)
    replacement = substitute(m, n, "equations")
    ratio = Fraction(1, k * k) if lcrm_case(m, n) == "2" else Fraction(1, n) + Fraction(1, k * k)
    macs, after = convolution_macs(conv), substitute_macs(conv, replacement)
    assert macs is not None
    assert after is not None
    if lcrm_case(m, n) == "1.2":
        # Equation (9): 1/N + 1/k^2 with m2 + M m4 = N.
        m2, m4 = n % m, n // m
        assert m2 + m * m4 == n
    assert Fraction(after, macs) == ratio
    assert Fraction(substitute_parameters(conv, replacement), convolution_parameters(conv)) == ratio


@given(channels, channels, st.sampled_from(STYLES))
def test_every_substitute_gives_the_channels_of_the_convolution(
    m: int, n: int, style: Style
) -> None:
    def width(branch: tuple[Depthwise | Pointwise, ...]) -> int:
        count = m
        for layer in branch:
            count = layer.filters if isinstance(layer, Pointwise) else count * layer.multiplier
        return count

    branches = substitute(m, n, style).branches
    assert sum(width(branch) for branch in branches) == n
    assert len(branches) == (2 if lcrm_case(m, n) == "1.2" else 1)


@pytest.mark.parametrize(
    ("m", "n", "case"),
    [(64, 256, "1.1"), (256, 384, "1.2"), (256, 386, "1.2"), (384, 384, "3"), (384, 256, "2"),
     (1, 1, "3"), (1, 5, "1.1"), (5, 1, "2"), (5, 6, "1.2")],
)  # fmt: skip
def test_algorithm_1_chooses_the_case(m: int, n: int, case: str) -> None:
    assert lcrm_case(m, n) == case
