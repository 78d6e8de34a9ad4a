"""What a model costs on an NPU, layer by layer: statically from its file, or with events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from edgekit.errors import NpuError
from edgekit.npu.cost import PARTS, Activity, Cost, Homes, cost_of, multiplier_energy, vector_cost
from edgekit.npu.mapping import VECTOR, cheapest
from edgekit.npu.placement import homes_of
from edgekit.npu.precision import Precision
from edgekit.npu.profile import NpuProfile
from edgekit.npu.schedule import Bits, Schedule
from edgekit.npu.workload import (
    ARRAY_OPERATORS,
    CONVERSIONS,
    VIEWS,
    Layer,
    Loops,
    Operand,
    Workload,
)
from edgekit_device.number import Number

_QUANTISE = "quantise the model first, such as with: edgekit optimize MODEL --recipe int8"


@dataclass(frozen=True)
class Events:
    """What the delegate counted for one node in one inference; wall time is the emulation's."""

    node: int
    macs: int
    skipped_macs: int = 0
    saturations: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    bytes_weights: int = 0
    wall_ns: int = 0

    def __post_init__(self) -> None:
        """Refuse counts that contradict each other."""
        if not 0 <= self.skipped_macs <= self.macs:
            raise NpuError(
                f"events of node {self.node}: skipped_macs is {self.skipped_macs}; it must be from "
                f"0 to macs, which is {self.macs}."
            )


@dataclass(frozen=True)
class LayerEstimate:
    """One operator. `cycles` is its latency; `bytes` are (read, written) per memory.

    `unit` is array, vector, or none for a mere view; `utilisation` the share of all that the
    unit could have done in that time. `macs` count padding; of them `skipped_macs` are skipped.
    """

    node: int
    operator: str
    name: str
    unit: str
    dataflow: str
    mapping: str
    cores: int
    macs: int
    skipped_macs: float
    operations: int
    compute_cycles: float
    memory_cycles: Mapping[str, float]
    fill_cycles: float
    cycles: float
    utilisation: float
    bound_by: str
    bytes: Mapping[str, tuple[float, float]]
    energy_parts_j: Mapping[str, float | None]
    latency_ms: Number
    energy_j: Number


@dataclass(frozen=True)
class NotEstimated:
    """An operator that no number covers, and why."""

    node: int
    operator: str
    name: str
    reason: str


@dataclass(frozen=True)
class Estimate:
    """A model on an NPU; the totals cover `layers`, and say so where some are not estimated."""

    model: str
    npu: str
    precision: Precision
    with_events: bool
    layers: tuple[LayerEstimate, ...]
    not_estimated: tuple[NotEstimated, ...]
    cycles: float
    macs: int
    bytes: Mapping[str, tuple[float, float]]
    energy_parts_j: Mapping[str, float | None]
    latency_ms: Number
    energy_j: Number


def estimate(
    workload: Workload,
    profile: NpuProfile,
    precision: Precision | None = None,
    events: Iterable[Events] = (),
) -> Estimate:
    """Estimate a model's cost on an NPU.

    `precision` is the profile's where left out. Without events, zeros are those of the file's
    weights, where the precision skips them; with them, the skipped products are those counted
    (zeros of activations too).

    Raises:
        NpuError: events of a node that the file does not have, or two for one.
    """
    precision = precision or profile.precision
    counted = _by_node(events, workload)
    relative = multiplier_energy(profile, precision)
    reasons = {layer.node: unsupported(layer, profile) for layer in workload.layers}
    usable = {node for node, reason in reasons.items() if reason is None}
    schedules: dict[tuple[Loops, Homes, Bits], Schedule] = {}
    done, left = [], []
    for layer, homes in zip(workload.layers, homes_of(workload, profile, usable), strict=True):
        reason = reasons[layer.node]
        if reason is None:
            try:
                activity = _activity(layer, profile, precision, relative, counted.get(layer.node))
                done.append(_layer(layer, profile, homes, activity, precision, schedules))
                continue
            except NpuError as error:
                reason = str(error).rstrip(".")
        left.append(NotEstimated(layer.node, layer.operator, layer.name, reason))
    return _total(workload, profile, precision, bool(counted), tuple(done), tuple(left))


