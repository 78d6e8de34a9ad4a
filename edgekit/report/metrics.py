"""The task's further metrics of each file: precision and recall, PSNR and the like."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.comparison import Comparison, Metric
from edgekit.report.format import MISSING, digits


@dataclass(frozen=True)
class MetricLine:
    """One recipe's metrics as text, in the order of the headings."""

    recipe: str
    texts: tuple[str, ...]


@dataclass(frozen=True)
class MetricSection:
    """All recipes' metrics; `notes` say why some are missing."""

    headings: tuple[str, ...]
    lines: tuple[MetricLine, ...]
    notes: tuple[str, ...]


def metric_section(comparison: Comparison) -> MetricSection:
    """One line for each recipe that has further metrics: they are its file's, not a board's."""
    found = {row.recipe: row.metrics for row in comparison.rows if row.metrics}
    every = [metric for metrics in found.values() for metric in metrics]
    shown = list(
        {metric.name: metric for metric in every if metric.value.value is not None}.values()
    )
    lines = tuple(
        MetricLine(recipe, tuple(_text(metrics, metric.name) for metric in shown))
        for recipe, metrics in found.items()
    )
    missing = dict.fromkeys(
        f"{metric.name}: unavailable, {metric.value.reason}"
        for metric in every
        if metric.value.value is None
    )
    return MetricSection(tuple(map(_heading, shown)), lines if shown else (), tuple(missing))


def metric_text(metric: Metric) -> str:
    """One metric in a line: "PSNR: 21.3 dB (20.9 to 21.7)"."""
    number = metric.value
    if number.value is None:
        return f"{metric.name}: unavailable ({number.reason})"
    unit = f" {metric.unit}" if metric.unit else ""
    if number.low is None or number.high is None:
        return f"{metric.name}: {_digits(number.value)}{unit}"
    span = f"{_digits(number.low)} to {_digits(number.high)}"
    return f"{metric.name}: {_digits(number.value)}{unit} ({span})"


def _heading(metric: Metric) -> str:
    asides = [metric.unit] if metric.unit else []
    asides += [] if metric.more else ["less is better"]
    return f"{metric.name} ({', '.join(asides)})" if asides else metric.name


def _text(metrics: tuple[Metric, ...], name: str) -> str:
    number = next((metric.value for metric in metrics if metric.name == name), None)
    if number is None or number.value is None:
        return MISSING
    if number.low is None or number.high is None:
        return _digits(number.value)
    return f"{_digits(number.value)} ({_digits(number.low)}–{_digits(number.high)})"


def _digits(value: float) -> str:
    """A share with three decimals, all else with three digits."""
    return f"{value:.3f}" if abs(value) <= 1 else digits(value)
