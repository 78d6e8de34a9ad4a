"""The plain answer on top: which recipe to ship on each board, and how sure that is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgekit.comparison import Comparison, Row
from edgekit.npu.outcome import is_npu
from edgekit.pareto import same_kernels
from edgekit.report.evidence import busy_before
from edgekit.report.format import (
    capital,
    difference_text,
    interval_text,
    number_text,
    quantity,
    ratio,
    ratio_text,
)
from edgekit.report.grid import BASE, by_board, heading, number_of
from edgekit.report.verdict import (
    BOARD_ESTIMATE,
    MARGIN,
    UNCERTAIN,
    accuracy_verdict,
    change_of,
    overlap,
)
from edgekit_device import Number

_SAME_SIZE = 1.01
_CLEARLY_SMALLER = 0.98
_KEPT = f"within {MARGIN:g} ({100 * MARGIN:g} points)"


@dataclass(frozen=True)
class Answer:
    """What to ship on one board (None where nothing can be said), why, and what to be wary of."""

    board: str
    recipe: str | None
    text: str
    cautions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wording:
    """The main metric in sentences: by itself, "an accuracy", "accuracies"."""

    metric: str
    one: str
    many: str


def wording(metric: str) -> Wording:
    """How sentences speak of a metric."""
    if metric == "accuracy":
        return Wording(metric, "an accuracy", "accuracies")
    return Wording(metric, f"a value of {metric}", f"values of {metric}")


@dataclass(frozen=True)
class _Choice:
    """The pick by `measure`, and those kept rows that cannot be told from the fastest.

    `twins` are those which run the very kernels of the pick, whatever their latencies.
    """

    pick: Row
    measure: str
    alike: tuple[Row, ...]
    twins: tuple[Row, ...]


def answers(comparison: Comparison) -> tuple[Answer, ...]:
    """One answer for each board."""
    found = []
    based = (row for row in comparison.rows if row.recipe == BASE and row.error is None)
    base = next((row for row in based if row.accuracy.value is not None), None)
    words = wording(comparison.metric)
    for board, rows in by_board(comparison.rows).items():
        records = [item for item in comparison.records if item.get("board") == board]
        answer = _answer(board, rows, _failed_golden(records), base, words)
        busy = busy_before(records)
        found.append(
            Answer(board, answer.recipe, answer.text, (*answer.cautions, busy)) if busy else answer
        )
    return tuple(found)


def _failed_golden(records: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """Recipes whose output on the board was compared with the workstation's and differed."""
    return frozenset(
        str(item["recipe"])
        for item in records
        if ((item.get("record") or {}).get("golden") or {}).get("status") == "failed"
    )


def _answer(
    board: str,
    rows: Sequence[Row],
    wrong: frozenset[str],
    elsewhere: Row | None,
    words: Wording,
) -> Answer:
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
    # A row whose file is another's differs from it by noise alone: it is no candidate.
    rated = [row for row in ran if row.accuracy.value is not None and not row.same_as]
    if not rated:
        text = f"Nothing can be recommended: no recipe has both a result and {words.one}."
        return Answer(board, None, text, tuple(cautions))
    base = next((row for row in rated if row.recipe == BASE), None)
    if base is None and elsewhere is not None:
        # Its times are those of another place.
        there = Number.unavailable(f"of {elsewhere.board}")
        base = replace(elsewhere, board=board, latency_p50_ms=there, energy_j=there)
        cautions.append(
            f"The base has no result here; {words.many} are held against its own on "
            f"{elsewhere.board}."
        )
    if base is None:
        base = max(rated, key=lambda row: row.accuracy.value or 0.0)
        cautions.append(f"The base was not compared; {words.many} are held against {base.recipe}.")
    cautions += _doubts(rated, base, words)
    kept = [row for row in rated if accuracy_verdict(row, base) == "kept"]
    choice = _choose(kept)
    if choice is None:
        text = "Nothing can be recommended: neither a latency nor a file size is known."
        return Answer(board, None, text, tuple(cautions))
    cautions += _untested(choice, base, rated, words)
    text = " ".join(_sentences(choice, base, rated, kept, words.metric))
    twins = [row.recipe for row in ran if row.same_as == choice.pick.recipe]
    if twins:
        text += f" The file of {_names(twins)} is the very same."
    return Answer(board, choice.pick.recipe, text, tuple(cautions))


