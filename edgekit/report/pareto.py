"""The Pareto plots: accuracy against latency on each board, and against the size of the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from edgekit.report.figures import CARD, FAINT, INK, PLAIN, STRONG, cost_axis, drawing, svg_of
from edgekit.report.format import capital
from edgekit.report.grid import Line, number_of
from edgekit.report.labels import place, shortened
from edgekit_device.number import Number

_MOST_NAMES = 20

Point = tuple[float, float]


@dataclass(frozen=True)
class Plot:
    """One drawing and what stands below it."""

    svg: str
    caption: str


def pareto_plot(
    lines: Sequence[Line], column: str, board: str, name: str, metric: str = "accuracy"
) -> Plot | None:
    """The main metric against `column` with both intervals; None where no row has both numbers.

    A row whose file is another's is that other's point over again, and left out.
    """
    twins = sum(bool(line.row.same_as) for line in lines)
    lines = [line for line in lines if not line.row.same_as]
    shown = [
        line
        for line in lines
        if line.row.accuracy.value is not None and number_of(line.row, column).value is not None
    ]
    if not shown:
        return None
    from matplotlib.figure import Figure

    cost = "latency p50" if column == "latency_p50_ms" else "file size"
    with drawing(name):
        figure = Figure(figsize=(4.7, 3.6))
        axes = figure.subplots()
        factor, unit = _unit(column, [_value(line, column) for line in shown])
        xs = [_value(line, column) / factor for line in shown]
        ys = [_value(line, "accuracy") for line in shown]
        _bars(axes, shown, column, factor, xs, ys)
        front = _front(list(zip(xs, ys, strict=True)))
        axes.step(
            *zip(*front, strict=True),
            where="post",
            color=STRONG,
            linewidth=1.1,
            linestyle=(0, (4, 2)),
            zorder=2,
        )
        for best, marker, colour, size in ((False, "o", PLAIN, 28), (True, "*", STRONG, 110)):
            chosen = [i for i, line in enumerate(shown) if line.row.pareto is best]
            axes.scatter(
                [xs[i] for i in chosen],
                [ys[i] for i in chosen],
                s=size,
                marker=marker,
                color=colour,
                edgecolors=CARD,
                linewidths=0.8,
                zorder=4,
            )
        _limits(axes, xs, ys, shown, column, factor)
        mark = (
            ", emulated" if any(number_of(x.row, column).how == "emulated" for x in shown) else ""
        )
        axes.set_xlabel(f"{cost} ({unit}{mark}), less is better")
        axes.set_ylabel(f"{metric}, more is better")
        # Labels are placed in the final coordinates of the laid-out figure.
        figure.draw_without_rendering()
        numbered = _label(figure, axes, shown, xs, ys, _segments(shown, column, factor, xs, ys))
        label = f"{capital(metric)} against {cost} on {board}; numbers in the table"
        svg = svg_of(figure, name, label)
    missing = len(lines) - len(shown)
    caption = "Bars are intervals; the dashed line is the front of these two quantities alone."
    if numbered:
        caption += " Numbers are those of the rows in the table."
    if twins:
        caption += f" Not drawn again: {twins} whose file is another's."
    if missing:
        caption += f" Not drawn, for want of a number: {missing} of {len(lines)} rows."
    return Plot(svg, caption)


def _value(line: Line, column: str) -> float:
    return float(number_of(line.row, column).value or 0.0)


def _unit(column: str, values: Sequence[float]) -> tuple[float, str]:
    """The unit for an axis, by its largest value: (factor, unit)."""
    largest = max(values)
    if column == "latency_p50_ms":
        return (1e3, "s") if largest >= 1e3 else (1.0, "ms") if largest >= 1 else (1e-3, "µs")
    return (1e6, "MB") if largest >= 1e6 else (1e3, "kB") if largest >= 1e3 else (1.0, "B")


def _ends(number: Number) -> tuple[float, float]:
    """How far the interval reaches below and above the value."""
    if number.value is None or number.low is None or number.high is None:
        return 0.0, 0.0
    return number.value - number.low, number.high - number.value


def _bars(
    axes: Any, shown: Sequence[Line], column: str, factor: float, xs: list[float], ys: list[float]
) -> None:
    across = [[end / factor for end in _ends(number_of(line.row, column))] for line in shown]
    up = [_ends(line.row.accuracy) for line in shown]
    axes.errorbar(
        xs,
        ys,
        xerr=list(zip(*across, strict=True)),
        yerr=list(zip(*up, strict=True)),
        fmt="none",
        ecolor=FAINT,
        elinewidth=0.9,
        alpha=0.7,
        zorder=1,
    )


def _front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points that no other beats in both quantities, by rising cost."""
    front: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or y > front[-1][1]:
            front.append((x, y))
    return front


