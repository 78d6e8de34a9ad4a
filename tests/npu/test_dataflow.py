"""Cycles of systolic arrays, against SCALE-Sim's own output and against what cannot be beaten."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.npu.dataflow import Gemm, compute_cycles, mapping_efficiency
from edgekit.npu.networks import scale_sim_alexnet

FLOWS = ("WS", "OS", "IS")
CONV1 = dict(scale_sim_alexnet())["Conv1"].gemm

sizes = st.integers(1, 3000)
gemms = st.builds(Gemm, sizes, sizes, sizes)
sides = st.integers(1, 128)


@pytest.mark.parametrize(
    ("gemm", "flow", "cycles"),
    [
        (CONV1, "WS", 112_283),
        (CONV1, "OS", 121_124),
        (Gemm(256, 128, 256), "OS", 10_175),
        (Gemm(256, 128, 256), "WS", 11_199),
        (Gemm(256, 128, 256), "IS", 14_207),
    ],
)
def test_scale_sims_own_cycles(gemm: Gemm, flow: str, cycles: int) -> None:
    assert compute_cycles(gemm, 32, 32, flow) == cycles


def test_scale_sims_own_mapping_efficiency() -> None:
    assert mapping_efficiency(CONV1, 32, 32, "WS") == 0.9453125


@pytest.mark.parametrize(
    ("layer", "ws", "os", "is_"),
    [
        # By hand: folds x (T + overhead) - 1, folds = ceil(Sr/32) ceil(Sc/32).
        ("Conv2", 75 * 8 * (729 + 94) - 1, 23 * 8 * (2400 + 62) - 1, 75 * 23 * (256 + 94) - 1),
        ("Conv3", 72 * 12 * (169 + 94) - 1, 6 * 12 * (2304 + 62) - 1, 72 * 6 * (384 + 94) - 1),
        ("Conv4", 108 * 12 * (169 + 94) - 1, 6 * 12 * (3456 + 62) - 1, 108 * 6 * (384 + 94) - 1),
        ("Conv5", 108 * 8 * (169 + 94) - 1, 6 * 8 * (3456 + 62) - 1, 108 * 6 * (256 + 94) - 1),
    ],
)
def test_the_rest_of_alexnet(layer: str, ws: int, os: int, is_: int) -> None:
    gemm = dict(scale_sim_alexnet())[layer].gemm
    assert [compute_cycles(gemm, 32, 32, flow) for flow in FLOWS] == [ws, os, is_]


@given(gemm=gemms, rows=sides, columns=sides, flow=st.sampled_from(FLOWS))
def test_no_array_does_more_than_one_product_per_element_and_cycle(
    gemm: Gemm, rows: int, columns: int, flow: str
) -> None:
    # SCALE-Sim counts from 0: the last cycle's number, not how many there were.
    cycles = compute_cycles(gemm, rows, columns, flow) + 1
    assert cycles * rows * columns >= gemm.macs
    assert 0 < mapping_efficiency(gemm, rows, columns, flow) <= 1


@given(gemm=gemms, rows=sides, columns=sides)
def test_input_stationary_is_weight_stationary_with_the_operands_swapped(
    gemm: Gemm, rows: int, columns: int
) -> None:
    swapped = Gemm(gemm.n, gemm.m, gemm.k)
    assert compute_cycles(gemm, rows, columns, "IS") == compute_cycles(swapped, rows, columns, "WS")
