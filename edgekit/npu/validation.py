"""The cost model against published figures: its error, as tables for the docs.

python -m edgekit.npu.validation > docs/npu-cost-model-error.md
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgekit.npu.cost import Activity, Cost, Homes, cost_of
from edgekit.npu.dataflow import Gemm, compute_cycles, mapping_efficiency
from edgekit.npu.estimate import estimate
from edgekit.npu.mapping import cheapest, total_j
from edgekit.npu.nest import TENSORS, Counts, Level, Loop, count
from edgekit.npu.networks import (
    Network,
    alexnet,
    mobilenet_v1,
    mobilenet_v2,
    resnet50,
    scale_sim_alexnet,
    vgg16,
    workload,
)
from edgekit.npu.profile import NpuProfile, load_npu
from edgekit.npu.rowstationary import of_nest
from edgekit.npu.schedule import Bits, Schedule
from edgekit.npu.workload import Loops

ARRAY = (32, 32)

SCALE_SIM_CYCLES = {("Conv1", "WS"): 112_283, ("Conv1", "OS"): 121_124}
SCALE_SIM_GEMM = {"OS": 10_175, "WS": 11_199, "IS": 14_207}
SCALE_SIM_EFFICIENCY = 0.9453125
"""SCALE-Sim's own output, 32x32 array, without stalls; the GEMM is 256 x 128 x 256."""

TIMELOOP_LAYER = Loops(p=112, q=112, m=32, c=3, r=3, s=3, strides=(2, 2))
TIMELOOP_NEST = (
    Level("dram", TENSORS, (Loop("P", 8), Loop("Q", 2), Loop("M", 4))),
    Level(
        "buffer",
        ("inputs", "outputs"),
        (Loop("P", 14), Loop("Q", 4), Loop("Q", 14, True), Loop("C", 3, True), Loop("S", 3, True)),
    ),
    Level("inputs spad", ("inputs",), ()),
    Level("weights spad", ("weights",), (Loop("R", 3),)),
    Level("outputs spad", ("outputs",), (Loop("M", 8),)),
)
TIMELOOP_BITS = Bits(weights=8, inputs=8, outputs=8, sums=16)
TIMELOOP_CYCLES = 86_016
TIMELOOP_ACCESSES = {
    ("dram", "weights"): (13_824, 0, 0),
    ("dram", "inputs"): (157_296, 0, 0),
    ("dram", "outputs"): (0, 0, 401_408),
    ("buffer", "inputs"): (1_354_752, 157_296, 0),
    ("buffer", "outputs"): (0, 0, 401_408),
    ("inputs spad", "inputs"): (86_016 * 126, 10_752 * 126, 0),
    ("weights spad", "weights"): (86_016 * 126, 1_536 * 126, 0),
    ("outputs spad", "outputs"): (57_344 * 126, 0, 86_016 * 126),
}
"""Reads, fills and updates of all instances, of the reference output of eyeriss_like."""
TIMELOOP_PJ = {
    "mac": 2_250_969.0,
    "registers": 4_190_338.0 + 10_893_306.0 + 1_216_736.0,
    "buffer": 3_357_302.0 + 709_385.0,
    "dram": 884_736.0 + 10_066_944.0 + 401_408 * 64.0,
}

EYERISS_BATCH = 4
EYERISS_MW = {"C1": 332, "C2": 288, "C3": 266, "C4": 235, "C5": 236}
EYERISS_MS = {"C1": 20.9, "C2": 41.9, "C3": 23.6, "C4": 18.4, "C5": 10.5}
EYERISS_ZEROS = {"C1": 0.0001, "C2": 0.387, "C3": 0.725, "C4": 0.793, "C5": 0.776}
"""Chen et al., JSSC 2017, AlexNet in batches of 4, from memory: power, time, zeros of the inputs.

The powers and times agree with the paper's totals (278 mW, 115.3 ms); the zeros are not checked.
"""

CORAL_MS = {
    "MobileNet v1": 2.4,
    "MobileNet v2": 2.6,
    "ResNet-50 (299x299)": 56.0,
    "VGG16": 343.0,
}
"""Coral's benchmark page, Dev Board with Edge TPU: ms per inference."""


@dataclass(frozen=True)
class Check:
    """One figure: who published it, what the model says."""

    what: str
    published: float
    modelled: float

    @property
    def error(self) -> float:
        """How far the model is off, relative to what is published."""
        return self.modelled / self.published - 1

    @property
    def ratio(self) -> float:
        """The truth over the model's value, as a profile's [error] states it."""
        return self.published / self.modelled


def scale_sim_checks() -> tuple[Check, ...]:
    """SCALE-Sim's cycles and mapping efficiency, by its formulas."""
    layers = dict(scale_sim_alexnet())
    found = [
        Check(f"{name}, {flow}: cycles", cycles, compute_cycles(layers[name].gemm, *ARRAY, flow))
        for (name, flow), cycles in SCALE_SIM_CYCLES.items()
    ]
    gemm = Gemm(256, 128, 256)
    found += [
        Check(f"GEMM 256x128x256, {flow}: cycles", cycles, compute_cycles(gemm, *ARRAY, flow))
        for flow, cycles in SCALE_SIM_GEMM.items()
    ]
    efficiency = mapping_efficiency(layers["Conv1"].gemm, *ARRAY, "WS")
    return (*found, Check("Conv1, WS: mapping efficiency", SCALE_SIM_EFFICIENCY, efficiency))


