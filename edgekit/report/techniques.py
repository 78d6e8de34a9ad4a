"""The techniques side by side: Table 12 and Figure 9 of the LCRM paper for the user's model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgekit.comparison import Comparison, Row, Stage
from edgekit.report.figures import FAINT, INK, SECOND, STRONG, drawing, svg_of
from edgekit.report.format import MISSING, count_text
from edgekit.report.grid import Grid, Line
from edgekit.report.labels import shortened
from edgekit.report.pareto import Plot

COLUMNS_SHOWN = (
    "accuracy",
    "latency_p50_ms",
    "file_bytes",
    "gzip_bytes",
    "zstd_bytes",
    "energy_j",
)
"""What this table repeats of the large one, for reading beside the training."""

NOT_TRAINED = "not trained here"


@dataclass(frozen=True)
class Technique:
    """One recipe with the training behind it; counts are those of the model in its last stage."""

    line: Line
    epochs: str
    best: str
    trainable: str
    other: str


def techniques(shown: Grid, stages: Sequence[Stage]) -> dict[str, tuple[Technique, ...]]:
    """The lines of each board with their training; empty where no recipe was trained."""
    known = {stage.recipe: stage for stage in stages}
    if not any(stage.epochs for line in shown.lines for stage in _behind(line.row, known)):
        return {}
    return {
        group.board: tuple(_technique(line, _behind(line.row, known)) for line in group.lines)
        for group in shown.boards
    }


def _behind(row: Row, known: Mapping[str, Stage]) -> list[Stage]:
    return [known[name] for name in row.stages if name in known]


def _technique(line: Line, behind: Sequence[Stage]) -> Technique:
    last = behind[-1] if behind else None
    return Technique(
        line=line,
        epochs="+".join(str(stage.epochs) for stage in behind) or MISSING,
        best="+".join(str(stage.best_epoch or MISSING) for stage in behind),
        trainable=_count(last.trainable_parameters if last else None),
        other=_count(last.other_parameters if last else None),
    )


def _count(count: int | None) -> str:
    return MISSING if count is None else count_text(count)


def parameters_plot(comparison: Comparison, name: str) -> Plot | None:
    """Trainable and other parameters while a recipe was trained, and those that it ships."""
    known = {stage.recipe: stage for stage in comparison.stages}
    rows = list({row.recipe: row for row in reversed(comparison.rows)}.values())[::-1]
    shown = [(row, next(reversed(_behind(row, known)), None)) for row in rows]
    if not any(stage and stage.trainable_parameters is not None for _, stage in shown):
        return None
    from matplotlib.figure import Figure

    counts = [_counts(stage) for _, stage in shown]
    shipped = [row.parameters.value for row, _ in shown]
    largest = max([trained + other for trained, other in counts] + [n or 0 for n in shipped])
    factor, unit = next((step for step in _UNITS if largest >= step[0]), (1, ""))
    with drawing(name):
        figure = Figure(figsize=(6.6, 1.0 + 0.27 * len(shown)))
        axes = figure.subplots()
        places = range(len(shown))
        trained, other = ([pair[i] / factor for pair in counts] for i in (0, 1))
        axes.barh(places, trained, 0.62, color=STRONG, label="trainable")
        axes.barh(places, other, 0.62, left=trained, color=SECOND, label="other")
        axes.scatter(
            [n / factor for n in shipped if n is not None],
            [place for place, n in zip(places, shipped, strict=True) if n is not None],
            **_MARKER,
        )
        for place, (_, stage), pair, count in zip(places, shown, counts, shipped, strict=True):
            end = max(sum(pair), count or 0) / factor
            said = NOT_TRAINED if stage is None else _said(stage)
            axes.annotate(
                said,
                (end, place),
                (7, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
                color=INK if stage else FAINT,
            )
        axes.set_yticks(places, [shortened(row.recipe, 30) for row, _ in shown])
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set_xlim(0, 1.28 * max(largest, 1) / factor)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(f"parameters{f' ({unit})' if unit else ''}")
        figure.legend(loc="outside upper left", ncols=3, fontsize=8.5)
        svg = svg_of(figure, name, "Trainable, other and shipped parameters of each recipe")
    return Plot(
        svg,
        "Bars: the model as its last stage trained it, counted. Other: the weights that "
        "no gradient moves, and the masks, centroids and ranges that the stage itself needs, which "
        "do not go into the file. Diamond: what the model has that the file was made of, zeros "
        "included.",
    )


_UNITS = ((1e6, "million"), (1e3, "thousand"))
_MARKER: dict[str, Any] = {
    "marker": "D",
    "s": 22,
    "color": INK,
    "zorder": 4,
    "label": "in the model shipped",
}


def _counts(stage: Stage | None) -> tuple[int, int]:
    if stage is None:
        return 0, 0
    return stage.trainable_parameters or 0, stage.other_parameters or 0


def _said(stage: Stage) -> str:
    if stage.trainable_parameters is None:
        return "not recorded"
    return f"{_count(stage.trainable_parameters)} + {_count(stage.other_parameters)}"
