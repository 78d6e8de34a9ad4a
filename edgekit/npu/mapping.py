"""Which mapping of a layer is the cheapest: the fastest, and of those the one of least energy."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgekit.errors import NpuError
from edgekit.npu.cost import Activity, Cost, Homes, cost_of
from edgekit.npu.judging import chosen, judge, least_cycles
from edgekit.npu.profile import NpuProfile
from edgekit.npu.rowstationary import row_stationary
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
    Tiling,
    Traffic,
)
from edgekit.npu.tiling import Grid, grid, one, shares
from edgekit.npu.workload import Loops

VECTOR = "vector"
"""The dataflow's name of a depthwise convolution that runs on the vector unit."""


def cheapest(loops: Loops, profile: NpuProfile, homes: Homes, bits: Bits) -> Schedule:
    """Choose dataflow, tiles, order of loops and the cores' split at the file's own bit widths.

    Fewer bits and zeros do not change the choice: what a compiler lays out is fixed before.

    Raises:
        NpuError: no tile of the layer fits the buffer.
    """
    if "RS" in profile.array.dataflows:
        return row_stationary(loops, profile, bits)
    best: tuple[tuple[float, float], Schedule] | None = None
    grids: dict[tuple[str, int], Grid] = {}
    for least, split, cores, share, dataflow in _ways(loops, profile):
        if best is not None and least > best[0][0]:
            break
        if (split, cores) not in grids:
            grids[split, cores] = grid(share, profile, split, cores, bits)
        tilings = grids[split, cores]
        if not tilings.rows.size:
            continue
        judged = judge(loops, share, profile, dataflow, tilings)
        cost = cost_of(profile, judged, loops.macs, homes, Activity(bits))
        place = _least(cost.latency_cycles, total_j(cost))
        rank = float(np.take(cost.latency_cycles, place)), float(total_j(cost)[place])
        if best is None or rank < best[0]:
            best = rank, chosen(judged, place, tilings.tiling(place))
    on_vector = _on_vector(loops, profile)
    if on_vector is not None:
        cost = cost_of(profile, on_vector, loops.macs, homes, Activity(bits))
        rank = float(cost.latency_cycles), float(total_j(cost))
        if best is None or rank < best[0]:
            best = rank, on_vector
    if best is None:
        raise NpuError(
            f"the buffer of {profile.name} ({profile.buffer.bytes} bytes) holds no tile of it, "
            "not even the smallest"
        )
    return best[1]


def _ways(loops: Loops, profile: NpuProfile) -> list[tuple[int, str, int, Loops, str]]:
    """Splits and dataflows with the cycles that none of their tilings can beat, fewest first."""
    found = [
        (least_cycles(share, profile, dataflow), split, cores, share, dataflow)
        for split, cores, share in shares(loops, profile.cores)
        for dataflow in profile.array.dataflows
    ]
    return sorted(found, key=lambda way: way[0])


def evaluate(loops: Loops, profile: NpuProfile, dataflow: str, tiling: Tiling) -> Schedule:
    """The schedule of a given tiling, whether it fits the buffer or not.

    Raises:
        NpuError: so many cores cannot share the layer in that way.
    """
    for split, cores, share in shares(loops, tiling.cores):
        if (split, cores) == (tiling.split, tiling.cores):
            judged = judge(loops, share, profile, dataflow, one(tiling))
            return chosen(judged, 0, tiling)
    raise NpuError(f"{tiling.cores} cores cannot share this layer by {tiling.split}.")


def total_j(cost: Cost) -> Any:
    """All energy of a cost, products included where they are known."""
    return (0.0 if cost.mac_j is None else cost.mac_j) + sum(cost.energy_j.values())


def _least(first: Any, second: Any) -> int:
    """The place of the least `first`, and among those of the least `second`."""
    return int(np.argmin(np.where(first == first.min(), second, np.inf)))


def _on_vector(loops: Loops, profile: NpuProfile) -> Schedule | None:
    """A depthwise convolution on the vector unit, a few input rows at a time in the buffer."""
    vector = profile.vector
    if vector is None or not vector.multiply_accumulates or loops.groups == 1 or loops.c > 1:
        return None
    macs, weights = loops.macs, loops.weight_elements
    inputs, outputs, rows = loops.input_elements, loops.output_elements, loops.p * loops.n
    traffic = (
        Traffic(HOME, WEIGHTS, weights, 0, weights, 1),
        Traffic(HOME, INPUTS, inputs, 0, inputs, rows),
        Traffic(HOME, OUTPUTS, 0, outputs, outputs, rows),
        Traffic(BUFFER, WEIGHTS, weights * rows, weights),
        Traffic(BUFFER, INPUTS, macs, inputs),
        Traffic(BUFFER, OUTPUTS, outputs, outputs),
        Traffic(REGISTERS, WEIGHTS, macs, weights * rows),
        Traffic(REGISTERS, INPUTS, macs, macs),
        Traffic(REGISTERS, SUMS, macs, macs),
    )
    lanes = vector.operations_per_cycle * profile.cores
    return Schedule(
        dataflow=VECTOR,
        cores=profile.cores,
        mapping=f"{lanes} lanes, row by row",
        compute_cycles=macs / lanes,
        streamed=0.0,
        tiles=rows,
        traffic=traffic,
        network_elements=0.0,
    )
