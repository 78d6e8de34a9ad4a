"""How one layer is laid on an NPU: the mapping chosen, its cycles and its traffic in elements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HOME, BUFFER, REGISTERS = "home", "buffer", "registers"
"""Memory levels of a schedule. Home is the DRAM or the shared memory, as each tensor has it."""

WEIGHTS, INPUTS, OUTPUTS, SUMS = "weights", "inputs", "outputs", "sums"
"""What is moved. Sums are outputs that are not complete, as wide as the accumulator."""


@dataclass(frozen=True)
class Bits:
    """Widths of what is stored: the file's weights, inputs and outputs, and the accumulator."""

    weights: int
    inputs: int
    outputs: int
    sums: int

    def of(self, kind: str) -> int:
        """The width of one kind of WEIGHTS, INPUTS, OUTPUTS, SUMS."""
        return int(getattr(self, kind))


@dataclass(frozen=True)
class Traffic:
    """Elements of one kind that all instances of one level read and write.

    `once` are those that a home must give at least, however often they are read; in `transfers`
    each core asks the home for them, one after another.
    """

    level: str
    kind: str
    reads: float
    writes: float
    once: float = 0.0
    transfers: float = 0.0


@dataclass(frozen=True)
class Tiling:
    """Output rows and columns, filters, channels and groups of a tile, and who shares the work.

    `order` names the loops over tiles from the outermost in, of pixels, filters and channels;
    `split` is what the cores divide: nothing, filters or pixels.
    """

    rows: int
    columns: int
    filters: int
    channels: int
    groups: int
    order: tuple[str, str, str]
    split: str
    cores: int

    def __str__(self) -> str:
        """For people: the tile's sizes, the order and the split."""
        split = f", {self.cores} cores by {self.split}" if self.cores > 1 else ""
        return (
            f"{self.rows}x{self.columns}x{self.filters} of {self.channels} channels"
            f"{f' in {self.groups} groups' if self.groups > 1 else ''}, "
            f"{' > '.join(self.order)}{split}"
        )


@dataclass(frozen=True)
class Schedule:
    """A layer's mapping and what it costs dense and at the NPU's own bit widths.

    Of `compute_cycles` the share `streamed` passes operands, and shrinks with bits and zeros; the
    rest fills and drains the array. `tiles` are those of one core, `network_elements` go between
    buffer and array. `tiling` is there where the array is systolic. Where many tilings are judged
    at once, the numbers are NumPy arrays.
    """

    dataflow: str
    cores: int
    mapping: str
    compute_cycles: float
    streamed: float
    tiles: int
    traffic: tuple[Traffic, ...]
    network_elements: float
    tiling: Tiling | None = None

    def moved(self, level: str, kinds: Sequence[str] = (WEIGHTS, INPUTS, OUTPUTS, SUMS)) -> float:
        """Elements read and written at a level."""
        return sum(
            found.reads + found.writes
            for found in self.traffic
            if found.level == level and found.kind in kinds
        )