def unsupported(layer: Layer, profile: NpuProfile) -> str | None:
    """Why the profile's NPU cannot run an operator; None where it can."""
    if layer.refused is not None:
        return layer.refused
    if layer.operator in VIEWS:
        return None
    on_array = layer.operator in ARRAY_OPERATORS
    known = profile.array.operators if on_array else ()
    if profile.vector is not None and not on_array:
        known = profile.vector.operators
    if layer.operator not in known:
        return f"{profile.name} has no unit for it"
    constants = (layer.weights,) if layer.weights else ()
    operands = (*layer.inputs, *layer.outputs, *constants)
    floating = [operand for operand in operands if operand.floating]
    if floating and layer.operator not in CONVERSIONS:
        bits = max(operand.bits for operand in floating)
        return f"it computes in float{bits}, and {profile.name} in integers; {_QUANTISE}"
    array = profile.array
    wide = max((found.bits for found in layer.outputs if not found.floating), default=0)
    if not on_array and layer.operator not in CONVERSIONS and wide > array.activation_bits:
        return f"its activations have {wide} bits, and {profile.name} takes {array.activation_bits}"
    if on_array and layer.weights is not None:
        for what, bits, most in (
            ("weights", layer.weights.bits, array.weight_bits),
            ("activations", max(found.bits for found in layer.inputs), array.activation_bits),
        ):
            if bits > most:
                return f"its {what} have {bits} bits, and the array takes {most}; {_QUANTISE}"
    return None


def _by_node(events: Iterable[Events], workload: Workload) -> dict[int, Events]:
    known = {layer.node for layer in workload.layers}
    found: dict[int, Events] = {}
    for event in events:
        if event.node not in known:
            raise NpuError(
                f"events name node {event.node}, but {workload.name} has the nodes 0 to "
                f"{len(known) - 1}; take events of this very file."
            )
        if event.node in found:
            raise NpuError(f"events name node {event.node} twice; give those of one inference.")
        found[event.node] = event
    return found


def _activity(
    layer: Layer,
    profile: NpuProfile,
    precision: Precision,
    relative: float | None,
    event: Events | None,
) -> Activity:
    skipped = layer.zero_weights if precision.skip_zero_weights else 0.0
    if event is not None:
        skipped = event.skipped_macs / event.macs if event.macs else 0.0
    stored = _stored(layer, profile)
    return Activity(
        bits=Bits(
            weights=min(stored.weights, precision.weight_bits),
            inputs=min(stored.inputs, precision.activation_bits),
            outputs=min(stored.outputs, precision.activation_bits),
            sums=min(stored.sums, precision.accumulator_bits),
        ),
        skipped=skipped if profile.array.zero_skipping != "none" else 0.0,
        multiplier=relative,
    )


def _stored(layer: Layer, profile: NpuProfile) -> Bits:
    return Bits(
        weights=layer.weights.bits if layer.weights else 8,
        inputs=max((found.bits for found in layer.inputs), default=8),
        outputs=max((found.bits for found in layer.outputs), default=8),
        sums=profile.array.accumulator_bits,
    )


@dataclass(frozen=True)
class _Ran:
    """Where a layer runs and what it costs there; `work` are the unit's operations."""

    cost: Cost
    unit: str
    dataflow: str
    mapping: str
    cores: int
    work: float
    skipped_macs: float = 0.0


def _layer(
    layer: Layer,
    profile: NpuProfile,
    homes: Homes,
    activity: Activity,
    precision: Precision,
    schedules: dict[tuple[Loops, Homes, Bits], Schedule],
) -> LayerEstimate:
    if layer.loops is not None:
        ran = _product(layer, layer.loops, profile, homes, activity, schedules)
    elif layer.operator in VIEWS:
        ran = _Ran(Cost(0.0, {}, 0.0, 0.0, {}, 0.0, {}), "none", "view", "", 0, 0.0)
    else:
        cost = vector_cost(profile, layer.operations, _moved(layer, precision), homes)
        ran = _Ran(cost, "vector", VECTOR, "", profile.cores, layer.operations)
    cost = ran.cost
    lanes = profile.array.elements
    if ran.unit == "vector" and profile.vector is not None:
        lanes = profile.vector.operations_per_cycle
    possible = cost.latency_cycles * lanes * profile.cores
    parts: dict[str, float | None] = {"mac": None if cost.mac_j is None else float(cost.mac_j)}
    parts |= {name: float(cost.energy_j.get(name, 0.0)) for name in PARTS if name != "mac"}
    return LayerEstimate(
        node=layer.node,
        operator=layer.operator,
        name=layer.name,
        unit=ran.unit,
        dataflow=ran.dataflow,
        mapping=ran.mapping,
        cores=ran.cores,
        macs=layer.macs,
        skipped_macs=ran.skipped_macs,
        operations=layer.operations,
        compute_cycles=float(cost.compute_cycles),
        memory_cycles={name: float(value) for name, value in cost.memory_cycles.items()},
        fill_cycles=float(cost.fill_cycles),
        cycles=float(cost.latency_cycles),
        utilisation=float(ran.work / possible) if possible else 0.0,
        bound_by=cost.bound_by if ran.unit != "none" else "nothing",
        bytes={name: (float(r), float(w)) for name, (r, w) in cost.bytes.items()},
        energy_parts_j=parts,
        latency_ms=_latency(float(cost.latency_cycles), profile, None),
        energy_j=_energy(parts, profile, precision, None),
    )


