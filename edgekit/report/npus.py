"""The section on emulated NPUs: what each file came to there, and where its cycles went."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgekit.comparison import Comparison
from edgekit.npu.outcome import NpuOutcome
from edgekit.report.format import (
    MISSING,
    bytes_text,
    count_text,
    digits,
    interval_text,
    joules_text,
    number_text,
)
from edgekit_device.number import Number

Text = Callable[[Number], str]

COLUMNS_SHOWN: tuple[tuple[str, str, Text], ...] = (
    ("accuracy", "accuracy", lambda number: number_text("accuracy", number, mark="")),
    ("latency_ms", "time", lambda number: number_text("latency_ms", number, mark="")),
    ("energy_j", "energy", lambda number: number_text("energy_j", number, mark="")),
    ("cycles", "cycles", lambda number: _count(number)),
    ("utilisation", "use of the arrays", lambda number: _share(number)),
    ("dram_bytes", "DRAM traffic", lambda number: _known(number, bytes_text)),
    ("skipped_share", "MACs skipped", lambda number: _share(number)),
    ("saturations", "saturations", lambda number: _known(number, _mean)),
)
"""The numbers of an outcome that the table shows: field, heading, text."""

_INTERVALS = ("accuracy", "latency_ms", "energy_j")


def npu_columns(metric: str) -> list[tuple[str, str]]:
    """Field and heading of each number that the table shows; `metric` is what accuracy is."""
    return [
        (field, metric if field == "accuracy" else heading) for field, heading, _ in COLUMNS_SHOWN
    ]


@dataclass(frozen=True)
class Entry:
    """One number: its text, its interval, how it came about or why it is missing."""

    text: str
    interval: str
    how: str


@dataclass(frozen=True)
class LayerLine:
    """One operator with the share of the file's cycles and energy that it takes, in percent."""

    name: str
    unit: str
    bound_by: str
    cycles: str
    cycles_width: float
    energy: str
    energy_width: float


@dataclass(frozen=True)
class OutcomeLine:
    """One recipe on the NPU; `remarks` say what stays on the CPU or is not estimated, and why."""

    recipe: str
    coverage: str
    error: str
    entries: tuple[Entry, ...]
    parts: tuple[tuple[str, str], ...]
    layers: tuple[LayerLine, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class NpuSection:
    """All recipes on one NPU; `hows` says per column how its numbers came about."""

    npu: str
    hows: tuple[str, ...]
    lines: tuple[OutcomeLine, ...]


def npu_sections(comparison: Comparison) -> list[NpuSection]:
    """One section for each NPU, in order of appearance."""
    names = dict.fromkeys(outcome.npu for outcome in comparison.npus)
    return [
        _section(name, [outcome for outcome in comparison.npus if outcome.npu == name])
        for name in names
    ]


def _section(npu: str, outcomes: Sequence[NpuOutcome]) -> NpuSection:
    return NpuSection(
        npu,
        tuple(_how(outcomes, field) for field, _, _ in COLUMNS_SHOWN),
        tuple(map(_line, outcomes)),
    )


def _how(outcomes: Sequence[NpuOutcome], field: str) -> str:
    hows = {number.how for number in (getattr(one, field) for one in outcomes)} - {"unavailable"}
    return next(iter(hows)) if len(hows) == 1 else "mixed" if hows else ""


def _line(outcome: NpuOutcome) -> OutcomeLine:
    cycles = max((layer.cycles for layer in outcome.layers), default=0.0) or 1.0
    energy = max((layer.energy_j or 0.0 for layer in outcome.layers), default=0.0) or 1.0
    return OutcomeLine(
        recipe=outcome.recipe,
        coverage=outcome.coverage or MISSING,
        error=outcome.error or "",
        entries=tuple(_entry(outcome, field, text) for field, _, text in COLUMNS_SHOWN),
        parts=tuple(
            (name, joules_text(number.value))
            for name, number in outcome.energy_parts_j
            if number.value
        ),
        layers=tuple(
            LayerLine(
                name=f"{layer.node} {layer.operator}",
                unit=layer.unit,
                bound_by=layer.bound_by,
                cycles=f"{layer.cycles:,.0f}",
                cycles_width=100 * layer.cycles / cycles,
                energy=MISSING if layer.energy_j is None else joules_text(layer.energy_j),
                energy_width=100 * (layer.energy_j or 0.0) / energy,
            )
            for layer in outcome.layers
            if layer.cycles
        ),
        remarks=(
            *_remarks("runs on the CPU", outcome.left),
            *_remarks("has no estimate", outcome.not_estimated),
        ),
    )


def _entry(outcome: NpuOutcome, field: str, text: Text) -> Entry:
    number: Number = getattr(outcome, field)
    interval = interval_text(field, number) if field in _INTERVALS else ""
    return Entry(text(number), interval, number.reason or number.how)


def _remarks(what: str, items: Sequence[tuple[str, str]]) -> list[str]:
    """One sentence for each reason, with all that it holds for."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in items:
        by_reason.setdefault(reason, []).append(name)
    return [f"{', '.join(names)} {what}: {reason}" for reason, names in by_reason.items()]


def _known(number: Number, text: Callable[[float], str]) -> str:
    return MISSING if number.value is None else text(number.value)


def _count(number: Number) -> str:
    return _known(number, count_text)


def _share(number: Number) -> str:
    return _known(number, lambda value: f"{value:.1%}")


def _mean(value: float) -> str:
    return f"{value:.0f}" if value == round(value) else digits(value)
