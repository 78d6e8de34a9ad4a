"""Pictures of an estimate: cycles and energy of each layer, and the roofline with its layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from edgekit.npu.cost import DRAM, SHARED
from edgekit.npu.estimating import Estimate, LayerEstimate
from edgekit.npu.profile import NpuProfile
from edgekit.npu.schedule import BUFFER, REGISTERS
from edgekit.report.figures import (
    CARD,
    INK,
    PLAIN,
    SECOND,
    STRONG,
    drawing,
    svg_of,
)
from edgekit.report.labels import shortened

_STYLE = (
    "<style>svg{--ink:#1b1f24;--faint:#667080;--grid:#e1e5ea;--card:#ffffff;--strong:#0072b2;"
    "--second:#b8500a;--plain:#7d8794;background:var(--card)}@media (prefers-color-scheme:dark)"
    "{svg{--ink:#e8eaed;--faint:#98a2b0;--grid:#343a43;--card:#1d2127;--strong:#56b4e9;"
    "--second:#f0a24a;--plain:#8e99a8}}</style>"
)

_GROUPS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("arithmetic and registers", STRONG, ("mac", REGISTERS, "vector")),
    ("on-chip memories", PLAIN, ("network", BUFFER, SHARED)),
    ("DRAM", SECOND, (DRAM,)),
    ("static", INK, ("static",)),
)
"""Parts of the energy as they are drawn together."""

Draw = Callable[[Any, Sequence[LayerEstimate]], None]


def plots(estimate: Estimate, profile: NpuProfile) -> dict[str, str]:
    """The pictures as SVG files by name: cycles, energy, roofline; none where nothing is known."""
    layers = [layer for layer in estimate.layers if layer.cycles > 0]
    if not layers:
        return {}
    found = {
        "cycles": _bars(estimate, layers, "cycles", _cycles, "Cycles of each layer"),
        "energy": _bars(estimate, layers, "energy (µJ)", _energy, "Energy of each layer"),
    }
    roof = _roofline(estimate, profile)
    return {**found, "roofline": roof} if roof else found


def _bars(
    estimate: Estimate, layers: Sequence[LayerEstimate], axis: str, draw: Draw, label: str
) -> str:
    from matplotlib.figure import Figure

    name = label.split()[0].lower()
    with drawing(name):
        figure = Figure(figsize=(7.6, 0.95 + 0.17 * len(layers)))
        axes = figure.subplots()
        draw(axes, layers)
        axes.set_yticks(range(len(layers)), [_label(layer) for layer in layers], fontsize=7)
        axes.set_ylim(len(layers) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(axis)
        axes.set_title(f"{label}: {shortened(estimate.model)} on {estimate.npu}")
        axes.legend(loc="lower right", fontsize=8)
        return standalone(svg_of(figure, name, f"{label}; numbers in layers.csv"))


def _label(layer: LayerEstimate) -> str:
    return f"{layer.node} {layer.operator.lower().replace('_', ' ')}"


def _cycles(axes: Any, layers: Sequence[LayerEstimate]) -> None:
    colours = {"compute": STRONG, "the vector unit": PLAIN, "a memory": SECOND}
    bounds = [_bound(layer) for layer in layers]
    for bound, colour in colours.items():
        rows = [i for i, found in enumerate(bounds) if found == bound]
        if rows:
            cycles = [layers[i].cycles for i in rows]
            axes.barh(rows, cycles, color=colour, label=f"bound by {bound}")


def _bound(layer: LayerEstimate) -> str:
    if layer.bound_by != "compute":
        return "a memory"
    return "compute" if layer.unit == "array" else "the vector unit"


def _energy(axes: Any, layers: Sequence[LayerEstimate]) -> None:
    starts = [0.0] * len(layers)
    for text, colour, parts in _GROUPS:
        unknown = any(layer.energy_parts_j[part] is None for layer in layers for part in parts)
        values = [
            sum(layer.energy_parts_j[part] or 0.0 for part in parts) * 1e6 for layer in layers
        ]
        if any(values):
            said = f"{text} (products unknown)" if unknown else text
            axes.barh(range(len(layers)), values, left=starts, color=colour, label=said)
        starts = [start + value for start, value in zip(starts, values, strict=True)]


def _roofline(estimate: Estimate, profile: NpuProfile) -> str | None:
    from matplotlib.figure import Figure
    from matplotlib.ticker import StrMethodFormatter

    seconds = {layer.node: layer.cycles / profile.clock_hz for layer in estimate.layers}
    moved = {layer.node: _outside(layer) for layer in estimate.layers}
    shown = [layer for layer in estimate.layers if layer.macs and moved[layer.node]]
    if not shown:
        return None
    with drawing("roofline"):
        figure = Figure(figsize=(6.4, 4.2))
        axes = figure.subplots()
        xs = [layer.macs / moved[layer.node] for layer in shown]
        ys = [layer.macs / seconds[layer.node] / 1e9 for layer in shown]
        peak = profile.peak_macs_per_s / 1e9
        ends = (min(xs) / 2, max(*xs, 1.0) * 2)
        for memory, text, style in (
            (profile.dram, "if all came from the DRAM", "-"),
            (profile.shared, "if all came from the shared memory", (0, (4, 2))),
        ):
            if memory is None or memory.bandwidth_bytes_per_s is None:
                continue
            slope = memory.bandwidth_bytes_per_s / 1e9
            knee = min(max(peak / slope, ends[0]), ends[1])
            points = [ends[0], knee, ends[1]]
            roof = [min(peak, x * slope) for x in points]
            axes.plot(points, roof, color=INK, linewidth=1.2, linestyle=style, label=text)
        if not axes.lines:
            axes.axhline(peak, color=INK, linewidth=1.2, label="peak")
        for unit, colour, marker in (("array", STRONG, "o"), ("vector", SECOND, "s")):
            rows = [i for i, layer in enumerate(shown) if layer.unit == unit]
            if rows:
                axes.scatter(
                    [xs[i] for i in rows],
                    [ys[i] for i in rows],
                    s=26,
                    color=colour,
                    marker=marker,
                    edgecolors=CARD,
                    linewidths=0.6,
                    label=f"layers on the {unit}" + (" unit" if unit == "vector" else ""),
                    zorder=3,
                )
        axes.set_xscale("log")
        axes.set_yscale("log")
        for side in (axes.xaxis, axes.yaxis):
            side.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.set_xlabel("MACs per byte between the buffers and the memories outside")
        axes.set_ylabel("GMAC/s")
        axes.set_title(f"Roofline: {shortened(estimate.model)} on {estimate.npu}")
        axes.legend(loc="lower right", fontsize=8)
        return standalone(svg_of(figure, "roofline", "Roofline; numbers in layers.csv"))


def _outside(layer: LayerEstimate) -> float:
    return sum(sum(layer.bytes.get(name, (0.0, 0.0))) for name in (DRAM, SHARED))


def standalone(svg: str) -> str:
    """An inline figure as a file of its own, with the page's colours in it."""
    head, rest = svg.split(">", 1)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{head}>{_STYLE}{rest}\n'