def _product(
    layer: Layer,
    loops: Loops,
    profile: NpuProfile,
    homes: Homes,
    activity: Activity,
    schedules: dict[tuple[Loops, Homes, Bits], Schedule],
) -> _Ran:
    """A matrix product, on the array or, where that is faster, on the vector unit."""
    key = (loops, homes, _stored(layer, profile))
    if key not in schedules:
        schedules[key] = cheapest(loops, profile, homes, key[2])
    schedule = schedules[key]
    unit = "vector" if schedule.dataflow == VECTOR else "array"
    if unit == "vector":
        # Its lanes wait for no zeros.
        activity = replace(activity, skipped=0.0)
    cost = cost_of(profile, schedule, layer.macs, homes, activity, _bias(layer, homes))
    skipped = activity.skipped * layer.macs
    return _Ran(
        cost, unit, schedule.dataflow, schedule.mapping, schedule.cores, layer.macs, skipped
    )


def _bias(layer: Layer, homes: Homes) -> float:
    """Biases come from the DRAM unless they stay on the chip with the weights."""
    return float(layer.bias_bytes) if homes.weights == "dram" else 0.0


def _moved(layer: Layer, precision: Precision) -> tuple[float, float, float]:
    def size(operands: Iterable[Operand], bits: int) -> float:
        return sum(
            found.elements * (found.bits if found.floating else min(found.bits, bits)) / 8
            for found in operands
        )

    constants = (layer.weights,) if layer.weights else ()
    return (
        size(constants, precision.weight_bits),
        size(layer.inputs, precision.activation_bits),
        size(layer.outputs, precision.activation_bits),
    )


def _total(
    workload: Workload,
    profile: NpuProfile,
    precision: Precision,
    with_events: bool,
    layers: tuple[LayerEstimate, ...],
    left: tuple[NotEstimated, ...],
) -> Estimate:
    cycles = sum(layer.cycles for layer in layers)
    memories = dict.fromkeys(name for layer in layers for name in layer.bytes)
    parts: dict[str, float | None] = {}
    for name in PARTS:
        values = [layer.energy_parts_j[name] for layer in layers]
        known = [value for value in values if value is not None]
        parts[name] = sum(known) if len(known) == len(values) else None
    without = f"without {len(left)} operators that are not estimated" if left else None
    latency, energy = (
        _latency(cycles, profile, without),
        _energy(parts, profile, precision, without),
    )
    if not layers:
        none = Number.unavailable(f"no operator of {workload.name} can run on {profile.name}")
        latency = energy = none
    return Estimate(
        model=workload.name,
        npu=profile.name,
        precision=precision,
        with_events=with_events,
        layers=layers,
        not_estimated=left,
        cycles=cycles,
        macs=sum(layer.macs for layer in layers),
        bytes={
            name: (
                sum(layer.bytes.get(name, (0.0, 0.0))[0] for layer in layers),
                sum(layer.bytes.get(name, (0.0, 0.0))[1] for layer in layers),
            )
            for name in memories
        },
        energy_parts_j=parts,
        latency_ms=latency,
        energy_j=energy,
    )


def _latency(cycles: float, profile: NpuProfile, reason: str | None) -> Number:
    value = cycles / profile.clock_hz * 1e3
    low, high = profile.error.latency
    return Number.estimated(value, value * low, value * high, reason)


def _energy(
    parts: Mapping[str, float | None],
    profile: NpuProfile,
    precision: Precision,
    reason: str | None,
) -> Number:
    known = [value for value in parts.values() if value is not None]
    if len(known) < len(parts):
        return Number.unavailable(
            f"nobody has published the energy of the multiplier {precision.multiplier}: give it, "
            "relative to the exact one, in the profile's [multipliers] or with --multiplier-energy"
        )
    value = sum(known)
    low, high = profile.error.energy
    return Number.estimated(value, value * low, value * high, reason)
