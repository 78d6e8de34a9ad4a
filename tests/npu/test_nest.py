"""Access counts of given mappings, against Timeloop's reference output and by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.npu.mapping import total_j
from edgekit.npu.nest import TENSORS, Level, Loop, count, footprint
from edgekit.npu.validation import (
    TIMELOOP_ACCESSES,
    TIMELOOP_CYCLES,
    TIMELOOP_PJ,
    timeloop_checks,
    timeloop_costs,
    timeloop_counts,
)


def test_timeloops_eyeriss_example_in_cycles_and_elements() -> None:
    counts = timeloop_counts()
    assert (counts.cycles, counts.macs, counts.instances) == (86_016, 10_838_016, 126)
    assert counts.cycles == TIMELOOP_CYCLES


@pytest.mark.parametrize("place", TIMELOOP_ACCESSES)
def test_timeloops_eyeriss_example_in_accesses(place: tuple[str, str]) -> None:
    seen = timeloop_counts().accesses[place]
    assert (seen.reads, seen.fills, seen.updates) == TIMELOOP_ACCESSES[place]


@pytest.mark.parametrize("part", TIMELOOP_PJ)
def test_timeloops_eyeriss_example_in_energy_by_part(part: str) -> None:
    given, _, _ = timeloop_costs()
    energy_j = given.mac_j if part == "mac" else given.energy_j[part]
    assert energy_j == pytest.approx(TIMELOOP_PJ[part] * 1e-12, rel=0.1)


def test_the_mapping_chosen_here_is_no_worse_than_timeloops() -> None:
    given, chosen, schedule = timeloop_costs()
    assert schedule.compute_cycles <= TIMELOOP_CYCLES
    assert chosen.latency_cycles <= given.latency_cycles
    assert total_j(chosen) <= total_j(given)


def test_the_checks_state_what_is_off() -> None:
    off = {check.what: check.error for check in timeloop_checks() if check.error}
    assert all(what.startswith("energy") for what in off)
    assert max(map(abs, off.values())) < 0.1


def test_sums_that_leave_before_they_are_complete_come_back() -> None:
    # Channels outside of pixels: each of the 4 outputs is worked on 3 times.
    nest = (
        Level("dram", TENSORS, (Loop("C", 3), Loop("P", 4))),
        Level("buffer", TENSORS, ()),
    )
    seen = count(nest).accesses
    assert (seen["dram", "outputs"].updates, seen["dram", "outputs"].reads) == (12, 8)
    assert (seen["buffer", "outputs"].updates, seen["buffer", "outputs"].fills) == (12, 8)
    assert seen["dram", "weights"].reads == 3
    assert seen["dram", "inputs"].reads == 12


def test_a_multicast_reads_once_for_all() -> None:
    nest = (
        Level("dram", TENSORS, (Loop("M", 5), Loop("P", 4, spatial=True))),
        Level("spad", TENSORS, ()),
    )
    seen = count(nest).accesses
    assert (seen["dram", "weights"].reads, seen["spad", "weights"].fills) == (5, 20)


def test_strides_and_dilation_widen_the_input() -> None:
    bounds = {"P": 4, "Q": 5, "R": 3, "S": 3, "C": 2}
    assert footprint("inputs", bounds, (1, 1)) == 2 * 6 * 7
    assert footprint("inputs", bounds, (2, 2)) == 2 * 9 * 11
    assert footprint("inputs", bounds, (1, 1), (2, 2)) == 2 * 8 * 9


bounds = st.dictionaries(st.sampled_from("MCPQRS"), st.integers(1, 5), max_size=6)


@given(outer=bounds, inner=bounds, data=st.data())
def test_no_memory_moves_less_than_what_it_must(
    outer: dict[str, int], inner: dict[str, int], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(sorted(outer)))
    nest = (
        Level("dram", TENSORS, tuple(Loop(name, outer[name]) for name in order)),
        Level("buffer", TENSORS, tuple(Loop(name, inner[name]) for name in sorted(inner))),
    )
    counts = count(nest)
    whole = {name: outer.get(name, 1) * inner.get(name, 1) for name in "MCPQRS"}
    assert counts.macs == counts.cycles == math.prod(whole.values())
    for tensor in ("weights", "inputs"):
        seen = counts.accesses["dram", tensor]
        assert seen.reads >= footprint(tensor, whole, (1, 1))
        assert seen.reads == counts.accesses["buffer", tensor].fills
    outputs = counts.accesses["dram", "outputs"]
    assert outputs.updates - outputs.reads == footprint("outputs", whole, (1, 1))
