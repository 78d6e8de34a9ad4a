"""Tilings for the buffer: counted as `nest` counts them, never cheaper than what must be moved."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgekit.errors import NpuError
from edgekit.npu.cost import Activity, Homes, cost_of
from edgekit.npu.dataflow import compute_cycles
from edgekit.npu.judging import judge, least_cycles
from edgekit.npu.mapping import cheapest, evaluate, total_j
from edgekit.npu.nest import TENSORS, Level, Loop, count
from edgekit.npu.networks import mobilenet_v2, scale_sim_alexnet
from edgekit.npu.profile import NpuProfile, load_npu
from edgekit.npu.schedule import BUFFER, HOME, INPUTS, OUTPUTS, SUMS, WEIGHTS, Bits, Tiling
from edgekit.npu.tiling import ORDERS, grid, shares
from edgekit.npu.workload import Loops

BITS = Bits(8, 8, 8, 32)
FLOWS = ("WS", "OS", "IS")
NEPU = load_npu("nepu-v1")
SCALE_SIM = load_npu("scale-sim-32x32")

few = st.integers(1, 12)
loops = st.builds(
    Loops,
    p=few,
    q=few,
    m=st.integers(1, 80),
    c=st.integers(1, 80),
    r=st.sampled_from([1, 3, 5]),
    s=st.sampled_from([1, 3]),
    groups=st.sampled_from([1, 1, 1, 2, 16]),
    strides=st.sampled_from([(1, 1), (2, 2)]),
)


@given(
    steps=st.fixed_dictionaries({name: st.integers(1, 3) for name in "PQMC"}),
    tile=st.fixed_dictionaries({name: st.integers(1, 6) for name in "PQMC"}),
    kernel=st.sampled_from([1, 3]),
    stride=st.integers(1, 2),
    order=st.sampled_from(ORDERS),
    flow=st.sampled_from(FLOWS),
)
def test_what_leaves_the_home_is_what_the_nest_says(
    steps: dict[str, int],
    tile: dict[str, int],
    kernel: int,
    stride: int,
    order: tuple[str, str, str],
    flow: str,
) -> None:
    sides = {name: steps[name] * tile[name] for name in "PQMC"}
    layer = Loops(
        p=sides["P"],
        q=sides["Q"],
        m=sides["M"],
        c=sides["C"],
        r=kernel,
        s=kernel,
        strides=(stride, stride),
    )
    assume(stride <= kernel)
    names = {"pixels": "PQ", "filters": "M", "channels": "C"}
    outer = tuple(Loop(name, steps[name]) for kind in order for name in names[kind])
    inner = tuple(Loop(name, tile[name]) for name in "PQMC")
    taps = (Loop("R", kernel), Loop("S", kernel))
    nest = (Level("dram", TENSORS, outer), Level("buffer", TENSORS, (*inner, *taps)))
    counted = count(nest, layer.strides).accesses
    tiling = Tiling(tile["P"], tile["Q"], tile["M"], tile["C"], 1, order, "nothing", 1)
    schedule = evaluate(layer, SCALE_SIM, flow, tiling)
    moved = {(x.level, x.kind): x for x in schedule.traffic}
    assert moved[HOME, WEIGHTS].reads == counted["dram", "weights"].reads
    assert moved[HOME, INPUTS].reads == counted["dram", "inputs"].reads
    assert moved[HOME, SUMS].reads == counted["dram", "outputs"].reads
    written = moved[HOME, OUTPUTS].writes + moved[HOME, SUMS].writes
    assert written == counted["dram", "outputs"].updates


@settings(max_examples=30)
@given(layer=loops, flow=st.sampled_from(FLOWS), cores=st.integers(1, 4))
def test_every_tiling_does_the_work_and_moves_what_it_must(
    layer: Loops, flow: str, cores: int
) -> None:
    profile = replace(NEPU, cores=cores)
    for split, count_, share in shares(layer, cores):
        tilings = grid(share, profile, split, count_, BITS)
        judged = judge(layer, share, profile, flow, tilings)
        elements = profile.array.elements * count_
        assert np.all((judged.compute_cycles + 1) * elements >= layer.macs)
        assert np.all(judged.compute_cycles >= least_cycles(share, profile, flow))
        assert np.all((judged.streamed > 0) & (judged.streamed <= 1.5))
        moved = {(x.level, x.kind): x for x in judged.traffic}
        for level in (HOME, BUFFER):
            assert np.all(moved[level, WEIGHTS].reads >= layer.weight_elements)
            assert np.all(moved[level, INPUTS].reads >= layer.input_elements)
            assert np.all(moved[level, OUTPUTS].writes >= layer.output_elements)
        assert np.all(moved[BUFFER, SUMS].reads >= 0)
        assert np.all(moved[BUFFER, SUMS].writes >= 0)
        assert all(np.all(entry.transfers >= 0) for entry in judged.traffic)


@settings(max_examples=30)
@given(layer=loops)
def test_more_cores_are_never_slower(layer: Loops) -> None:
    cycles = []
    for cores in range(1, 6):
        more = replace(NEPU, cores=cores)
        schedule = cheapest(layer, more, Homes(), BITS)
        cost = cost_of(more, schedule, layer.macs, Homes(), Activity(BITS))
        cycles.append(float(cost.latency_cycles))
    assert cycles == sorted(cycles, reverse=True)


@settings(max_examples=30)
@given(layer=loops, factor=st.integers(2, 4))
def test_more_bandwidth_is_never_slower(layer: Loops, factor: int) -> None:
    bandwidth = (NEPU.dram.bandwidth_bytes_per_s or 0) / 100
    cycles = []
    for times in (1, factor):
        dram = replace(NEPU.dram, bandwidth_bytes_per_s=bandwidth * times)
        faster = replace(NEPU, dram=dram)
        schedule = cheapest(layer, faster, Homes(), BITS)
        cost = cost_of(faster, schedule, layer.macs, Homes(), Activity(BITS))
        cycles.append(float(cost.latency_cycles))
    assert cycles[1] <= cycles[0]


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize(("name", "layer"), scale_sim_alexnet())
def test_a_layer_as_one_tile_takes_scale_sims_cycles(name: str, layer: Loops, flow: str) -> None:
    tiling = Tiling(layer.p, layer.q, layer.m, layer.c, 1, ORDERS[0], "nothing", 1)
    schedule = evaluate(layer, SCALE_SIM, flow, tiling)
    assert schedule.compute_cycles == compute_cycles(layer.gemm, 32, 32, flow)


def test_the_cheapest_dataflow_of_conv1_keeps_scale_sims_cycles() -> None:
    layer = dict(scale_sim_alexnet())["Conv1"]
    schedule = cheapest(layer, SCALE_SIM, Homes(), BITS)
    assert (schedule.dataflow, schedule.compute_cycles) == ("WS", 112_283)


def test_the_choice_is_the_fastest_of_all_tilings(nepu: NpuProfile) -> None:
    layer = dict(mobilenet_v2())["expand 32.1"]
    schedule = cheapest(layer, nepu, Homes(), BITS)
    chosen = cost_of(nepu, schedule, layer.macs, Homes(), Activity(BITS))
    seen = 0
    for split, cores, share in shares(layer, nepu.cores):
        tilings = grid(share, nepu, split, cores, BITS)
        for flow in nepu.array.dataflows:
            many = judge(layer, share, nepu, flow, tilings)
            cost = cost_of(nepu, many, layer.macs, Homes(), Activity(BITS))
            assert float(chosen.latency_cycles) <= np.min(cost.latency_cycles)
            seen += len(tilings.rows)
    assert seen > 1000


def test_a_depthwise_layer_takes_the_vector_unit_where_that_is_faster(
    nepu: NpuProfile, changed: Callable[..., NpuProfile]
) -> None:
    layer = dict(mobilenet_v2())["depthwise 24.1"]
    assert cheapest(layer, nepu, Homes(), BITS).dataflow == "vector"
    slow = changed(vector__operations_per_cycle=1)
    on_array = cheapest(layer, slow, Homes(), BITS)
    assert on_array.dataflow in FLOWS
    assert cheapest(layer, changed(vector__multiply_accumulates=False), Homes(), BITS) == on_array


def test_small_groups_stand_side_by_side_on_the_array(
    changed: Callable[..., NpuProfile],
) -> None:
    layer = Loops(p=8, q=8, m=1, c=1, r=3, s=3, groups=30)
    profile = changed(cores=1, vector=None)
    tiling = Tiling(8, 8, 1, 1, 30, ORDERS[0], "nothing", 1)
    # Three blocks of 9 x 1 fit the 32 rows: ten folds of 64 pixels.
    cycles = evaluate(layer, profile, "WS", tiling).compute_cycles
    assert cycles == 10 * (64 + 2 * 32 + 32 - 2) - 1


def test_a_buffer_that_holds_no_tile_is_named(changed: Callable[..., NpuProfile]) -> None:
    layer = Loops(p=4, q=4, m=4, c=4, r=15, s=15)
    with pytest.raises(NpuError, match=r"nepu-v1 \(256 bytes\) holds no tile"):
        cheapest(layer, changed(buffer__bytes=256), Homes(), BITS)


def test_cores_that_cannot_share_are_named(nepu: NpuProfile) -> None:
    tiling = Tiling(1, 1, 1, 1, 1, ORDERS[0], "filters", 3)
    with pytest.raises(NpuError, match="3 cores cannot share this layer by filters"):
        evaluate(Loops(p=1, q=1, m=2, c=4), nepu, "WS", tiling)


def test_a_larger_buffer_costs_no_more_energy_per_byte_moved_twice(
    changed: Callable[..., NpuProfile],
) -> None:
    layer = dict(scale_sim_alexnet())["Conv3"]
    small, large = changed(buffer__bytes=16_384), changed(buffer__bytes=4_000_000)
    outside = []
    for profile in (small, large):
        schedule = cheapest(layer, profile, Homes(), BITS)
        outside.append(schedule.moved(HOME))
        cost = cost_of(profile, schedule, layer.macs, Homes(), Activity(BITS))
        assert total_j(cost) > 0
    assert outside[1] < outside[0]
