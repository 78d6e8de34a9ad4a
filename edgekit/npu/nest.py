"""Access counts of a given mapping: a nest of loops over a hierarchy of memories.

Counted as Timeloop does (Parashar et al., ISPASS 2019, section VI), without the overlap of
successive input tiles: a tile stays while only loops over what it does not depend on run, a
spatial loop over such a dimension is a multicast (or, for outputs, a reduction).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

TENSORS = ("weights", "inputs", "outputs")
DEPENDS = {
    "weights": frozenset("MCRS"),
    "inputs": frozenset("NCPQRS"),
    "outputs": frozenset("NMPQ"),
}
"""Which dimensions a tensor's place depends on: batch N, filters M, channels C, output rows P and
columns Q, kernel rows R and columns S."""


@dataclass(frozen=True)
class Loop:
    """One loop of the nest; a spatial one is spread over instances of the levels inside it."""

    dimension: str
    bound: int
    spatial: bool = False


@dataclass(frozen=True)
class Level:
    """One memory with the loops that run over its tile, from the outermost in."""

    name: str
    holds: tuple[str, ...]
    loops: tuple[Loop, ...]


@dataclass(frozen=True)
class Accesses:
    """Elements read, filled (from the level above) and updated (from below), all instances."""

    reads: int
    fills: int
    updates: int
    tile: int
    instances: int


@dataclass(frozen=True)
class Counts:
    """What a nest does: cycles, products, PEs in use, and accesses by (level, tensor)."""

    cycles: int
    macs: int
    instances: int
    accesses: Mapping[tuple[str, str], Accesses]


def count(
    nest: Sequence[Level], strides: tuple[int, int] = (1, 1), dilations: tuple[int, int] = (1, 1)
) -> Counts:
    """Count a nest's cycles (the product of its temporal loops) and accesses.

    `nest` runs from the memory that holds everything to that beside the multiplier.
    """
    loops = [loop for level in nest for loop in level.loops]
    accesses: dict[tuple[str, str], Accesses] = {}
    macs = math.prod(loop.bound for loop in loops)
    for tensor in TENSORS:
        accesses |= _of_tensor(nest, tensor, macs, strides, dilations)
    return Counts(
        cycles=math.prod(loop.bound for loop in loops if not loop.spatial),
        macs=macs,
        instances=math.prod(loop.bound for loop in loops if loop.spatial),
        accesses=accesses,
    )


def footprint(
    tensor: str,
    bounds: Mapping[str, int],
    strides: tuple[int, int],
    dilations: tuple[int, int] = (1, 1),
) -> int:
    """Elements of a tensor that these loop bounds touch."""
    if tensor != "inputs":
        return math.prod(bounds.get(dimension, 1) for dimension in DEPENDS[tensor])
    sides = [
        (bounds.get(out, 1) - 1) * stride + (bounds.get(kernel, 1) - 1) * dilation + 1
        for out, kernel, stride, dilation in zip("PQ", "RS", strides, dilations, strict=True)
    ]
    return bounds.get("N", 1) * bounds.get("C", 1) * sides[0] * sides[1]


def _of_tensor(
    nest: Sequence[Level],
    tensor: str,
    macs: int,
    strides: tuple[int, int],
    dilations: tuple[int, int],
) -> dict[tuple[str, str], Accesses]:
    depends = DEPENDS[tensor]
    holders = [place for place, level in enumerate(nest) if tensor in level.holds]
    loops = [[loop for level in nest[:place] for loop in level.loops] for place in holders]
    # What each holder passes on to the holder inside it, before any multicast or reduction.
    visited, tiles, instances = [], [], []
    for place, outer in zip(holders, loops, strict=True):
        inner: dict[str, int] = {}
        for loop in (loop for level in nest[place:] for loop in level.loops):
            inner[loop.dimension] = inner.get(loop.dimension, 1) * loop.bound
        tiles.append(footprint(tensor, inner, strides, dilations))
        instances.append(math.prod(loop.bound for loop in outer if loop.spatial))
        visited.append(_deliveries(outer, depends) * tiles[-1] * instances[-1])
    found = {}
    last = len(holders) - 1
    for i, place in enumerate(holders):
        if i == last:
            between = [loop for level in nest[place:] for loop in level.loops]
            below = macs // _shared(between, depends)
        else:
            between = [loop for level in nest[place : holders[i + 1]] for loop in level.loops]
            below = visited[i + 1] // _shared(between, depends)
        if tensor != "outputs":
            found[nest[place].name, tensor] = Accesses(
                below, visited[i] if i else 0, 0, tiles[i], instances[i]
            )
            continue
        # Every sum but an output's first meets an earlier one: added here, or sent back inside.
        outside = [loop for level in nest[:place] for loop in level.loops]
        first = visited[0] * _shared(outside, depends)
        found[nest[place].name, tensor] = Accesses(
            below - first, visited[i] - first, below, tiles[i], instances[i]
        )
    return found


def _deliveries(outer: Sequence[Loop], depends: frozenset[str]) -> int:
    """How often a new tile comes: all temporal loops outside, less the innermost idle ones."""
    temporal = [loop for loop in outer if not loop.spatial and loop.bound > 1]
    while temporal and temporal[-1].dimension not in depends:
        temporal.pop()
    return math.prod(loop.bound for loop in temporal)


def _shared(between: Sequence[Loop], depends: frozenset[str]) -> int:
    """Over how many instances one element is spread (or summed)."""
    return math.prod(
        loop.bound for loop in between if loop.spatial and loop.dimension not in depends
    )
