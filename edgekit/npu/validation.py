"""The cost model against published figures: its error, as tables for the docs.

python -m edgekit.npu.validation > docs/npu-cost-model-error.md
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgekit.npu.cost import DRAM, Activity, Cost, Homes, cost_of
from edgekit.npu.dataflow import Gemm, compute_cycles, mapping_efficiency
from edgekit.npu.estimating import estimate
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


CORAL_PJ_PER_MAC = 1.0
"""Coral's data sheet: 2 TOPS per watt, which is 1 pJ for a product and its sum."""


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


def coral_energy_check() -> Check:
    """Energy per MAC on the chip, in the layer of VGG16 that keeps the array busiest."""
    found = estimate(workload("VGG16", vgg16()), load_npu("edge-tpu-like"))
    busiest = max(found.layers, key=lambda layer: layer.utilisation)
    on_chip = sum(value or 0.0 for part, value in busiest.energy_parts_j.items() if part != DRAM)
    what = f"VGG16, {busiest.name}: pJ per MAC"
    return Check(what, CORAL_PJ_PER_MAC, on_chip / busiest.macs * 1e12)


@dataclass(frozen=True)
class Ratios:
    """Truth over model of one machine: the least and the most of its figures, around 1."""

    machine: str
    latency: tuple[float, float]
    energy: tuple[float, float]


def measured_ratios(
    chip: Sequence[ChipLayer], coral: Sequence[Check], product: Check
) -> tuple[Ratios, ...]:
    """How far the machines that were measured are from the model."""
    times = _around_1([layer.time.ratio for layer in chip])
    energies = _around_1([layer.time.ratio * layer.power.ratio for layer in chip])
    board = _around_1([check.ratio for check in coral])
    return Ratios("eyeriss", times, energies), Ratios(
        "edge-tpu-like", board, _around_1([product.ratio])
    )


def _around_1(ratios: Sequence[float]) -> tuple[float, float]:
    return min(1.0, *ratios), max(1.0, *ratios)


def report() -> str:
    """The error of the model as Markdown: what docs/npu-cost-model-error.md holds."""
    chip, coral, product = eyeriss_layers(), coral_checks(), coral_energy_check()
    rows = [*chip, eyeriss_total(chip)]
    layers = scale_sim_alexnet()
    given, chosen, schedule = timeloop_costs()
    parts = [
        "# The error of the NPU cost model",
        "Made by `python -m edgekit.npu.validation > docs/npu-cost-model-error.md`; a test keeps "
        "it in step. How the model works: [npu-cost-model.md](npu-cost-model.md).",
        "## SCALE-Sim: compute cycles, 32x32 array, no stalls",
        "Published are the cycles and the mapping efficiency that SCALE-Sim itself prints.",
        _checks(scale_sim_checks()),
        "The other layers of its AlexNet, by the same formulas (SCALE-Sim's own output of them was "
        "not at hand):",
        _table(
            ["layer", "pixels x filters x depth", *_FLOWS],
            [
                [
                    name,
                    f"{loops.gemm.m} x {loops.gemm.n} x {loops.gemm.k}",
                    *(f"{compute_cycles(loops.gemm, *ARRAY, flow):,}" for flow in _FLOWS),
                ]
                for name, loops in layers
            ],
        ),
        "## Timeloop: its Eyeriss-like example, mapping given",
        "Published is the reference output of `eyeriss_like` (timeloop-accelergy-exercises). Reads "
        "and writes of a memory cost the same here, and not quite the same there.",
        _checks(timeloop_checks()),
        f"The mapping that this model chooses for the layer, `{schedule.mapping}`, takes "
        f"{chosen.latency_cycles:,.0f} cycles and {total_j(chosen) * 1e6:.2f} µJ; Timeloop's takes "
        f"{given.latency_cycles:,.0f} cycles and, counted here, {total_j(given) * 1e6:.2f} µJ.",
        "## The Eyeriss chip: AlexNet, batches of 4",
        "Measured are Chen et al.'s figures (JSSC 2017), **taken from memory and not checked "
        "against the paper**; times and powers agree with its totals. The power is the chip's, "
        "without DRAM. Products with a zero input are gated; the shares of zeros are from memory "
        "too. The model knows no clock tree, no control and no link that idles, which are a large "
        "part of the measured power and do not shrink with zeros.",
        _table(
            ["layer", "ms measured", "model", "error", "mW measured", "model", "error"],
            [[x.name, *_pair(x.time, 1), *_pair(x.power, 0)] for x in rows],
        ),
        "## Coral's Edge TPU: whole networks, int8, Dev Board",
        "Measured are the times of Coral's benchmark page. The profile `edge-tpu-like` takes its "
        "speed and memory from the data sheet and the rest (array shape, buffer, vector unit) from "
        "assumptions; only matrix products are counted.",
        _table(
            ["network", "ms measured", "model", "error"],
            [[check.what, *_pair(check, 2)] for check in coral],
        ),
        "The data sheet's 2 TOPS per watt are 1 pJ per MAC. The model's energies are those of a "
        "28 nm process, which is an assumption, so that agreement may be luck:",
        _table(["", "published", "model", "error"], [[product.what, *_pair(product, 2)]]),
        "## What follows for the intervals",
        "Truth over model, least and most, around 1:",
        _table(
            ["machine", "time", "energy"],
            [
                [x.machine, _range(x.latency), _range(x.energy)]
                for x in measured_ratios(chip, coral, product)
            ],
        ),
    ]
    return "\n\n".join(parts) + "\n"


_FLOWS = ("WS", "OS", "IS")


def _checks(checks: Iterable[Check]) -> str:
    rows = [
        [x.what, _figure(x.published), _figure(x.modelled), f"{x.error:+.1%}" if x.error else "0"]
        for x in checks
    ]
    return _table(["", "published", "model", "error"], rows)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:.5%}"


def _pair(check: Check, digits: int) -> list[str]:
    return [f"{check.published:.4g}", f"{check.modelled:.{digits}f}", f"{check.error:+.0%}"]


def _range(ends: tuple[float, float]) -> str:
    return f"{ends[0]:.2f} to {ends[1]:.2f}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    print(report(), end="")
