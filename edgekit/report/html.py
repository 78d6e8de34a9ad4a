"""The comparison as one HTML page that opens offline."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from edgekit.comparison import COLUMNS, Comparison, LayerSaving, Stage
from edgekit.pareto import any_weighed_together
from edgekit.report.answer import answers
from edgekit.report.circumstances import Circumstances, circumstances
from edgekit.report.curves import latency_plot, training_plot
from edgekit.report.evidence import PERCENTILES, Evidence, busy_before, evidence, idle, machines
from edgekit.report.format import (
    LEGEND,
    MISSING,
    WEIGHED_TOGETHER,
    capital,
    count_text,
    digits,
)
from edgekit.report.grid import BASE, Grid, Line, grid, heading, letters, note_of
from edgekit.report.metrics import metric_section
from edgekit.report.npus import npu_columns, npu_sections
from edgekit.report.pareto import Plot, pareto_plot
from edgekit.report.proofs import file_proofs, share, stage_proofs
from edgekit.report.resources import Resources, resources
from edgekit.report.techniques import COLUMNS_SHOWN, parameters_plot, techniques


@dataclass(frozen=True)
class Figure:
    """A plot with its title."""

    title: str
    plot: Plot


@dataclass(frozen=True)
class BoardEvidence:
    """All runs on one board, with their plots; `counted`: an emulated board's instructions."""

    board: str
    machines: tuple[str, ...]
    idle: tuple[str, ...]
    busy: str
    runs: tuple[Evidence, ...]
    around: tuple[Circumstances, ...]
    counted: bool
    latency: Plot | None
    resources: Resources


@dataclass(frozen=True)
class Bars:
    """Two bars, before and after: their widths in percent and what they are labelled with."""

    widths: tuple[float, float]
    texts: tuple[str, str]


@dataclass(frozen=True)
class LayerBars:
    """One convolution before and after."""

    layer: LayerSaving
    parameters: Bars
    macs: Bars


@dataclass(frozen=True)
class LayerBlock:
    """The convolutions that one stage decided on, and their sums as text."""

    recipe: str
    layers: tuple[LayerBars, ...]
    totals: dict[str, str]


