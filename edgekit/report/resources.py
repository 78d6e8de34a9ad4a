"""CPU and memory of each model over time, while the board ran it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median_low
from typing import Any

from edgekit.comparison import Row
from edgekit.report.figures import FAINT, INK, SECOND, STRONG, drawing, svg_of
from edgekit.report.format import digits, quantity
from edgekit.report.labels import shortened
from edgekit.report.pareto import Plot

_MOST_POINTS = 240
_PAUSE = 3.0
_PER_LINE = 4

Curve = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class _Quantity:
    """One figure: which sample it draws, and which number of the record stands for the run."""

    key: str
    whole: str
    factor: float
    colour: str
    axis: str
    label: str
    caption: str


_CPU = _Quantity(
    "cpu_cores",
    "cpu_cores",
    1.0,
    STRONG,
    "CPU cores in use",
    "CPU cores in use over time",
    "CPU cores in use by the process that runs the model{share}; number: mean of the run; dashed: "
    "mean of base.",
)
_MEMORY = _Quantity(
    "rss_bytes",
    "peak_rss_bytes",
    1e6,
    SECOND,
    "RSS (MB)",
    "Memory (RSS) over time",
    "Resident memory (RSS) of the same process; number: highest of the run; dashed: highest of "
    "base.",
)


@dataclass(frozen=True)
class Resources:
    """The two figures of a board, how its models shared the time, and who is missing and why."""

    cpu: Plot | None
    memory: Plot | None
    time: str
    missing: tuple[str, ...]


def resources(
    board: str, records: Sequence[Mapping[str, Any]], rows: Sequence[Row], name: str
) -> Resources:
    """Small multiples of one board's models; `rows` are those of the board."""
    drawn = [item for item in records if _samples(item)]
    return Resources(
        cpu=_plot(board, drawn, _CPU, f"{name}-cpu"),
        memory=_plot(board, drawn, _MEMORY, f"{name}-memory"),
        time=_time(drawn),
        missing=_missing(records, rows),
    )


def turns(samples: Sequence[Mapping[str, Any]], key: str, factor: float) -> list[Curve]:
    """(seconds, value) of each turn of a model; of many points the peak of each stretch.

    A turn ends where no sample follows for _PAUSE times the usual (median) interval.
    """
    points = [
        (float(sample["t_s"]), float(sample[key]) / factor)
        for sample in samples
        if sample.get(key) is not None and sample.get("t_s") is not None
    ]
    gaps = [later - sooner for (sooner, _), (later, _) in pairwise(points)]
    # The lower median: turns of two samples have as many pauses as intervals.
    longest = _PAUSE * median_low(gaps) if gaps else 0.0
    cuts = [i + 1 for i, gap in enumerate(gaps) if gap > longest]
    stretch = math.ceil(len(points) / _MOST_POINTS) or 1
    ends = pairwise([0, *cuts, len(points)])
    return [_peaks(points[start:end], stretch) for start, end in ends if end > start]


def end_to_end(parts: Sequence[Curve]) -> list[Curve]:
    """Turns on the model's own time: each begins where the one before it ended.

    A sample tells of the time since the one before it; the first of a turn is given as much.
    """
    gaps = [later - sooner for part in parts for (sooner, _), (later, _) in pairwise(part)]
    usual = median_low(gaps) if gaps else 0.0
    joined: list[Curve] = []
    start = 0.0
    for part in parts:
        shift = start + usual - part[0][0]
        joined.append([(seconds + shift, value) for seconds, value in part])
        start = joined[-1][-1][0]
    return joined


def _peaks(turn: Curve, stretch: int) -> Curve:
    """The highest of each stretch, with the turn's last sample, so that it keeps its length."""
    parts = [turn[i : i + stretch] for i in range(0, len(turn), stretch)]
    peaks = [(part[0][0], max(value for _, value in part)) for part in parts]
    return [*peaks, turn[-1]] if len(parts[-1]) > 1 else peaks