def timeloop_counts() -> Counts:
    """What the reference mapping of Timeloop's example does, counted here."""
    return count(TIMELOOP_NEST, TIMELOOP_LAYER.strides)


def timeloop_costs() -> tuple[Cost, Cost, Schedule]:
    """The reference mapping's cost, and that of the mapping chosen here, with its schedule."""
    profile = load_npu("timeloop-eyeriss")
    given = of_nest(TIMELOOP_NEST, TIMELOOP_LAYER)
    chosen = cheapest(TIMELOOP_LAYER, profile, Homes(), TIMELOOP_BITS)
    return _cost(profile, given), _cost(profile, chosen), chosen


def _cost(profile: NpuProfile, schedule: Schedule) -> Cost:
    activity = Activity(TIMELOOP_BITS)
    return cost_of(profile, schedule, TIMELOOP_LAYER.macs, Homes(), activity)


def timeloop_checks() -> tuple[Check, ...]:
    """Cycles, accesses and energy by part of Timeloop's Eyeriss example."""
    counts = timeloop_counts()
    found = [Check("cycles", TIMELOOP_CYCLES, counts.cycles)]
    for (level, tensor), published in TIMELOOP_ACCESSES.items():
        seen = counts.accesses[level, tensor]
        pairs = zip(
            ("reads", "fills", "updates"),
            published,
            (seen.reads, seen.fills, seen.updates),
            strict=True,
        )
        found += [
            Check(f"{level}, {tensor if level in ('dram', 'buffer') else 'all PEs'}: {what}", *pair)
            for what, *pair in pairs
            if pair[0] or pair[1]
        ]
    cost = timeloop_costs()[0]
    parts = {**cost.energy_j, "mac": cost.mac_j or 0.0}
    found += [
        Check(f"energy of {part}, pJ", pj, parts[part] * 1e12) for part, pj in TIMELOOP_PJ.items()
    ]
    return (*found, Check("energy, pJ", sum(TIMELOOP_PJ.values()), total_j(cost) * 1e12))


@dataclass(frozen=True)
class ChipLayer:
    """A layer of the Eyeriss chip's table beside the model: ms and mW, measured and modelled."""

    name: str
    time: Check
    power: Check


def eyeriss_layers() -> tuple[ChipLayer, ...]:
    """Time and power of the chip itself, without its DRAM, zeros gated as published."""
    profile = load_npu("eyeriss")
    found = []
    for name, loops in alexnet(EYERISS_BATCH):
        bits = Bits(16, 16, 16, 16)
        schedule = cheapest(loops, profile, Homes(), bits)
        activity = Activity(bits, skipped=EYERISS_ZEROS[name])
        cost = cost_of(profile, schedule, loops.macs, Homes(), activity)
        seconds = float(cost.latency_cycles) / profile.clock_hz
        chip_j = float(total_j(cost)) - cost.energy_j["dram"]
        found.append(
            ChipLayer(
                name,
                Check(f"{name}: ms", EYERISS_MS[name], seconds * 1e3),
                Check(f"{name}: mW", EYERISS_MW[name], chip_j / seconds * 1e3),
            )
        )
    return tuple(found)


def eyeriss_total(layers: Sequence[ChipLayer]) -> ChipLayer:
    """All layers together: the time summed, the power weighed by time."""
    measured, modelled = (sum(getattr(x.time, who) for x in layers) for who in _WHO)
    energies = [sum(getattr(x.time, who) * getattr(x.power, who) for x in layers) for who in _WHO]
    power = Check("all: mW", energies[0] / measured, energies[1] / modelled)
    return ChipLayer("all", Check("all: ms", measured, modelled), power)


_WHO = ("published", "modelled")


def coral_checks() -> tuple[Check, ...]:
    """Coral's published times beside the edge-tpu-like profile; matrix products alone."""
    profile = load_npu("edge-tpu-like")
    networks: dict[str, Network] = {
        "MobileNet v1": mobilenet_v1(),
        "MobileNet v2": mobilenet_v2(),
        "ResNet-50 (299x299)": resnet50(299),
        "VGG16": vgg16(),
    }
    found = []
    for name, network in networks.items():
        latency = estimate(workload(name, network), profile).latency_ms
        found.append(Check(name, CORAL_MS[name], latency.value or 0.0))
    return tuple(found)


def error_ratios() -> tuple[tuple[float, float], tuple[float, float]]:
    """(latency, energy): least and most truth over model, of all measured machines, around 1."""
    layers = eyeriss_layers()
    times = [layer.time.ratio for layer in layers] + [check.ratio for check in coral_checks()]
    energies = [layer.time.ratio * layer.power.ratio for layer in layers]
    return (_around_1(times), _around_1(energies))


def _around_1(ratios: Sequence[float]) -> tuple[float, float]:
    return min(1.0, *ratios), max(1.0, *ratios)
