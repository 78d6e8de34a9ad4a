"""What the numbers of two rows allow to say of each other: accuracy kept or lost, faster or not."""

from __future__ import annotations

import math
from typing import Literal

from edgekit.comparison import Row
from edgekit.npu.outcome import is_npu
from edgekit.report.grid import number_of
from edgekit_device.number import Number

Verdict = Literal["kept", "lost", "unknown"]
"""Of a row's accuracy; "unknown" where the test data cannot say."""

MARGIN = 0.02
"""How much accuracy may fall and still count as kept: 2 points, as a share."""

UNCERTAIN = 0.05
"""Numbers without an interval that differ by less than this share are not told apart."""

BOARD_ESTIMATE = 0.2
"""Two latencies that were estimated for one board are told apart beyond this share.

The model of the board gets ratios of two networks wrong by up to 17 points
(docs/board-estimates.md); the wide interval is for the board's own speed, the same for both.
"""

_ROUNDING = 1e-9


def accuracy_verdict(row: Row, base: Row) -> Verdict:
    """Non-inferiority: kept only where the whole interval of the change lies above -MARGIN.

    No sign of a loss is not enough: with few test samples there never is one.
    """
    if row is base or (row.same_as and row.same_as == base.recipe):
        return "kept"
    change = change_of(row, base)
    if change.low is None or change.high is None:
        return "unknown"
    if change.low >= -MARGIN - _ROUNDING:
        return "kept"
    return "lost" if change.high < 0 else "unknown"


def change_of(row: Row, base: Row) -> Number:
    """Accuracy less the base's: of the paired comparison, else from the two rows' own intervals.

    The latter are combined as if each row had test samples of its own (Newcombe, Statistics in
    Medicine 17 (1998) 873, method 10), which is wider than the paired interval.
    """
    if row.accuracy_change.low is not None:
        return row.accuracy_change
    ours, theirs = row.accuracy, base.accuracy
    if ours.value is None or theirs.value is None:
        return Number.unavailable("an accuracy is missing")
    change = ours.value - theirs.value
    if ours.low is None or ours.high is None or theirs.low is None or theirs.high is None:
        return Number.measured(change)
    down = math.hypot(ours.value - ours.low, theirs.high - theirs.value)
    up = math.hypot(ours.high - ours.value, theirs.value - theirs.low)
    return Number.measured(change, change - down, change + up)


def overlap(column: str, one: Row, other: Row) -> bool:
    """Whether two numbers cannot be told apart; False where one is missing.

    Their intervals overlap, or, where one has none, they are within UNCERTAIN of the larger.
    Only what was counted is exact. Two estimates of one NPU or of one board's latency have most of
    their errors in common: they are told apart beyond UNCERTAIN, or BOARD_ESTIMATE.
    """
    a, b = number_of(one, column), number_of(other, column)
    if a.value is None or b.value is None:
        return False
    if a.how == b.how == "estimated" and one.board == other.board:
        # What the model gets wrong, it gets wrong for both.
        if is_npu(one.board):
            return abs(a.value - b.value) <= UNCERTAIN * max(abs(a.value), abs(b.value))
        if column == "latency_p50_ms":
            return abs(a.value - b.value) <= BOARD_ESTIMATE * max(abs(a.value), abs(b.value))
    gap = max(_low(a), _low(b)) - min(_high(a), _high(b))
    vague = any(number.low is None and number.how != "counted" for number in (a, b))
    return gap <= (UNCERTAIN * max(abs(a.value), abs(b.value)) if vague else 0)


def _low(number: Number) -> float:
    return (number.value or 0.0) if number.low is None else number.low


def _high(number: Number) -> float:
    return (number.value or 0.0) if number.high is None else number.high