def _samples(item: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    samples = item["record"].get("samples") or ()
    keys = (_CPU.key, _MEMORY.key)
    return samples if any(turns(samples, key, 1.0) for key in keys) else ()


def _plot(
    board: str, drawn: Sequence[Mapping[str, Any]], what: _Quantity, name: str
) -> Plot | None:
    curves = [(item, turns(_samples(item), what.key, what.factor)) for item in drawn]
    curves = [(item, parts) for item, parts in curves if parts]
    if not curves:
        return None
    from matplotlib.figure import Figure

    across = min(_PER_LINE, len(curves))
    down = math.ceil(len(curves) / across)
    base = next((_whole(item, what) for item, _ in curves if item["recipe"] == "base"), None)
    with drawing(name):
        figure = Figure(figsize=(8.8, 0.75 + 1.0 * down))
        grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
        panels = [axes for line in grid for axes in line]
        for axes, (item, parts) in zip(panels, curves, strict=False):
            _panel(axes, end_to_end(parts), what.colour)
            if base is not None:
                axes.axhline(base / what.factor, color=INK, linewidth=0.8, linestyle=(0, (3, 2)))
            axes.set_title(shortened(str(item["recipe"]), 18), fontsize=8.5)
            axes.set_title(_said(item, what), loc="right", fontsize=8, fontweight="normal")
        for axes in panels[len(curves) :]:
            axes.set_visible(False)
        panels[0].set_ylim(bottom=0)
        panels[0].set_xlim(left=0)
        panels[0].locator_params(axis="both", nbins=4)
        for axes in panels[max(len(curves) - across, 0) : len(curves)]:
            axes.tick_params(labelbottom=True)
        figure.supxlabel("running time of the model itself (s)", fontsize=9)
        figure.supylabel(what.axis, fontsize=9)
        svg = svg_of(figure, name, f"{what.label} on {board}, one panel per recipe")
    return Plot(svg, what.caption.format(share=_share([item for item, _ in curves])))


def _panel(axes: Any, parts: Sequence[Curve], colour: str) -> None:
    for place, part in enumerate(parts):
        axes.fill_between(*zip(*part, strict=True), color=colour, alpha=0.18, lw=0)
        # A single sample is a point, which a line does not show.
        dot = "." if len(part) == 1 else None
        axes.plot(*zip(*part, strict=True), color=colour, linewidth=1.1, marker=dot, markersize=3)
        if place:
            axes.axvline(parts[place - 1][-1][0], color=FAINT, linewidth=0.5)


def _whole(item: Mapping[str, Any], what: _Quantity) -> float | None:
    value = (item["record"].get(what.whole) or {}).get("value")
    return float(value) if isinstance(value, int | float) else None


def _said(item: Mapping[str, Any], what: _Quantity) -> str:
    value = _whole(item, what)
    if value is None:
        return ""
    return digits(value) if what is _CPU else quantity(what.whole, value)


def _share(drawn: Sequence[Mapping[str, Any]]) -> str:
    """What one core is of the machine, where the records agree on it."""
    cores = {(item["record"].get("machine") or {}).get("cores") for item in drawn}
    count = next(iter(cores))
    if len(cores) > 1 or not isinstance(count, int) or count < 1:
        return ""
    return f" (1 core is {1 / count:.0%} of the machine)"


def _time(drawn: Sequence[Mapping[str, Any]]) -> str:
    """How the models shared the board's time, as their samples show it."""
    paused = False
    spans = []
    for item in drawn:
        seconds = [float(s["t_s"]) for s in _samples(item) if s.get("t_s") is not None]
        spans.append((min(seconds), max(seconds)))
        paused = paused or len(turns(_samples(item), _CPU.key, _CPU.factor)) > 1
    if not spans:
        return ""
    axis = "The time axis is each model's own running time"
    spans.sort()
    overlap = any(later[0] < sooner[1] for sooner, later in pairwise(spans))
    if overlap and paused:
        whole = digits(max(end for _, end in spans))
        return (
            f"The {len(spans)} models ran in interleaved turns within {whole} s, so that drift of "
            f"the machine meets all. {axis}: its turns are put end to end, and upright lines stand "
            "where others had theirs; nothing was sampled meanwhile."
        )
    if len(spans) > 1 and not overlap:
        return f"The {len(spans)} models ran one after another. {axis}."
    return f"{axis}."


def _missing(records: Sequence[Mapping[str, Any]], rows: Sequence[Row]) -> tuple[str, ...]:
    """ "P, C: no samples were taken", one text for each reason."""
    reasons: dict[str, list[str]] = {}
    for item in records:
        if not _samples(item):
            reasons.setdefault(_reason(item["record"]), []).append(str(item["recipe"]))
    ran = {str(item["recipe"]) for item in records}
    for row in rows:
        if row.recipe not in ran:
            why = "there is no file to run" if row.error else "its run was not recorded"
            reasons.setdefault(why, []).append(row.recipe)
    return tuple(f"{', '.join(names)}: {reason}" for reason, names in reasons.items())


def _reason(record: Mapping[str, Any]) -> str:
    error = record.get("error")
    if error:
        said = error.get("message") or error.get("kind") if isinstance(error, Mapping) else error
        return f"the run failed ({said})"
    if (record.get("machine") or {}).get("emulator"):
        return "the clock of an emulated board does not tell time"
    interval = (record.get("settings") or {}).get("sample_interval_s")
    if interval == 0:
        return "sampling was switched off"
    if isinstance(interval, int | float):
        return f"its turns were shorter than the sampling interval of {digits(interval)} s"
    return "the record holds no samples"
