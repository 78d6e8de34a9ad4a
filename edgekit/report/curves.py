"""Losses and metrics of each training as small multiples, and latency distributions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from edgekit.comparison import Stage
from edgekit.report.figures import FAINT, INK, SECOND, STRONG, cost_axis, drawing, svg_of
from edgekit.report.labels import shortened
from edgekit.report.pareto import Plot

_PLAIN_LOSS = "loss"

SHOWN = ("min", "p50", "p90", "p99", "max")
"""What is drawn of a latency distribution, in rising order."""


def training_plot(stages: Sequence[Stage], name: str) -> Plot | None:
    """Loss and metrics over epochs, one row per stage; None where nothing was trained."""
    trained = [stage for stage in stages if stage.epochs and losses(stage) + metrics(stage)]
    if not trained:
        return None
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    with drawing(name):
        figure = Figure(figsize=(6.6, 0.9 + 1.15 * len(trained)))
        grid = figure.subplots(len(trained), 2, sharex=True, sharey="col", squeeze=False)
        for stage, (left, right) in zip(trained, grid, strict=True):
            for axes, keys, colour in (
                (left, losses(stage), STRONG),
                (right, metrics(stage), SECOND),
            ):
                for key in keys:
                    _history(axes, stage.history[key], colour, dashed=key.startswith("val_"))
                axes.locator_params(axis="y", nbins=4)
                if not keys:
                    axes.text(
                        0.5,
                        0.5,
                        "no metric recorded",
                        transform=axes.transAxes,
                        ha="center",
                        va="center",
                        color=INK,
                        fontsize=8,
                    )
            left.set_title(shortened(f"{stage.recipe}: {stage.name}", 44), fontsize=8.5)
        for axes, title in zip(grid[len(trained) // 2], ("loss", "metric"), strict=True):
            axes.set_ylabel(title)
        for axes in grid[-1]:
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        label = "Loss (left) and metrics (right) over epochs, one row per trained stage"
        svg = svg_of(figure, name, label)
    named = sorted({key for stage in trained for key in metrics(stage)})
    shown = f"right: {', '.join(named)}" if named else "no metric was recorded"
    return Plot(svg, f"Left: loss; {shown}. Solid: training data; dashed: validation data.")


def losses(stage: Stage) -> tuple[str, ...]:
    """The keys of a stage's loss curves."""
    return tuple(key for key in (_PLAIN_LOSS, f"val_{_PLAIN_LOSS}") if stage.history.get(key))


def metrics(stage: Stage) -> tuple[str, ...]:
    """The keys of one metric, with its validation: more would not be told apart."""
    plain = [
        key
        for key, values in stage.history.items()
        if values and not key.startswith("val_") and key != _PLAIN_LOSS and not _setting(key)
    ]
    # Accuracy where there is one: Keras lists further metrics and losses in no useful order.
    first = next((key for key in plain if "acc" in key), plain[0] if plain else None)
    if first is None:
        return ()
    return tuple(key for key in (first, f"val_{first}") if stage.history.get(key))


def _setting(key: str) -> bool:
    """Keras' callbacks log the learning rate among the metrics."""
    return key in ("lr", "learning_rate")


def latency_plot(board: str, records: Sequence[Mapping[str, Any]], name: str) -> Plot | None:
    """min, p50, p90, p99 and max of each recipe on a shared logarithmic axis."""
    runs = []
    for item in records:
        latency = item["record"].get("latency_ms") or {}
        read = [(latency.get(key) or {}).get("value") for key in SHOWN]
        values = [float(value) for value in read if isinstance(value, int | float) and value > 0]
        if len(values) == len(SHOWN):
            runs.append((str(item["recipe"]), values))
    if not runs:
        return None
    from matplotlib.figure import Figure

    with drawing(name):
        figure = Figure(figsize=(6.6, 0.8 + 0.27 * len(runs)))
        axes = figure.subplots()
        for place, (_, (least, p50, p90, p99, most)) in enumerate(runs):
            axes.plot([least, most], [place, place], color=FAINT, linewidth=1)
            axes.plot([p50, p90], [place, place], color=STRONG, linewidth=6, solid_capstyle="butt")
            axes.plot([p99], [place], marker="|", markersize=9, color=SECOND, markeredgewidth=2)
            axes.plot([p50], [place], marker="o", markersize=5, color=INK)
        cost_axis(axes, min(run[0] for _, run in runs), max(run[-1] for _, run in runs))
        axes.set_yticks(range(len(runs)), [shortened(recipe, 30) for recipe, _ in runs])
        axes.set_ylim(len(runs) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("latency of one inference (ms)")
        svg = svg_of(figure, name, f"Latency distribution of each recipe on {board}")
    return Plot(svg, "Line: min to max; bar: p50 to p90; dot: p50; tick: p99.")


def _history(axes: Any, values: Sequence[float], colour: str, *, dashed: bool) -> None:
    finite = [(i + 1, value) for i, value in enumerate(values) if math.isfinite(value)]
    if finite:
        axes.plot(
            *zip(*finite, strict=True),
            color=colour,
            linestyle=(0, (3, 1.5)) if dashed else "-",
            # A single epoch is a point, which a line does not show.
            marker="o" if len(finite) == 1 else None,
            markersize=3,
        )
