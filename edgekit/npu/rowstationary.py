"""Row stationary, Eyeriss' dataflow: kernel rows stay in the PEs, rows of sums run diagonally.

Laid out as in Timeloop's eyeriss_like design: kernel columns and channels along one side of the
array, output columns and filters along the other; kernel rows, channels and filters in a PE.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product

from edgekit.errors import NpuError
from edgekit.npu.cost import Activity, Homes, cost_of
from edgekit.npu.nest import Counts, Level, Loop, count
from edgekit.npu.profile import NpuProfile
from edgekit.npu.schedule import (
    BUFFER,
    HOME,
    INPUTS,
    OUTPUTS,
    REGISTERS,
    SUMS,
    WEIGHTS,
    Bits,
    Schedule,
    Traffic,
)
from edgekit.npu.workload import Loops

_BUFFER_ORDERS = ("MCPQ", "CMPQ", "PQMC")
_HOME_ORDERS = ("PQMC", "MPQC", "MCPQ")
_LAYOUTS = 3
"""How many layouts of the array are tried: the fastest, and those that are as fast."""


def row_stationary(loops: Loops, profile: NpuProfile, bits: Bits) -> Schedule:
    """The cheapest mapping found: fastest first, then of least energy.

    Raises:
        NpuError: the kernel is wider than the array, or nothing fits the memories.
    """
    array = profile.array
    if loops.s > array.rows:
        raise NpuError(
            f"a kernel of {loops.s} columns does not fit the {array.rows} rows of {profile.name}"
        )
    best: tuple[tuple[float, float], Schedule] | None = None
    for nest in _nests(loops, profile, bits):
        counts = count(nest, loops.strides, loops.dilations)
        if not _fits(counts, profile, bits):
            continue
        schedule = of_nest(nest, loops, counts)
        found = cost_of(profile, schedule, loops.macs, Homes(), Activity(bits))
        rank = (found.latency_cycles, (found.mac_j or 0.0) + sum(found.energy_j.values()))
        if best is None or rank < best[0]:
            best = rank, schedule
    if best is None:
        raise NpuError(f"the memories of {profile.name} hold no tile of this layer")
    return best[1]


def of_nest(nest: Sequence[Level], loops: Loops, counts: Counts | None = None) -> Schedule:
    """The schedule of a given nest over the levels dram, buffer and one spad for each tensor.

    The nest is that of one group of one image; all of them run one after another.
    """
    counted = counts or count(nest, loops.strides, loops.dilations)
    times = loops.groups * loops.n
    found = {key: value for key, value in counted.accesses.items()}
    traffic, network = [], 0.0
    for (name, tensor), seen in found.items():
        level = {"dram": HOME, "buffer": BUFFER}.get(name, REGISTERS)
        reads, writes = seen.reads * times, (seen.fills + seen.updates) * times
        if tensor != OUTPUTS:
            traffic.append(Traffic(level, tensor, reads, writes))
            if level == REGISTERS:
                network += seen.fills * times
        elif level == REGISTERS:
            traffic.append(Traffic(level, SUMS, reads, writes))
        else:
            # What is complete is written once; the rest are sums that come back.
            done = min(loops.output_elements, writes)
            traffic.append(Traffic(level, OUTPUTS, 0, done))
            traffic.append(Traffic(level, SUMS, reads, writes - done))
            if level == BUFFER:
                network += writes
    tiles = math.prod(loop.bound for loop in nest[0].loops if not loop.spatial)
    return Schedule(
        dataflow="RS",
        cores=1,
        mapping=described(nest),
        compute_cycles=float(counted.cycles * times),
        streamed=1.0,
        tiles=tiles * times,
        traffic=tuple(traffic),
        network_elements=network,
    )


def described(nest: Sequence[Level]) -> str:
    """A nest for people: dram P8 Q2 M4 | buffer P14 Q4 [Q14 C3 S3] | …"""
    parts = []
    for level in nest:
        loops = [loop for loop in level.loops if loop.bound > 1]
        words = [f"{loop.dimension}{loop.bound}" for loop in loops if not loop.spatial]
        spread = [f"{loop.dimension}{loop.bound}" for loop in loops if loop.spatial]
        words += [f"[{' '.join(spread)}]"] if spread else []
        parts.append(" ".join([level.name, *words]))
    return " | ".join(parts)


def _fits(counts: Counts, profile: NpuProfile, bits: Bits) -> bool:
    seen = counts.accesses
    width = {WEIGHTS: bits.weights, INPUTS: bits.inputs, OUTPUTS: bits.sums}
    spads = {
        WEIGHTS: profile.registers.weights,
        INPUTS: profile.registers.inputs,
        OUTPUTS: profile.registers.outputs,
    }
    for tensor, memory in spads.items():
        if seen[f"{tensor} spad", tensor].tile * width[tensor] / 8 > (memory.bytes or 0):
            return False
    held = sum(seen["buffer", tensor].tile * width[tensor] / 8 for tensor in (INPUTS, OUTPUTS))
    twice = 2 if profile.double_buffered else 1
    return held * twice <= (profile.buffer.bytes or 0)


def _nests(loops: Loops, profile: NpuProfile, bits: Bits) -> Iterator[tuple[Level, ...]]:
    for across_c, across_m, across_q, in_c, in_m in _layouts(loops, profile, bits):
        # What is left for the loops outside the array.
        left = {
            "P": loops.p,
            "Q": -(-loops.q // across_q),
            "M": -(-loops.m // (across_m * in_m)),
            "C": -(-loops.c // (across_c * in_c)),
        }
        spread = (("Q", across_q), ("M", across_m), ("C", across_c), ("S", loops.s))
        spatial = tuple(Loop(name, bound, spatial=True) for name, bound in spread)
        choices = [_splits(left["P"], 6), _splits(left["Q"], 2)]
        choices += [_splits(left[name], 3) for name in "MC"]
        for sizes in product(*choices):
            inner = dict(zip("PQMC", sizes, strict=True))
            outer = {name: -(-left[name] // inner[name]) for name in left}
            for buffer_order, home_order in product(_BUFFER_ORDERS, _HOME_ORDERS):
                yield (
                    Level("dram", (WEIGHTS, INPUTS, OUTPUTS), _loops(outer, home_order)),
                    Level("buffer", (INPUTS, OUTPUTS), (*_loops(inner, buffer_order), *spatial)),
                    Level("inputs spad", (INPUTS,), ()),
                    Level("weights spad", (WEIGHTS,), (Loop("R", loops.r), Loop("C", in_c))),
                    Level("outputs spad", (OUTPUTS,), (Loop("M", in_m),)),
                )


def _loops(bounds: dict[str, int], order: str) -> tuple[Loop, ...]:
    return tuple(Loop(name, bounds[name]) for name in order)


def _layouts(loops: Loops, profile: NpuProfile, bits: Bits) -> list[tuple[int, int, int, int, int]]:
    """(channels, filters and output columns across, channels and filters in a PE), fastest first.

    A PE's share must fit its memories.
    """
    array, spads = profile.array, profile.registers
    found = []
    for across_c in range(1, min(loops.c, array.rows // loops.s) + 1):
        for across_q in range(1, min(loops.q, array.columns) + 1):
            across_m = min(array.columns // across_q, loops.m)
            most_c = (spads.inputs.bytes or 0) * 8 // bits.inputs // loops.r
            most_m = (spads.outputs.bytes or 0) * 8 // bits.sums
            left_c, left_m = -(-loops.c // across_c), -(-loops.m // across_m)
            for in_c, in_m in product(_sizes(left_c, most_c), _sizes(left_m, most_m)):
                if loops.r * in_c * in_m * bits.weights <= (spads.weights.bytes or 0) * 8:
                    cycles = (
                        -(-left_c // in_c) * in_c * -(-left_m // in_m) * in_m
                        * -(-loops.q // across_q) * loops.p * loops.r
                    )  # fmt: skip
                    key = (cycles, -in_c * in_m)
                    found.append((key, (across_c, across_m, across_q, in_c, in_m)))
    found.sort()
    return [layout for _, layout in found[:_LAYOUTS]]


def _sizes(left: int, most: int) -> list[int]:
    """What divides the work well among sizes up to `most`: the largest, and fair shares."""
    if most < 1:
        return []
    most = min(left, most)
    fewest = -(-left // most)
    return sorted({most, -(-left // fewest), max(1, most // 2)})


def _splits(left: int, most: int) -> list[int]:
    """How much of a loop goes inside the buffer: all of it, halves of that, and one."""
    found = [left]
    while found[-1] > 1 and len(found) < most:
        found.append(-(-found[-1] // 2))
    return found