def _doubts(rated: Sequence[Row], base: Row, words: Wording) -> Iterator[str]:
    """What weakens all numbers of a board."""
    if any(row.latency_p50_ms.how == "emulated" for row in rated):
        yield "Latencies here come from an emulator, not from the board: confirm the choice on one."
    if any(row.latency_p50_ms.how == "estimated" and not is_npu(row.board) for row in rated):
        yield (
            "Latencies here are estimated from published figures of such boards: two are told "
            f"apart beyond {BOARD_ESTIMATE:.0%}. Confirm the choice on a board."
        )
    slowed = [row for row in rated if row.throttled]
    if slowed:
        yield (
            f"The board was throttled while {_names([row.recipe for row in slowed])} ran "
            f"({slowed[0].throttled}): latencies are too long. Cool or feed it better, and run "
            "again."
        )
    if any(row.latency_p50_ms.value and row.latency_p50_ms.low is None for row in rated):
        yield (
            "Not every latency has an interval; where one is missing, differences below "
            f"{UNCERTAIN:.0%} are not told apart."
        )
    if base.accuracy.low is None:
        yield f"{capital(words.many)} have no interval: small differences may be chance."


def _choose(kept: Sequence[Row]) -> _Choice | None:
    """The fastest; among those not told apart from it the smallest file, then fewer passes."""
    timed = [row for row in kept if row.latency_p50_ms.value is not None]
    pool = timed or [row for row in kept if row.file_bytes.value is not None]
    if not pool:
        return None
    measure = "latency_p50_ms" if timed else "file_bytes"
    best = min(pool, key=lambda row: _value(row, measure))
    alike = [row for row in pool if not _apart(measure, best, row)] if timed else pool
    least = min(_value(row, "file_bytes") for row in alike)
    # A few bytes more or less are the names of the layers, not a reason for another pass.
    small = [row for row in alike if _value(row, "file_bytes") <= _SAME_SIZE * least]
    pick = min(small, key=lambda row: (_passes(row), _value(row, measure)))
    if not timed:
        return _Choice(pick, measure, (), ())
    twins = [row for row in pool if row is not pick and same_kernels(row, pick)]
    others = [row for row in alike if row is not pick and row not in twins]
    return _Choice(pick, measure, tuple(others), tuple(twins))


def _passes(row: Row) -> int:
    if row.recipe == BASE:
        return 0
    # A cascade such as PCQ is as many passes as it has letters.
    terms = row.recipe.split("+")
    return sum(len(term) if re.fullmatch("[PCQ]+", term) else 1 for term in terms)


def _untested(choice: _Choice, base: Row, rated: Sequence[Row], words: Wording) -> Iterator[str]:
    """Recipes that would be better if only the test data could show what they do to accuracy."""
    unknown = [row for row in rated if accuracy_verdict(row, base) == "unknown"]
    faster = sorted(
        (row for row in unknown if _clearly_less(row, choice.pick, choice.measure)),
        key=lambda row: _value(row, choice.measure),
    )
    smaller = sorted(
        (row for row in unknown if _clearly_less(row, choice.pick, "file_bytes")),
        key=lambda row: _value(row, "file_bytes"),
    )
    what = "faster" if faster and choice.measure == "latency_p50_ms" else "smaller"
    found = faster or smaller
    if not found:
        return
    change = change_of(found[0], base)
    span = "no interval"
    if change.low is not None and change.high is not None:
        span = f"interval {_signed(change.low)} to {_signed(change.high)}"
    caution = (
        f"{found[0].recipe} is {what}, but these test data cannot show whether it keeps the "
        f"{words.metric} ({_signed(change.value or 0.0)}, {span}): test it on more samples."
    )
    if found[1:]:
        others = _names([row.recipe for row in found[1:]])
        caution += f" So it is with {others}."
    yield caution


def _clearly_less(row: Row, pick: Row, column: str) -> bool:
    if column.endswith("_bytes"):
        return _value(row, column) < _CLEARLY_SMALLER * _value(pick, column)
    return _value(row, column) < _value(pick, column) and _apart(column, row, pick)


