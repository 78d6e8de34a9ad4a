"""Row stationary, Eyeriss' dataflow: kernel rows stay in the PEs, rows of sums run diagonally.

Laid out as in Timeloop's eyeriss_like design: kernel columns and channels along one side of the
array, output columns and filters along the other; kernel rows, channels and filters in a PE.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

from edgekit.errors import NpuError
from edgekit.npu.cost import Activity, Homes, cost_of
from edgekit.npu.nest import Level, Loop, count, footprint
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

_BUFFER_ORDERS = ("MCNPQ", "CMNPQ", "NPQMC")
_HOME_ORDERS = ("NPQMC", "MNPQC", "MCNPQ")
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
    best: tuple[tuple[float, float], tuple[Level, ...]] | None = None
    for nest in _nests(loops, profile, bits):
        if best is not None and _cycles(nest) * loops.groups > best[0][0]:
            continue
        cost = cost_of(profile, of_nest(nest, loops), loops.macs, Homes(), Activity(bits))
        rank = float(cost.latency_cycles), (cost.mac_j or 0.0) + sum(cost.energy_j.values())
        if best is None or rank < best[0]:
            best = rank, nest
    if best is None:
        raise NpuError(f"the memories of {profile.name} hold no tile of this layer")
    return replace(of_nest(best[1], loops), mapping=described(best[1]))


def _cycles(nest: Sequence[Level]) -> int:
    return math.prod(loop.bound for level in nest for loop in level.loops if not loop.spatial)


def of_nest(nest: Sequence[Level], loops: Loops) -> Schedule:
    """The schedule of a given nest over the levels dram, buffer and one spad for each tensor.

    The nest is that of one group; all of them run one after another.
    """
    counted = count(nest, loops.strides, loops.dilations)
    times = loops.groups
    once = {WEIGHTS: loops.weight_elements, INPUTS: loops.input_elements}
    tiles = times * math.prod(loop.bound for loop in nest[0].loops if not loop.spatial)
    traffic, network = [], 0.0
    for (name, tensor), seen in counted.accesses.items():
        level = {"dram": HOME, "buffer": BUFFER}.get(name, REGISTERS)
        reads, writes = seen.reads * times, (seen.fills + seen.updates) * times
        if tensor != OUTPUTS:
            traffic.append(Traffic(level, tensor, reads, writes, once[tensor], tiles))
            if level == REGISTERS:
                network += seen.fills * times
        elif level == REGISTERS:
            traffic.append(Traffic(level, SUMS, reads, writes))
        else:
            # What is complete is written once; the rest are sums that come back.
            done = min(loops.output_elements, writes)
            traffic.append(Traffic(level, OUTPUTS, 0, done, done, tiles))
            traffic.append(Traffic(level, SUMS, reads, writes - done, 0, tiles))
            if level == BUFFER:
                network += writes
    return Schedule(
        dataflow="RS",
        cores=1,
        mapping="",
        compute_cycles=float(counted.cycles * times),
        streamed=1.0,
        tiles=tiles,
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


def _room(
    loops: Loops, inner: dict[str, int], across: dict[str, int], profile: NpuProfile, bits: Bits
) -> float:
    """Bytes of the buffer that inputs and sums of the loops inside it take."""
    bounds = {name: inner.get(name, 1) * across.get(name, 1) for name in "NMCPQRS"}
    inputs = footprint(INPUTS, bounds, loops.strides, loops.dilations) * bits.inputs
    sums = footprint(OUTPUTS, bounds, loops.strides) * bits.sums
    return (inputs + sums) / 8 * (2 if profile.double_buffered else 1)


def _nests(loops: Loops, profile: NpuProfile, bits: Bits) -> Iterator[tuple[Level, ...]]:
    for across_c, across_m, across_q, in_c, in_m in _layouts(loops, profile, bits):
        # What is left for the loops outside the array.
        left = {
            "N": loops.n,
            "P": loops.p,
            "Q": -(-loops.q // across_q),
            "M": -(-loops.m // (across_m * in_m)),
            "C": -(-loops.c // (across_c * in_c)),
        }
        spread = (("Q", across_q), ("M", across_m), ("C", across_c), ("S", loops.s))
        spatial = tuple(Loop(name, bound, spatial=True) for name, bound in spread)
        within = {
            "Q": across_q,
            "M": across_m * in_m,
            "C": across_c * in_c,
            "R": loops.r,
            "S": loops.s,
        }
        choices = [sorted({1, loops.n}), _splits(left["P"], 4), _splits(left["Q"], 2)]
        choices += [_splits(left[name], 2) for name in "MC"]
        for sizes in product(*choices):
            inner = dict(zip("NPQMC", sizes, strict=True))
            outer = {name: -(-left[name] // inner[name]) for name in left}
            if _room(loops, inner, within, profile, bits) > (profile.buffer.bytes or 0):
                continue
            # Orders differ only in loops that run more than once.
            homes = dict.fromkeys(_loops(outer, order) for order in _HOME_ORDERS)
            buffers = dict.fromkeys(_loops(inner, order) for order in _BUFFER_ORDERS)
            for home, buffer in product(homes, buffers):
                yield (
                    Level("dram", (WEIGHTS, INPUTS, OUTPUTS), home),
                    Level("buffer", (INPUTS, OUTPUTS), (*buffer, *spatial)),
                    Level("inputs spad", (INPUTS,), ()),
                    Level("weights spad", (WEIGHTS,), (Loop("R", loops.r), Loop("C", in_c))),
                    Level("outputs spad", (OUTPUTS,), (Loop("M", in_m),)),
                )


def _loops(bounds: dict[str, int], order: str) -> tuple[Loop, ...]:
    return tuple(Loop(name, bounds[name]) for name in order if bounds[name] > 1)


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
    return found if found[-1] == 1 else [*found, 1]