def comparison_to_html(comparison: Comparison) -> str:
    """The page: answer, table, techniques, plots, layers, training, files, evidence, settings."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup, escape

    here = files("edgekit.report")
    environment = Environment(
        loader=FunctionLoader(lambda name: here.joinpath(name).read_text("utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Drawings are our own text, in which svg_of and matplotlib have escaped every name.
    environment.filters["drawing"] = lambda plot: Markup(plot.svg)
    # A long recipe may be broken after a pass, not within one.
    environment.filters["steps"] = lambda name: escape(name).replace("+", Markup("+<wbr>"))
    environment.filters["share"] = share
    environment.filters["capital"] = capital
    template = environment.get_template("template.html")
    shown = grid(comparison)
    side_by_side = techniques(shown, comparison.stages)
    found = answers(comparison)
    return template.render(
        comparison=comparison,
        style=Markup(here.joinpath("style.css").read_text("utf-8")),
        answers=found,
        shipped={(answer.board, answer.recipe) for answer in found},
        base=BASE,
        grid=shown,
        columns=[
            (column, heading(column, comparison.metric), note_of(column)) for column in COLUMNS
        ],
        letters=letters(comparison.rows),
        together=WEIGHED_TOGETHER if any_weighed_together(comparison.rows) else "",
        techniques=side_by_side,
        technique_columns=[
            (column, heading(column, comparison.metric).partition("/")[0])
            for column in COLUMNS_SHOWN
        ],
        parameters=parameters_plot(comparison, "parameters") if side_by_side else None,
        legend=[LEGEND[how] for how in shown.marks],
        has_base=any(line.row.recipe == BASE for line in shown.lines),
        metric=comparison.metric,
        metrics=metric_section(comparison),
        pareto=_pareto(shown, comparison.metric),
        blocks=_blocks(comparison.layers),
        npus=npu_sections(comparison),
        npu_columns=npu_columns(comparison.metric),
        stages=stage_proofs(comparison.stages),
        files=file_proofs(comparison.rows),
        seconds=_duration,
        training=training_plot(_own(comparison.stages), "training"),
        evidence=_evidence(comparison),
        percentiles=PERCENTILES,
        settings=[(key, _plain(value)) for key, value in comparison.settings.items()],
    )


def _pareto(shown: Grid, metric: str) -> list[Figure]:
    """A panel for each board, and one for the size of the files, which boards share."""
    figures = []
    for i, group in enumerate(shown.boards):
        plot = pareto_plot(group.lines, "latency_p50_ms", group.board, f"pareto-{i}", metric)
        if plot is not None:
            figures.append(Figure(f"Latency on {group.board}", plot))
    first: dict[tuple[str, str], Line] = {}
    for line in shown.lines:
        first.setdefault((line.row.recipe, line.row.file), line)
    plot = pareto_plot(list(first.values()), "file_bytes", "any board", "pareto-size", metric)
    if plot is not None:
        figures.append(Figure("Size of the file", plot))
    return figures


def _own(stages: Sequence[Stage]) -> list[Stage]:
    """Stages without those that another recipe of this comparison trained."""
    own: list[Stage] = []
    for stage in stages:
        twin = any(stage.name == other.name and stage.history == other.history for other in own)
        if not (stage.reused and twin):
            own.append(stage)
    return own


def _blocks(layers: Sequence[LayerSaving]) -> list[LayerBlock]:
    """A block for each stage, bars on one scale for all, so that large layers look large."""
    parameters = [(layer.parameters_before, layer.parameters_after) for layer in layers]
    macs = [(layer.macs_before, layer.macs_after) for layer in layers]
    blocks: dict[str, list[LayerBars]] = {}
    for layer, *bars in zip(layers, _bars(parameters), _bars(macs), strict=True):
        blocks.setdefault(layer.recipe, []).append(LayerBars(layer, *bars))
    return [
        LayerBlock(recipe, tuple(items), _totals([item.layer for item in items]))
        for recipe, items in blocks.items()
    ]


def _bars(pairs: Sequence[tuple[int | None, int | None]]) -> list[Bars]:
    """Widths in percent of the largest count; an unknown count has no bar and a dash."""
    largest = max((count or 0 for pair in pairs for count in pair), default=0) or 1
    return [
        Bars(
            widths=(100 * (before or 0) / largest, 100 * (after or 0) / largest),
            texts=(_count(before), _count(after)),
        )
        for before, after in pairs
    ]


def _count(count: int | None) -> str:
    return MISSING if count is None else count_text(count)


def _totals(layers: Sequence[LayerSaving]) -> dict[str, str]:
    """The sums over these convolutions as text; a dash where a layer's count is unknown."""
    names = ("parameters_before", "parameters_after", "macs_before", "macs_after")
    totals = {}
    for name in names:
        counts = [getattr(layer, name) for layer in layers]
        totals[name] = _count(None if None in counts else sum(counts))
    return totals


def _evidence(comparison: Comparison) -> list[BoardEvidence]:
    by_board: dict[str, list[Mapping[str, Any]]] = {}
    for item in comparison.records:
        by_board.setdefault(str(item["board"]), []).append(item)
    return [
        BoardEvidence(
            board=board,
            machines=machines(items),
            idle=idle(items),
            busy=busy_before(items),
            runs=(runs := tuple(evidence(item) for item in items)),
            counted=any(run.instructions != MISSING for run in runs),
            around=tuple(circumstances(item) for item in items),
            latency=latency_plot(board, items, f"latency-{i}"),
            resources=resources(
                board,
                items,
                [row for row in comparison.rows if row.board == board],
                f"resources-{i}",
            ),
        )
        for i, (board, items) in enumerate(by_board.items())
    ]


def _duration(seconds: float) -> str:
    """23.2 s, 4 min 10 s, 2 h 3 min."""
    if not seconds >= 60:
        return f"{digits(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"


def _plain(value: object) -> str:
    """A setting as text: strings bare, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
