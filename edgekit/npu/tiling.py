"""Tiles of a layer for the buffer of a systolic array: which are worth judging."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import permutations, product
from typing import Any

import numpy as np

from edgekit.npu.profile import NpuProfile
from edgekit.npu.schedule import INPUTS, OUTPUTS, WEIGHTS, Bits, Tiling
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
