"""From a schedule to cycles, bytes and joules: with bit widths, zeros and each tensor's home."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit.npu.precision import Precision, published_energy
from edgekit.npu.profile import Memory, NpuProfile
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

DRAM, SHARED = "dram", "shared"
MEMORIES = (DRAM, SHARED, BUFFER, REGISTERS)
PARTS = ("mac", REGISTERS, "network", BUFFER, SHARED, DRAM, "vector", "static")
"""Of what the energy consists, from the multiplier out."""


@dataclass(frozen=True)
class Homes:
    """Where a layer's tensors live outside the buffer: DRAM or SHARED, inputs by their share.

    `inputs_shared` is the share of the input elements that the shared memory holds. Of what lives
    in the DRAM, the kinds in `staged` fit the shared memory while the layer runs: if they are
    needed more than once, they come from the DRAM once and from there after that.
    """

    weights: str = DRAM
    inputs_shared: float = 0.0
    outputs: str = DRAM
    staged: frozenset[str] = frozenset()

    def shares(self, kind: str) -> dict[str, float]:
        """How much of a kind lies in each memory."""
        if kind == INPUTS:
            found = {SHARED: self.inputs_shared, DRAM: 1 - self.inputs_shared}
            return {place: share for place, share in found.items() if share}
        return {self.weights if kind == WEIGHTS else self.outputs: 1.0}


@dataclass(frozen=True)
class Activity:
    """What a layer really does: shares of its products skipped, and operand widths in use."""

    bits: Bits
    skipped: float = 0.0
    multiplier: float | None = 1.0


@dataclass(frozen=True)
class Cost:
    """What one layer costs. Cycles are the NPU's; `bytes` are moved per memory (read, written).

    `latency_cycles` is the longest of compute and of each memory's cycles (they overlap) plus
    `fill_cycles`, in which the first tile comes or the last one is finished alone. `mac_j` is None
    where the multiplier's energy is not known.
    """

    compute_cycles: float
    memory_cycles: Mapping[str, float]
    fill_cycles: float
    latency_cycles: float
    bytes: Mapping[str, tuple[float, float]]
    mac_j: float | None
    energy_j: Mapping[str, float]

    @property
    def bound_by(self) -> str:
        """What takes longest: compute or a memory."""
        slowest = max(self.memory_cycles, key=self.memory_cycles.__getitem__, default="compute")
        if self.memory_cycles.get(slowest, 0.0) > self.compute_cycles:
            return slowest
        return "compute"


def multiplier_energy(profile: NpuProfile, precision: Precision) -> float | None:
    """Energy of the multiplier relative to the exact one; None where nobody says.

    The caller's word comes first, then the profile's, then the EvoApproxLib's.
    """
    if precision.multiplier_energy is not None:
        return precision.multiplier_energy
    if precision.multiplier in profile.multipliers:
        return profile.multipliers[precision.multiplier]
    return published_energy(precision.multiplier)


def cost_of(
    profile: NpuProfile,
    schedule: Schedule,
    macs: float,
    homes: Homes,
    activity: Activity,
    bias_bytes: float = 0.0,
) -> Cost:
    """The cost of a layer on the array, laid out as the schedule says.

    A schedule that holds NumPy arrays, of many mappings, gets a cost that holds them too.
    """
    array, bits = profile.array, activity.bits
    serial = min(1.0, bits.inputs / array.activation_bits) if array.bit_scaling == "serial" else 1.0
    skipped = 0.0 if array.zero_skipping == "none" else activity.skipped
    saved = array.skip_efficiency * skipped if array.zero_skipping == "skip" else 0.0
    pace = serial * (1 - saved)
    compute = schedule.compute_cycles * (1 - schedule.streamed * (1 - pace))
    moved = _move(schedule.traffic, homes, bits, skipped)
    moved.add(DRAM, bias_bytes, 0.0)
    energy = {name: _energy(memory, moved.bytes.get(name)) for name, memory in _memories(profile)}
    energy[REGISTERS] = sum(
        _energy(getattr(profile.registers, "outputs" if kind == SUMS else kind), pair)
        for kind, pair in _register_bytes(schedule.traffic, bits, skipped).items()
    )
    energy["network"] = schedule.network_elements * bits.inputs / 8 * array.network_j_per_byte
    done = macs * (1 - skipped)
    widths = bits.weights / array.weight_bits * bits.inputs / array.activation_bits
    products = None
    if activity.multiplier is not None:
        adder = array.add_j * bits.sums / array.accumulator_bits
        products = done * (array.multiply_j * widths * activity.multiplier + adder)
    return _finish(profile, schedule.cores, compute, schedule.tiles, moved, energy, products)


def vector_cost(
    profile: NpuProfile,
    operations: float,
    moved: tuple[float, float, float],
    homes: Homes,
) -> Cost:
    """The cost of an operator on the vector unit; `moved` are bytes of constants, in, out."""
    if profile.vector is None:
        raise ValueError(f"{profile.name} has no vector unit")
    constants, inputs, outputs = moved
    room = (profile.buffer.bytes or 0) * profile.cores / (2 if profile.double_buffered else 1)
    tiles = max(1, round(sum(moved) / room + 0.5))
    traffic = (
        Traffic(HOME, WEIGHTS, constants, 0, constants, 1),
        Traffic(HOME, INPUTS, inputs, 0, inputs, tiles),
        Traffic(HOME, OUTPUTS, 0, outputs, outputs, tiles),
        Traffic(BUFFER, WEIGHTS, constants, constants),
        Traffic(BUFFER, INPUTS, inputs, inputs),
        Traffic(BUFFER, OUTPUTS, outputs, outputs),
    )
    found = _move(traffic, homes, Bits(8, 8, 8, 8), 0.0)
    energy = {name: _energy(memory, found.bytes.get(name)) for name, memory in _memories(profile)}
    energy["vector"] = operations * profile.vector.operation_j
    compute = operations / (profile.vector.operations_per_cycle * profile.cores)
    return _finish(profile, profile.cores, compute, tiles, found, energy, 0.0)


def _finish(
    profile: NpuProfile,
    cores: int,
    compute: Any,
    tiles: Any,
    moved: _Moved,
    energy: dict[str, Any],
    products: Any,
) -> Cost:
    cycles: dict[str, Any] = {}
    for name, memory in _memories(profile):
        # Every core has a buffer of its own.
        instances = cores if name == BUFFER else 1
        amount = sum(moved.bytes.get(name, (0.0, 0.0)))
        seconds = np.where(amount, moved.transfers.get(name, 0.0) * memory.latency_s, 0.0)
        if memory.bandwidth_bytes_per_s is not None:
            seconds = seconds + amount / memory.bandwidth_bytes_per_s / instances
        if memory.bandwidth_bytes_per_s is not None or memory.latency_s:
            cycles[name] = seconds * profile.clock_hz
    # With tiles alike, one transfer before and one computation after the others stand alone.
    outside: Any = 0.0
    for name in cycles.keys() - {BUFFER}:
        outside = np.maximum(outside, cycles[name])
    alone = np.minimum(outside, compute)
    fill = alone / tiles if profile.double_buffered else alone
    latency = compute
    for needed in cycles.values():
        latency = np.maximum(latency, needed)
    latency = latency + fill
    energy["static"] = profile.static_w * latency / profile.clock_hz
    return Cost(
        compute_cycles=compute,
        memory_cycles=cycles,
        fill_cycles=fill,
        latency_cycles=latency,
        bytes=moved.bytes,
        mac_j=products,
        energy_j=energy,
    )


def _memories(profile: NpuProfile) -> list[tuple[str, Memory]]:
    found = [(DRAM, profile.dram), (BUFFER, profile.buffer)]
    return [*found, (SHARED, profile.shared)] if profile.shared else found


@dataclass(frozen=True)
class _Moved:
    """What each memory moves: (read, written) bytes, and transfers that wait for one another.

    Transfers of one kind do; those of another go on beside them.
    """

    bytes: dict[str, tuple[Any, Any]]
    transfers: dict[str, Any]

    def add(self, place: str, reads: Any, writes: Any, transfers: Any = 0.0) -> None:
        before = self.bytes.get(place, (0.0, 0.0))
        self.bytes[place] = before[0] + reads, before[1] + writes
        self.transfers[place] = np.maximum(self.transfers.get(place, 0.0), transfers)


def _move(traffic: tuple[Traffic, ...], homes: Homes, bits: Bits, skipped: float) -> _Moved:
    moved = _Moved({}, {})
    for found in traffic:
        each = bits.of(found.kind) / 8 * _share(found, skipped)
        reads, writes = found.reads * each, found.writes * each
        if found.level != HOME:
            moved.add(found.level, reads, writes)
            continue
        for place, part in homes.shares(found.kind).items():
            if place == DRAM and found.kind in homes.staged:
                once = found.once * each * part
                again = reads * part > once
                fewer = found.transfers * once / np.maximum(reads * part, 1e-9)
                moved.add(DRAM, np.where(again, once, reads * part), 0.0, fewer)
                held = np.where(again, once, 0.0)
                moved.add(SHARED, np.where(again, reads * part, 0.0), held, found.transfers)
            else:
                moved.add(place, reads * part, writes * part, found.transfers)
    return moved


def _register_bytes(
    traffic: tuple[Traffic, ...], bits: Bits, skipped: float
) -> dict[str, tuple[float, float]]:
    """(read, written) bytes of the registers by kind, as each has a memory of its own."""
    found: dict[str, tuple[float, float]] = {}
    for entry in traffic:
        if entry.level == REGISTERS:
            each = bits.of(entry.kind) / 8 * _share(entry, skipped)
            found[entry.kind] = (entry.reads * each, entry.writes * each)
    return found


def _share(entry: Traffic, skipped: float) -> float:
    """How much is still moved: a skipped product reads no weight and leaves its sum alone."""
    return 1.0 if entry.level != REGISTERS or entry.kind == INPUTS else 1 - skipped


def _energy(memory: Memory, moved: tuple[float, float] | None) -> float:
    if moved is None:
        return 0.0
    return moved[0] * memory.read_j_per_byte + moved[1] * memory.write_j_per_byte
