"""The plain answer on top: which recipe to ship on each board, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgekit.comparison import Comparison, Row
from edgekit.report.format import (
    difference_text,
    interval_text,
    number_text,
    ratio,
    ratio_text,
)
from edgekit.report.grid import BASE, by_board, number_of


@dataclass(frozen=True)
class Answer:
    """What to ship on one board (None where nothing can be said), why, and what to be wary of."""

    board: str
    recipe: str | None
    text: str
    cautions: tuple[str, ...] = ()


def answers(comparison: Comparison) -> tuple[Answer, ...]:
    """One answer for each board."""
    return tuple(
        _answer(board, rows, _failed_golden(comparison, board))
        for board, rows in by_board(comparison.rows).items()
    )


def keeps_accuracy(row: Row, base: Row) -> bool:
    """Whether the test data cannot show that the row is worse than the base.

    By the paired comparison where there is one, else by the row's own interval.
    """
    if row.accuracy_change.high is not None:
        return row.accuracy_change.high >= 0
    ours, wanted = row.accuracy, base.accuracy
    if ours.value is None or wanted.value is None:
        return False
    return (ours.value if ours.high is None else ours.high) >= wanted.value


def overlap(column: str, one: Row, other: Row) -> bool:
    """Whether two intervals overlap; a number without one is taken as exact."""
    a, b = number_of(one, column), number_of(other, column)
    if a.value is None or b.value is None:
        return False
    a_low, a_high = (a.value if a.low is None else a.low), (a.value if a.high is None else a.high)
    b_low, b_high = (b.value if b.low is None else b.low), (b.value if b.high is None else b.high)
    return a_low <= b_high and b_low <= a_high


def _failed_golden(comparison: Comparison, board: str) -> frozenset[str]:
    """Recipes whose output on the board was compared with the workstation's and differed."""
    return frozenset(
        str(item["recipe"])
        for item in comparison.records
        if item.get("board") == board
        and ((item.get("record") or {}).get("golden") or {}).get("status") == "failed"
    )


def _answer(board: str, rows: Sequence[Row], wrong: frozenset[str]) -> Answer:
    cautions = []
    failed = [row.recipe for row in rows if row.error is not None]
    if failed:
        cautions.append(f"No result for {_names(failed)}: the errors stand with the table.")
    if wrong:
        cautions.append(
            f"{_names(sorted(wrong))} computed something else on the board than on the "
            "workstation (golden check failed) and cannot be recommended."
        )
    ran = [row for row in rows if row.error is None and row.recipe not in wrong]
    rated = [row for row in ran if row.accuracy.value is not None]
    if not rated:
        text = "Nothing can be recommended: no recipe has both a result and an accuracy."
        return Answer(board, None, text, tuple(cautions))
    base = next((row for row in rated if row.recipe == BASE), None)
    if base is None:
        base = max(rated, key=lambda row: row.accuracy.value or 0.0)
        cautions.append(f"The base was not compared; accuracies are held against {base.recipe}.")
    kept = [row for row in rated if keeps_accuracy(row, base)]
    best = [row for row in kept if row.pareto] or kept
    if any(row.latency_p50_ms.how == "emulated" for row in rated):
        cautions.append(
            "Latencies here come from an emulator, not from the board: confirm the choice on one."
        )
    if base.accuracy.low is None:
        cautions.append("Accuracies have no interval: small differences may be chance.")
    timed = [row for row in best if row.latency_p50_ms.value is not None]
    measure = "latency_p50_ms" if timed else "file_bytes"
    sized = [row for row in best if row.file_bytes.value is not None]
    pool = timed or sized
    if not pool:
        text = "Nothing can be recommended: neither a latency nor a file size is known."
        return Answer(board, None, text, tuple(cautions))
    pick = min(pool, key=lambda row: (_value(row, measure), _value(row, "file_bytes")))
    return Answer(board, pick.recipe, _text(pick, base, rated, kept, measure), tuple(cautions))


