"""What tilings cost on a systolic array, judged many at a time.

Counts are those of `nest.count` for two levels of loops: over tiles (which the buffer is filled
for) and within a tile (which the array folds, as `dataflow` has it).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from edgekit.npu.dataflow import compute_cycles, fold_overhead, folds
from edgekit.npu.profile import NpuProfile
from edgekit.npu.schedule import (
    BUFFER,
    HOME,
    INPUTS,
    OUTPUTS,
    REGISTERS,
    SUMS,
    WEIGHTS,
    Schedule,
    Tiling,
    Traffic,
)
from edgekit.npu.tiling import CHANNELS, FILTERS, ORDERS, PIXELS, Grid, Values
from edgekit.npu.workload import Loops


def least_cycles(share: Loops, profile: NpuProfile, dataflow: str) -> int:
    """No tiling of one core's share computes in less: the whole of it as one tile.

    Of several groups, smaller tiles may stand side by side better: there, with every PE busy.
    """
    array = profile.array
    if share.groups > 1:
        return share.macs // array.elements - 1
    return share.n * (compute_cycles(share.gemm, array.rows, array.columns, dataflow) + 1) - 1


def judge(
    whole: Loops, share: Loops, profile: NpuProfile, dataflow: str, tilings: Grid
) -> Schedule:
    """What each tiling of `share` (one core's part of `whole`) costs, as one schedule of arrays."""
    steps = _steps(share, tilings)
    # Whether a loop over tiles goes on inside this one: what does not depend on it comes again.
    again = {name: _goes_on(name, steps, tilings.order) for name in steps}
    repeats = {name: np.where(again[name], steps[name], 1) for name in steps}
    groups = folds(share.groups, tilings.groups) * share.n

    laid = _laid(share, tilings, profile.array.rows, profile.array.columns, dataflow)
    overhead = fold_overhead(profile.array.rows, profile.array.columns, dataflow)
    fold_count = laid.groups * laid.rows * laid.columns * share.n
    streamed = fold_count * laid.length
    compute = streamed + fold_count * repeats[laid.streams] * overhead - 1
    home = _home(whole, share, tilings, steps, repeats, groups)
    taken = _taken(whole, tilings, laid, repeats, dataflow)
    return Schedule(
        dataflow=dataflow,
        cores=tilings.cores,
        mapping="",
        compute_cycles=compute,
        streamed=streamed / np.maximum(compute, 1),
        tiles=steps[PIXELS] * steps[FILTERS] * steps[CHANNELS] * groups,
        traffic=(*home.values(), *_inside(whole, tilings, home, taken, dataflow)),
        network_elements=taken.weights + taken.inputs + taken.outputs,
    )


def chosen(judged: Schedule, place: int, tiling: Tiling) -> Schedule:
    """One of the tilings that were judged, as a schedule of plain numbers."""

    def at(values: Values) -> float:
        return float(np.broadcast_to(values, np.shape(judged.tiles))[place])

    return replace(
        judged,
        mapping=str(tiling),
        compute_cycles=at(judged.compute_cycles),
        streamed=at(judged.streamed),
        tiles=int(at(judged.tiles)),
        traffic=tuple(
            replace(
                found,
                reads=at(found.reads),
                writes=at(found.writes),
                transfers=at(found.transfers),
            )
            for found in judged.traffic
        ),
        network_elements=at(judged.network_elements),
        tiling=tiling,
    )


def _steps(share: Loops, tilings: Grid) -> dict[str, Values]:
    return {
        PIXELS: folds(share.p, tilings.rows) * folds(share.q, tilings.columns),
        FILTERS: folds(share.m, tilings.filters),
        CHANNELS: folds(share.c, tilings.channels),
    }


def _readers(whole: Loops, tilings: Grid) -> tuple[int, int]:
    """How many cores read the same inputs, and the same weights: one transfer serves them all."""
    filters = tilings.split == FILTERS and whole.groups < tilings.cores
    pixels = tilings.split == PIXELS
    return (tilings.cores if filters else 1), (tilings.cores if pixels else 1)


def _home(
    whole: Loops,
    share: Loops,
    tilings: Grid,
    steps: Mapping[str, Values],
    repeats: Mapping[str, Values],
    groups: Values,
) -> dict[str, Traffic]:
    """What goes between home and buffers; transfers are those of one core."""
    weights, outputs = whole.weight_elements, whole.output_elements
    row_tiles = folds(share.p, tilings.rows) * _readers(whole, tilings)[1]
    rows = np.maximum(whole.span(0, np.minimum(row_tiles, whole.p)), 1)
    columns = np.maximum(whole.span(1, folds(share.q, tilings.columns)), 1)
    inputs = whole.n * whole.groups * whole.c * rows * columns
    returned = outputs * (repeats[CHANNELS] - 1)
    parts = groups * steps[PIXELS] * steps[FILTERS]
    moves = {
        WEIGHTS: groups * steps[FILTERS] * steps[CHANNELS] * repeats[PIXELS],
        INPUTS: groups * steps[PIXELS] * steps[CHANNELS] * repeats[FILTERS],
    }
    read = {WEIGHTS: weights * whole.n * repeats[PIXELS], INPUTS: inputs * repeats[FILTERS]}
    once = {WEIGHTS: weights, INPUTS: whole.input_elements}
    found = {kind: Traffic(HOME, kind, read[kind], 0, once[kind], moves[kind]) for kind in read}
    found[OUTPUTS] = Traffic(HOME, OUTPUTS, 0, outputs, outputs, parts)
    sums = parts * (repeats[CHANNELS] - 1)
    found[SUMS] = Traffic(HOME, SUMS, returned, returned, 0, sums)
    return found


@dataclass(frozen=True)
class _Taken:
    """Elements that all arrays take from the buffers, and outputs or sums that they give back."""

    weights: Values
    inputs: Values
    outputs: Values


def _taken(
    whole: Loops, tilings: Grid, laid: _Laid, repeats: Mapping[str, Values], dataflow: str
) -> _Taken:
    of_inputs, of_weights = _readers(whole, tilings)
    # Every product's input, once for all filters; every kernel, once for all pixels.
    inputs, weights = whole.macs // whole.m * of_inputs, whole.weight_elements * whole.n
    weights, outputs = weights * of_weights, whole.output_elements
    passes = repeats[laid.streams]
    if dataflow == "WS":
        return _Taken(weights * passes, inputs * laid.filters, outputs * laid.depth)
    if dataflow == "OS":
        return _Taken(weights * laid.pixels, inputs * laid.filters, outputs * passes)
    return _Taken(weights * laid.pixels, inputs * passes, outputs * laid.depth)


def _inside(
    whole: Loops,
    tilings: Grid,
    home: Mapping[str, Traffic],
    taken: _Taken,
    dataflow: str,
) -> tuple[Traffic, ...]:
    """Traffic of the buffers and of the registers, all cores."""
    of_inputs, of_weights = _readers(whole, tilings)
    outputs, macs = whole.output_elements, whole.macs
    partial = taken.outputs - outputs
    sums = home[SUMS]
    return (
        Traffic(BUFFER, WEIGHTS, taken.weights, home[WEIGHTS].reads * of_weights),
        Traffic(BUFFER, INPUTS, taken.inputs, home[INPUTS].reads * of_inputs),
        Traffic(BUFFER, OUTPUTS, outputs, outputs),
        Traffic(BUFFER, SUMS, partial + sums.writes, partial + sums.reads),
        # What is stationary stays; the rest is handed on with every product.
        Traffic(REGISTERS, WEIGHTS, macs, taken.weights if dataflow == "WS" else macs),
        Traffic(REGISTERS, INPUTS, macs, taken.inputs if dataflow == "IS" else macs),
        Traffic(REGISTERS, SUMS, macs, macs),
    )


@dataclass(frozen=True)
class _Laid:
    """How a dataflow lays tiles over the array, summed over all tiles of one core and image."""

    streams: str
    length: Values
    rows: Values
    columns: Values
    groups: Values
    filters: Values
    pixels: Values
    depth: Values


def _laid(share: Loops, tilings: Grid, rows: int, columns: int, dataflow: str) -> _Laid:
    kernel = share.r * share.s
    if dataflow == "OS":
        sides, streams = (PIXELS, FILTERS), CHANNELS
    elif dataflow == "WS":
        sides, streams = (CHANNELS, FILTERS), PIXELS
    else:
        sides, streams = (CHANNELS, PIXELS), FILTERS
    tile = {
        PIXELS: np.minimum(tilings.rows, share.p) * np.minimum(tilings.columns, share.q),
        FILTERS: tilings.filters,
        CHANNELS: tilings.channels * kernel,
    }
    over = [
        _folds_of(share, tilings, side, size)
        for side, size in zip(sides, (rows, columns), strict=True)
    ]
    # Small groups stand side by side, block by block, each with rows and columns of its own.
    packed = np.minimum(rows // tile[sides[0]], columns // tile[sides[1]])
    packed = np.clip(packed, 1, tilings.groups)
    by_kind = dict(zip(sides, over, strict=True))
    length = {
        PIXELS: share.p * share.q,
        FILTERS: share.m,
        CHANNELS: share.c * kernel,
    }
    return _Laid(
        streams=streams,
        length=length[streams],
        rows=over[0],
        columns=over[1],
        groups=_cut(share.groups, tilings.groups, packed, 1),
        filters=by_kind.get(FILTERS, 1),
        pixels=by_kind.get(PIXELS, 1),
        depth=by_kind.get(CHANNELS, 1),
    )


def _folds_of(share: Loops, tilings: Grid, side: str, size: int) -> Values:
    """Folds over all tiles, those at the edge with what is left for them."""
    if side == FILTERS:
        return _cut(share.m, tilings.filters, size, 1)
    if side == CHANNELS:
        return _cut(share.c, tilings.channels, size, share.r * share.s)
    total = 0
    for rows, row_count in _pieces(share.p, tilings.rows):
        for columns, column_count in _pieces(share.q, tilings.columns):
            total = total + row_count * column_count * folds(rows * columns, size)
    return total


def _pieces(whole: int, tile: Values) -> tuple[tuple[Values, Values], tuple[Values, Values]]:
    """(size, count) of the full tiles and of the one that is left."""
    left = whole % tile
    return (tile, whole // tile), (left, (left > 0).astype(int))


def _cut(whole: int, tile: Values, size: Values, factor: int) -> Values:
    return sum(count * folds(piece * factor, size) for piece, count in _pieces(whole, tile))


_INSIDE = {
    name: {
        other: np.array([order.index(other) > order.index(name) for order in ORDERS])
        for other in (PIXELS, FILTERS, CHANNELS)
    }
    for name in (PIXELS, FILTERS, CHANNELS)
}
"""Whether the second loop is inside the first, by the position of an order."""


def _goes_on(name: str, steps: dict[str, Values], order: Values) -> Values:
    """Whether any loop inside the one named has more than one step."""
    one, other = (found for found in steps if found != name)
    inside = _INSIDE[name]
    return (inside[one][order] & (steps[one] > 1)) | (inside[other][order] & (steps[other] > 1))