def _apart(column: str, one: Row, other: Row) -> bool:
    """Whether two latencies differ by more than noise, which those of the same kernels never do."""
    return not same_kernels(one, other) and not overlap(column, one, other)


def _sentences(
    choice: _Choice, base: Row, rated: Sequence[Row], kept: Sequence[Row], metric: str
) -> Iterator[str]:
    pick, timed = choice.pick, choice.measure == "latency_p50_ms"
    if len(rated) == 1:
        costs = _costs(pick, pick)
        yield f"Only {pick.recipe} has a result of its own, so there is no choice: {costs}."
        return
    alike = [row.recipe for row in choice.alike]
    twins = [row.recipe for row in choice.twins]
    if pick is base:
        better = "faster" if timed else "smaller"
        yield (
            f"Ship {pick.recipe} if {metric} has to stay {_KEPT}: no other recipe that is shown to "
            f"keep it is {'measurably ' if alike or twins else ''}{better}. It comes with "
            f"{_costs(pick, base)}."
        )
    else:
        goal = "the fastest" if timed else "the smallest (no latency is known)"
        if alike or twins:
            goal = "as fast as any"
        yield (
            f"Ship {pick.recipe} if {metric} has to stay {_KEPT} of {base.recipe}: it is {goal} "
            f"that is shown to keep it, with {_costs(pick, base)}. {_accuracy(pick, base, metric)}"
        )
    if alike:
        yield (
            f"This run does not tell its latency from that of {_names(alike)}: "
            "the smaller file decided, then fewer passes."
        )
    if twins:
        yield (
            f"{_names(twins)} {'run' if len(twins) > 1 else 'runs'} the same kernels (pruning and "
            "clustering make none faster): any difference in latency is noise."
        )
    lean = min(kept, key=lambda row: (_value(row, "file_bytes"), _passes(row)))
    if lean is not pick and _clearly_less(lean, pick, "file_bytes"):
        yield f"Ship {lean.recipe} if the file counts most: {_costs(lean, base)}."
    yield from _packed(pick, base, kept, metric)
    lossy = [row for row in rated if accuracy_verdict(row, base) == "lost"]
    faster = [row for row in lossy if row.pareto and _clearly_less(row, pick, choice.measure)]
    if faster:
        fast = min(faster, key=lambda row: _value(row, choice.measure))
        loss = difference_text(fast.accuracy, base.accuracy).lstrip("−")
        yield f"Ship {fast.recipe} only if {loss} of {metric} may be lost: {_costs(fast, base)}."


def _packed(pick: Row, base: Row, kept: Sequence[Row], metric: str) -> Iterator[str]:
    """The smallest download, where it is another's: pruning and clustering show here alone."""
    columns = ("zstd_bytes", "gzip_bytes")
    known = [c for c in columns if all(number_of(row, c).value is not None for row in kept)]
    if not known:
        return
    column = known[0]
    least = min(_value(row, column) for row in kept)
    small = [row for row in kept if _value(row, column) <= _SAME_SIZE * least]
    best = min(small, key=lambda row: (_passes(row), _value(row, column)))
    if not _clearly_less(best, pick, column):
        return
    sizes = [quantity(column, _value(row, column)) for row in (best, pick)]
    relative = ratio_text(ratio(number_of(best, column), number_of(base, column)))
    yield (
        f"For updates over the air, {best.recipe} packs smallest of those that keep the {metric}: "
        f"{sizes[0]} with {heading(column)} ({relative} of {base.recipe}), against {sizes[1]} of "
        f"{pick.recipe}."
    )


def _accuracy(pick: Row, base: Row, metric: str) -> str:
    """One sentence on what the two values of the metric allow to say."""
    ours, theirs = (number_text("accuracy", row.accuracy, "") for row in (pick, base))
    change = change_of(pick, base)
    if change.value is None or change.low is None or change.high is None:
        return f"{capital(metric)} {ours} against {theirs}."
    paired = " on the same samples" if change is pick.accuracy_change else ""
    chance = "may be chance" if change.low <= 0 <= change.high else "is more than chance"
    return (
        f"{capital(metric)} {ours} against {theirs}: {_signed(change.value)} (95 % interval "
        f"{_signed(change.low)} to {_signed(change.high)}{paired}), which {chance}."
    )


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