def _text(pick: Row, base: Row, rated: list[Row], kept: list[Row], measure: str) -> str:
    if len(rated) == 1:
        costs = _costs(pick, pick)
        return f"Only {pick.recipe} has a result, so there is nothing to choose from: {costs}."
    sentences = []
    goal = "the fastest" if measure == "latency_p50_ms" else "the smallest (no latency is known)"
    if any(_value(row, measure) < _value(pick, measure) for row in kept):
        goal += " of the Pareto-best"
    if pick is base:
        sentences.append(
            f"Ship {pick.recipe} if accuracy has to stay where it is: no recipe that keeps it is "
            f"{'faster' if measure == 'latency_p50_ms' else 'smaller'}. "
            f"It comes with {_costs(pick, base)}."
        )
    else:
        sentences.append(
            f"Ship {pick.recipe} if accuracy has to stay at the level of {base.recipe}: "
            f"it is {goal} that keeps it, with {_costs(pick, base)}. {_accuracy(pick, base)}"
        )
    alike = [row for row in kept if row is not pick and overlap("latency_p50_ms", pick, row)]
    if alike and measure == "latency_p50_ms":
        sentences.append(
            f"Its latency interval overlaps that of {_names([row.recipe for row in alike])}: "
            "this run does not tell them apart, so let size or energy decide."
        )
    lean = min(kept, key=lambda row: _value(row, "file_bytes"))
    if lean is not pick and _value(lean, "file_bytes") < 0.98 * _value(pick, "file_bytes"):
        sentences.append(f"Ship {lean.recipe} if the file counts most: {_costs(lean, base)}.")
    lossy = [row for row in rated if row.pareto and row not in kept]
    faster = [row for row in lossy if _value(row, measure) < _value(pick, measure)]
    if faster:
        fast = min(faster, key=lambda row: _value(row, measure))
        loss = difference_text(fast.accuracy, base.accuracy).lstrip("−")
        sentences.append(
            f"Ship {fast.recipe} only if {loss} of accuracy may be lost: {_costs(fast, base)}."
        )
    return " ".join(sentences)


def _accuracy(pick: Row, base: Row) -> str:
    """One sentence on what the accuracies allow to say."""
    ours, theirs = (number_text("accuracy", row.accuracy, "") for row in (pick, base))
    span = interval_text("accuracy", pick.accuracy)
    change = row_change(pick)
    if change:
        return f"Accuracy {ours} against {theirs}: {change}."
    if not span:
        return f"Accuracy {ours} against {theirs}."
    if overlap("accuracy", pick, base):
        return (
            f"Accuracy {ours} ({span}) against {theirs}: the intervals overlap, "
            "this much test data cannot tell the two apart."
        )
    return f"Accuracy {ours} ({span}) against {theirs}: better beyond the interval."


def row_change(row: Row) -> str:
    """What the paired comparison with the base allows to say; empty where there is none."""
    change = row.accuracy_change
    if change.value is None or change.low is None or change.high is None:
        return ""
    interval = f"95 % interval {_signed(change.low)} to {_signed(change.high)} on the same samples"
    if change.low <= 0 <= change.high:
        return f"{_signed(change.value)} ({interval}), which may be chance"
    return f"{_signed(change.value)} ({interval}), which is more than chance"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _costs(row: Row, base: Row) -> str:
    """Latency and file in words, with the ratio to base: "12.3 ms (12.1–12.6, 0.38x)"."""
    shown = []
    for column, name in (("latency_p50_ms", "per inference"), ("file_bytes", "of file")):
        number = number_of(row, column)
        if number.value is None:
            continue
        relative = "" if row is base else ratio_text(ratio(number, number_of(base, column)))
        asides = ", ".join(filter(None, (interval_text(column, number), relative)))
        mark = "" if number.how == "counted" else None
        text = number_text(column, number, mark)
        shown.append(f"{text} {name} ({asides})" if asides else f"{text} {name}")
    return " and ".join(shown) or "no costs known"


def _value(row: Row, column: str) -> float:
    value = number_of(row, column).value
    return float("inf") if value is None else value


def _names(names: Sequence[str]) -> str:
    """a, b and c; with more than four the rest is counted."""
    if len(names) > 4:
        return f"{', '.join(names[:3])} and {len(names) - 3} more"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
