"""Which rows no other row beats in everything that a buyer weighs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgekit.comparison import Row
from edgekit_device import Number


def mark_pareto(rows: Sequence[Row]) -> list[Row]:
    """The rows with `pareto` set: on its board, none is at least as good in all and better in one.

    Weighed are accuracy, latency p50 and file size, by their values; rows where one of them is not
    known cannot be Pareto-best, nor can those whose file another row has already.
    """
    return [
        replace(
            row,
            pareto=_weighed(row) is not None
            and not any(_beats(other, row) for other in rows if other.board == row.board),
        )
        for row in rows
    ]


def _weighed(row: Row) -> tuple[float, float, float] | None:
    """Smaller is better in each place."""
    numbers: tuple[Number, ...] = (row.accuracy, row.latency_p50_ms, row.file_bytes)
    values = [number.value for number in numbers if number.value is not None]
    if row.error is not None or row.same_as or len(values) < len(numbers):
        return None
    return -values[0], values[1], values[2]


def _beats(other: Row, row: Row) -> bool:
    ours, theirs = _weighed(row), _weighed(other)
    if ours is None or theirs is None:
        return False
    pairs = list(zip(theirs, ours, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)
