"""Tiles of a layer for the buffer of a systolic array, judged many at a time.

Counts are those of `nest.count` for two levels of loops: over tiles (which the buffer is filled
for) and within a tile (which the array folds, as `dataflow` has it).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import permutations, product
from typing import Any

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
    Bits,
    Schedule,
    Tiling,
    Traffic,
)
from edgekit.npu.workload import Loops

PIXELS, FILTERS, CHANNELS = "pixels", "filters", "channels"
ORDERS = tuple((a, b, c) for a, b, c in permutations((PIXELS, FILTERS, CHANNELS)))

Values = Any
"""A NumPy array over the tilings in question."""


@dataclass(frozen=True)
class Grid:
    """Tilings of one core's share of a layer, one per element of each array.

    `order` is a position in ORDERS.
    """

    split: str
    cores: int
    rows: Values
    columns: Values
    filters: Values
    channels: Values
    groups: Values
    order: Values

    def tiling(self, place: int) -> Tiling:
        """One of them as a value."""
        sides = (self.rows, self.columns, self.filters, self.channels, self.groups)
        rows, columns, filters, channels, groups = (int(side[place]) for side in sides)
        order = ORDERS[int(self.order[place])]
        return Tiling(rows, columns, filters, channels, groups, order, self.split, self.cores)


def one(tiling: Tiling) -> Grid:
    """A grid of a single tiling."""
    return Grid(
        tiling.split,
        tiling.cores,
        *(
            np.array([size])
            for size in (
                tiling.rows,
                tiling.columns,
                tiling.filters,
                tiling.channels,
                tiling.groups,
                ORDERS.index(tiling.order),
            )
        ),
    )


def shares(loops: Loops, cores: int) -> list[tuple[str, int, Loops]]:
    """(what is divided, cores in use, the largest core's loops), for every number of cores."""
    found = [("nothing", 1, loops)]
    for count in range(2, cores + 1):
        if loops.groups >= count:
            found.append((FILTERS, count, replace(loops, groups=-(-loops.groups // count))))
        elif loops.m >= count:
            found.append((FILTERS, count, replace(loops, m=-(-loops.m // count))))
        if loops.p >= count:
            found.append((PIXELS, count, replace(loops, p=-(-loops.p // count))))
    return found


def grid(loops: Loops, profile: NpuProfile, split: str, cores: int, bits: Bits) -> Grid:
    """The tilings worth judging that fit the buffer: sizes halved, and multiples of the array."""
    array, room = profile.array, profile.buffer.bytes or 0
    kernel = loops.r * loops.s
    pixels = [(rows, loops.q) for rows in _halves(loops.p, 1, 7)]
    pixels += [(1, columns) for columns in _halves(loops.q, 1, 4)[1:]]
    # What fills the buffer with the array's share of the other side alone, fits with no other.
    most_filters = room // min(loops.c * kernel, array.rows)
    most_channels = room // (kernel * min(loops.m, array.columns))
    sizes = product(
        pixels,
        _halves(loops.m, array.columns, 6, most_filters),
        _halves(loops.c, max(1, array.rows // kernel), 6, most_channels),
        _halves(loops.groups, 1, 6),
    )
    # An order says nothing where at most one loop runs more than once.
    flat = np.array(
        [
            (*pair, m, c, g, order)
            for pair, m, c, g in sizes
            for order in range(
                len(ORDERS)
                if (pair != (loops.p, loops.q)) + (m < loops.m) + (c < loops.c) > 1
                else 1
            )
        ],
        dtype=np.int64,
    )
    tilings = Grid(split, cores, *(flat[:, place] for place in range(6)))
    fits = _room(loops, profile, tilings, bits) <= room
    return Grid(split, cores, *(flat[fits, place] for place in range(6)))


@dataclass(frozen=True)
class Judged:
    """What each tiling of a grid asks of one dataflow: cycles, tiles, traffic.

    `traffic` holds (level, kind) -> (reads, writes) in elements, all cores together.
    """

    compute_cycles: Values
    streamed: Values
    tiles: Values
    traffic: dict[tuple[str, str], tuple[Values, Values]]
    network_elements: Values
    once: dict[str, int]
    transfers: dict[str, Values]

    def schedule(self, dataflow: str, cores: int) -> Schedule:
        """All of them at once: a schedule whose numbers are arrays."""
        moved = tuple(
            Traffic(level, kind, reads, writes, self.once.get(kind, 0), self.transfers[kind])
            for (level, kind), (reads, writes) in self.traffic.items()
        )
        return Schedule(
            dataflow=dataflow,
            cores=cores,
            mapping="",
            compute_cycles=self.compute_cycles,
            streamed=self.streamed,
            tiles=self.tiles,
            traffic=moved,
            network_elements=self.network_elements,
        )

    def chosen(self, dataflow: str, place: int, tiling: Tiling) -> Schedule:
        """One of them as a value."""

        def at(values: Values) -> float:
            return float(np.broadcast_to(values, self.tiles.shape)[place])

        return Schedule(
            dataflow=dataflow,
            cores=tiling.cores,
            mapping=str(tiling),
            compute_cycles=at(self.compute_cycles),
            streamed=at(self.streamed),
            tiles=int(at(self.tiles)),
            traffic=tuple(
                Traffic(
                    level,
                    kind,
                    at(reads),
                    at(writes),
                    self.once.get(kind, 0),
                    at(self.transfers[kind]),
                )
                for (level, kind), (reads, writes) in self.traffic.items()
            ),
            network_elements=at(self.network_elements),
            tiling=tiling,
        )


def least_cycles(share: Loops, profile: NpuProfile, dataflow: str) -> int:
    """No tiling of one core's share computes in less: the whole of it as one tile.

    Of several groups, smaller tiles may stand side by side better: there, with every PE busy.
    """
    array = profile.array
    if share.groups > 1:
        return share.macs // array.elements - 1
    return share.n * (compute_cycles(share.gemm, array.rows, array.columns, dataflow) + 1) - 1


def judge(whole: Loops, share: Loops, profile: NpuProfile, dataflow: str, tilings: Grid) -> Judged:
    """Count what each tiling of `share` (one core's part of `whole`) costs."""
    array, cores = profile.array, tilings.cores
    steps = {
        PIXELS: folds(share.p, tilings.rows) * folds(share.q, tilings.columns),
        FILTERS: folds(share.m, tilings.filters),
        CHANNELS: folds(share.c, tilings.channels),
    }
    groups = folds(share.groups, tilings.groups) * share.n
    # Whether a loop over tiles goes on inside this one: what does not depend on it comes again.
    again = {name: _goes_on(name, steps, tilings.order) for name in steps}
    repeats = {name: np.where(again[name], steps[name], 1) for name in steps}

    laid = _laid(share, tilings, array.rows, array.columns, dataflow)
    streams, over_rows, over_columns = laid.streams, laid.rows, laid.columns
    passes = repeats[streams]
    overhead = fold_overhead(array.rows, array.columns, dataflow)
    fold_count = laid.groups * over_rows * over_columns * share.n
    streamed_cycles = fold_count * laid.length
    compute = streamed_cycles + fold_count * passes * overhead - 1

    macs, n = whole.macs, whole.n
    by_filters = cores if tilings.split == FILTERS and whole.groups < cores else 1
    by_pixels = cores if tilings.split == PIXELS else 1
    weights, outputs = whole.weight_elements * n, whole.output_elements
    row_tiles = np.minimum(folds(share.p, tilings.rows) * by_pixels, whole.p)
    rows = np.maximum(whole.span(0, row_tiles), 1)
    columns = np.maximum(whole.span(1, folds(share.q, tilings.columns)), 1)
    inputs = n * whole.groups * whole.c * rows * columns
    home = {
        WEIGHTS: (weights * repeats[PIXELS], 0),
        INPUTS: (inputs * repeats[FILTERS], 0),
        OUTPUTS: (0, np.full(len(tilings.rows), outputs)),
        SUMS: (outputs * (repeats[CHANNELS] - 1), outputs * (repeats[CHANNELS] - 1)),
    }
    # Elements that the array takes from the buffer and gives back, all cores.
    filter_folds, pixel_folds, depth_folds = laid.filters, laid.pixels, laid.depth
    if dataflow == "WS":
        taken_weights = weights * passes * by_pixels
        taken_inputs = macs // whole.m * filter_folds * by_filters
        given = outputs * depth_folds
    elif dataflow == "OS":
        taken_weights = weights * pixel_folds * by_pixels
        taken_inputs = macs // whole.m * filter_folds * by_filters
        given = outputs * passes
    else:
        taken_weights = weights * pixel_folds * by_pixels
        taken_inputs = macs // whole.m * passes * by_filters
        given = outputs * depth_folds
    inner: dict[str, tuple[Values, Values]] = {
        WEIGHTS: (taken_weights, home[WEIGHTS][0] * by_pixels),
        INPUTS: (taken_inputs, home[INPUTS][0] * by_filters),
        OUTPUTS: (outputs, outputs),
        SUMS: (given - outputs + home[SUMS][1], given - outputs + home[SUMS][0]),
    }
    passing = np.full(len(tilings.rows), macs)
    registers = {
        WEIGHTS: (macs, taken_weights if dataflow == "WS" else passing),
        INPUTS: (macs, taken_inputs if dataflow == "IS" else passing),
        SUMS: (macs, macs),
    }
    traffic = {(HOME, kind): pair for kind, pair in home.items()}
    traffic |= {(BUFFER, kind): pair for kind, pair in inner.items()}
    traffic |= {(REGISTERS, kind): pair for kind, pair in registers.items()}
    return Judged(
        compute_cycles=compute,
        streamed=streamed_cycles / np.maximum(compute, 1),
        tiles=steps[PIXELS] * steps[FILTERS] * steps[CHANNELS] * groups,
        traffic=traffic,
        network_elements=taken_weights + taken_inputs + given,
        once={WEIGHTS: whole.weight_elements, INPUTS: whole.input_elements},
        transfers={
            WEIGHTS: groups * steps[FILTERS] * steps[CHANNELS] * repeats[PIXELS],
            INPUTS: groups * steps[PIXELS] * steps[CHANNELS] * repeats[FILTERS],
            OUTPUTS: groups * steps[PIXELS] * steps[FILTERS],
            SUMS: groups * steps[PIXELS] * steps[FILTERS] * (repeats[CHANNELS] - 1),
        },
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


def _room(share: Loops, profile: NpuProfile, tilings: Grid, bits: Bits) -> Values:
    """Bytes of the buffer that the tiles need; what changes in the course is there twice.

    Sums are as wide as the accumulator, unless the array completes them at once.
    """
    twice = 2 if profile.double_buffered else 1
    sides = []
    for side, tile in enumerate((tilings.rows, tilings.columns)):
        reach = ((share.r, share.s)[side] - 1) * share.dilations[side] + 1
        sides.append((tile - 1) * share.strides[side] + reach)
    kernel = share.r * share.s
    tiles = {
        WEIGHTS: tilings.filters * tilings.channels * kernel,
        INPUTS: tilings.channels * sides[0] * sides[1],
        OUTPUTS: tilings.filters * tilings.rows * tilings.columns,
    }
    whole = {
        PIXELS: tilings.rows * tilings.columns >= share.p * share.q,
        FILTERS: tilings.filters >= share.m,
        CHANNELS: tilings.channels >= share.c,
    }
    all_groups = tilings.groups >= share.groups
    once = all_groups & (share.n == 1)
    stays = {
        WEIGHTS: whole[FILTERS] & whole[CHANNELS] & all_groups,
        INPUTS: whole[PIXELS] & whole[CHANNELS] & once,
        OUTPUTS: whole[PIXELS] & whole[FILTERS] & once,
    }
    complete = whole[CHANNELS] & (tilings.channels * kernel <= profile.array.rows)
    if profile.array.dataflows == ("OS",):
        complete = whole[CHANNELS]
    width = {
        WEIGHTS: bits.weights,
        INPUTS: bits.inputs,
        OUTPUTS: np.where(complete, bits.outputs, bits.sums),
    }
    return sum(
        tiles[kind] * tilings.groups * width[kind] / 8 * np.where(stays[kind], 1, twice)
        for kind in tiles
    )


def _halves(size: int, multiple: int, most: int, fits: int | None = None) -> list[int]:
    """The size, its half and so on, rounded up to multiples; at most so many, none above `fits`.

    The multiple itself and 1 stay in, so that something fits any buffer.
    """
    found = [size]
    while found[-1] > 1:
        half = -(-found[-1] // 2)
        rounded = -(-half // multiple) * multiple
        found.append(rounded if multiple <= half and rounded < found[-1] else half)
    fitting = [one for one in found if fits is None or one <= fits]
    kept = fitting[: most - 2] + [one for one in fitting if one == multiple]
    return sorted({*kept, 1}, reverse=True)