def _limits(
    axes: Any, xs: list[float], ys: list[float], shown: Sequence[Line], column: str, factor: float
) -> None:
    reach = [_ends(number_of(line.row, column)) for line in shown]
    lows = [x - low / factor for x, (low, _) in zip(xs, reach, strict=True)]
    highs = [x + high / factor for x, (_, high) in zip(xs, reach, strict=True)]
    cost_axis(axes, min(lows) if min(lows) > 0 else min(xs), max(highs))
    spread = [end for line in shown for end in _ends(line.row.accuracy)]
    margin = max(0.25 * (max(ys) - min(ys)), *spread, 0.002 * abs(max(ys)), 1e-6) * 1.15
    bottom = min(ys) - margin
    # An accuracy ends at 1: above it only as much room as the marks need.
    axes.set_ylim(bottom, min(max(ys) + margin, 1 + 0.08 * (1 - bottom)))


def _segments(
    shown: Sequence[Line], column: str, factor: float, xs: list[float], ys: list[float]
) -> list[tuple[Point, Point]]:
    """What is drawn as level or upright lines: intervals and the front; low ends first."""
    segments: list[tuple[Point, Point]] = []
    for line, x, y in zip(shown, xs, ys, strict=True):
        left, right = (end / factor for end in _ends(number_of(line.row, column)))
        down, up = _ends(line.row.accuracy)
        segments += [((x - left, y), (x + right, y)), ((x, y - down), (x, y + up))]
    front = _front(list(zip(xs, ys, strict=True)))
    for (x, y), (next_x, next_y) in pairwise(front):
        segments += [((x, y), (next_x, y)), ((next_x, y), (next_x, next_y))]
    return segments


def _label(
    figure: Any,
    axes: Any,
    shown: Sequence[Line],
    xs: list[float],
    ys: list[float],
    segments: Sequence[tuple[Point, Point]],
) -> bool:
    """Write names where all find room, otherwise row numbers; say whether numbers were used."""
    from matplotlib.transforms import Affine2D

    # Display points, as the boxes of labels are measured in the points of their font.
    to_points = axes.transData + Affine2D().scale(72 / figure.dpi)
    order = sorted(range(len(shown)), key=lambda i: (not shown[i].row.pareto, i))
    points = [tuple(to_points.transform((xs[i], ys[i]))) for i in order]
    left, bottom, right, top = (end * 72 / figure.dpi for end in axes.bbox.extents)
    frame = (left + 1, bottom + 1, right, top)
    names = [shortened(shown[i].row.recipe) for i in order]
    numbers = [str(shown[i].number) for i in order]
    lines = [(*to_points.transform(start), *to_points.transform(end)) for start, end in segments]
    placed = place(points, names, frame, lines=lines) if len(names) <= _MOST_NAMES else None
    numbered = placed is None
    if placed is None:
        placed = place(points, numbers, frame, lines=lines) or []
    back = to_points.inverted()
    for i, point, label in zip(order, points, placed, strict=False):
        x, y = back.transform((label.x, label.y))
        if label.far:
            axes.plot(
                [back.transform(point)[0], x],
                [back.transform(point)[1], y],
                color=FAINT,
                linewidth=0.6,
                zorder=1,
            )
        axes.text(
            x,
            y,
            label.text,
            ha="center",
            va="center_baseline",
            fontsize=8,
            color=INK,
            fontweight="bold" if shown[i].row.pareto else "normal",
            zorder=5,
            in_layout=False,
        )
    return numbered
