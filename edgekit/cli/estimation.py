"""An NPU estimate as text for a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgekit.npu.cost import DRAM, PARTS, SHARED
from edgekit.npu.estimating import Estimate, LayerEstimate, NotEstimated
from edgekit.npu.profile import NpuProfile
from edgekit.npu.schedule import BUFFER
from edgekit.report.format import (
    MISSING,
    bytes_text,
    count_text,
    interval_text,
    joules_text,
    number_text,
)
from edgekit.report.labels import shortened

_PIPE_WIDTH = 140
_NAME_WIDTH = 24
_WIDE = 110
"""From this many columns on, the memories' traffic is shown."""
_LEAST = {"output": 136, "use": 90, "time": 84}
_PART_NAMES = {"mac": "products and sums"}


def print_estimate(estimate: Estimate, profile: NpuProfile) -> None:
    """Layers, totals, and what is not estimated and why."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(width=_PIPE_WIDTH, highlight=False)
    console.print(f"{estimate.model} on {estimate.npu}: {profile.description}", markup=False)
    if estimate.layers:
        console.print(layers_table(estimate, profile, console.width))
    console.print()
    for line in _totals(estimate, profile):
        console.print(line, markup=False, soft_wrap=True)
    for line in _left(estimate.not_estimated):
        console.print(line, markup=False, soft_wrap=True)


def layers_table(estimate: Estimate, profile: NpuProfile, width: int) -> Table:
    """One row per layer; in a narrow terminal columns are left out, never cut."""
    outside = [DRAM, SHARED] if profile.shared else [DRAM]
    memories = [*outside, BUFFER] if width >= _WIDE else []
    headings = ["#", "operator", "output", "on", "MACs", "cycles", "time", "use", "bound by"]
    headings = [name for name in [*headings, *memories, "energy"] if width >= _LEAST.get(name, 0)]
    left = ("operator", "output", "on", "bound by")
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="left" if heading in left else "right", no_wrap=True)
    for layer in estimate.layers:
        cells: dict[str, str | Text] = {
            "#": str(layer.node),
            "operator": layer.operator,
            "output": Text(shortened(layer.name, _NAME_WIDTH)),
            "on": _on(layer),
            "MACs": count_text(layer.macs) if layer.macs else "",
            "cycles": f"{layer.cycles:,.0f}",
            "time": number_text("latency_ms", layer.latency_ms, mark=""),
            "use": f"{layer.utilisation:.0%}" if layer.unit != "none" else "",
            "bound by": layer.bound_by,
            "energy": number_text("energy_j", layer.energy_j, mark=""),
        }
        for name in memories:
            cells[name] = bytes_text(sum(layer.bytes.get(name, (0.0, 0.0))))
        table.add_row(*(cells[heading] for heading in headings))
    return table


def _on(layer: LayerEstimate) -> str:
    if layer.unit == "none":
        return "view"
    name = layer.dataflow if layer.unit == "array" else "vector"
    return f"{name} x{layer.cores}" if layer.cores > 1 else name


def _totals(estimate: Estimate, profile: NpuProfile) -> list[str]:
    precision = estimate.precision
    latency, energy = estimate.latency_ms, estimate.energy_j
    lines = []
    for name, column, number in (
        ("Time", "latency_ms", latency),
        ("Energy", "energy_j", energy),
    ):
        said = number_text(column, number)
        if number.value is None:
            said = f"unavailable: {number.reason}"
        else:
            said += f" ({interval_text(column, number)})"
            said += f", {number.reason}" if number.reason else ""
        lines.append(f"{name}: {said}")
    if not estimate.layers:
        return lines
    seconds = estimate.cycles / profile.clock_hz
    use = estimate.macs / (seconds * profile.peak_macs_per_s) if seconds else 0.0
    lines.append(
        f"{estimate.cycles:,.0f} cycles at {profile.clock_hz / 1e6:,.0f} MHz, "
        f"{count_text(estimate.macs)} MACs, {use:.1%} of the arrays' peak"
    )
    known = [name for name in PARTS if estimate.energy_parts_j[name]]
    unknown = [name for name in PARTS if estimate.energy_parts_j[name] is None]
    parts = [f"{_part(name)} {joules_text(estimate.energy_parts_j[name] or 0)}" for name in known]
    parts += [f"{_part(name)} {MISSING}" for name in unknown]
    lines.append(f"Energy by part: {', '.join(parts)}")
    traffic = [
        f"{name} {bytes_text(read)} read, {bytes_text(written)} written"
        for name, (read, written) in estimate.bytes.items()
    ]
    lines.append(f"Traffic: {'; '.join(traffic)}")
    sums = min(precision.accumulator_bits, profile.array.accumulator_bits)
    skipping = "products counted by the delegate" if estimate.with_events else _static(estimate)
    lines.append(
        f"Arithmetic: weights {precision.weight_bits} bits, activations "
        f"{precision.activation_bits}, sums {sums}, multiplier "
        f"{precision.multiplier}; zeros skipped: {skipping}"
    )
    lines.append(
        "Intervals are the model's error on machines that were measured: docs/npu-cost-model.md"
    )
    return lines


def _part(name: str) -> str:
    return _PART_NAMES.get(name, name)


def _static(estimate: Estimate) -> str:
    return "the file's weights" if estimate.precision.skip_zero_weights else "none"


def _left(left: tuple[NotEstimated, ...]) -> list[str]:
    """One line for each reason, with the operators it holds for."""
    reasons: dict[str, list[str]] = {}
    for one in left:
        reasons.setdefault(one.reason, []).append(f"{one.operator} ({one.node})")
    if not reasons:
        return []
    lines = [f"Not estimated, and in no number above: {len(left)} operators"]
    return lines + [f"  {', '.join(names)}: {reason}" for reason, names in reasons.items()]
