"""The comparison's table as cells of text, the same for the terminal and for the page."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from edgekit.comparison import COLUMNS, Comparison, Row
from edgekit.report.format import (
    MARKS,
    difference_text,
    interval_text,
    number_text,
    ratio,
    ratio_text,
)
from edgekit_device.number import Number

BASE = "base"
"""The recipe without a pass, which ratios refer to."""


@dataclass(frozen=True)
class Cell:
    """One number: value with its mark, interval, ratio to base, key of its footnote."""

    text: str
    how: str
    interval: str = ""
    ratio: str = ""
    note: str = ""


@dataclass(frozen=True)
class Line:
    """One row, with the number that plots refer to it by."""

    number: int
    row: Row
    cells: dict[str, Cell]


@dataclass(frozen=True)
class Group:
    """The lines of one board; `hows` says per column how its numbers came about, or "mixed"."""

    board: str
    lines: tuple[Line, ...]
    hows: dict[str, str]


@dataclass(frozen=True)
class Grid:
    """All boards, the marks that need explaining, and the footnotes by key."""

    boards: tuple[Group, ...]
    marks: tuple[str, ...]
    notes: tuple[tuple[str, str], ...]

    @property
    def lines(self) -> tuple[Line, ...]:
        """The lines of all boards, in order."""
        return tuple(line for group in self.boards for line in group.lines)


def heading(column: str, metric: str = "accuracy") -> str:
    """A column's heading without its unit, which every cell carries itself.

    `metric` is what the comparison's accuracy is.
    """
    return metric if column == "accuracy" else COLUMNS[column].partition(" (")[0]


def number_of(row: Row, column: str) -> Number:
    """The number in one of COLUMNS."""
    number = getattr(row, column)
    if not isinstance(number, Number):
        raise TypeError(f"A row's {column} is a Number. Received: {number!r}")
    return number


def base_rows(rows: Iterable[Row]) -> dict[str, Row]:
    """The base's row of each board; a board without one has no ratios."""
    return {row.board: row for row in rows if row.recipe == BASE}


def note_of(column: str) -> str:
    """What a heading has to add to its name; empty for most."""
    return "idle included" if column == "energy_j" else ""


def letters(rows: Iterable[Row]) -> str:
    """What the letters in recipes' names are: "P stands for prune(0.5), Q for qat"; or empty."""
    from edgekit_converters import parse_recipe

    terms = [term for row in rows for term in row.recipe.split("+")]
    used = {letter for term in terms if re.fullmatch("P?C?Q?", term) for letter in term}
    named = [(letter, parse_recipe(letter).passes[0]) for letter in "PCQ" if letter in used]
    return ", ".join(
        f"{letter} {'for' if i else 'stands for'} {step}" for i, (letter, step) in enumerate(named)
    )


def by_board(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows grouped by board, boards in order of appearance."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.board, []).append(row)
    return groups


def note_key(index: int) -> str:
    """a … z, aa, ab …: letters, so that a footnote is never taken for a power."""
    key = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        key = chr(ord("a") + rest) + key
    return key


def grid(comparison: Comparison) -> Grid:
    """Lay the rows out: one footnote per reason, marks only where a column needs them."""
    bases = base_rows(comparison.rows)
    notes: dict[str, str] = {}
    boards = []
    number = 0
    for board, rows in by_board(comparison.rows).items():
        hows = {column: _column_how(rows, column) for column in COLUMNS}
        lines = []
        for row in rows:
            number += 1
            base = bases.get(board)
            cells = {column: _cell(row, column, base, hows, notes) for column in COLUMNS}
            lines.append(Line(number, row, cells))
        boards.append(Group(board, tuple(lines), hows))
    cells_shown = [cell for group in boards for line in group.lines for cell in line.cells.values()]
    marks = tuple(
        how
        for how, mark in MARKS.items()
        if mark and any(cell.how == how and mark in cell.text for cell in cells_shown)
    )
    return Grid(tuple(boards), marks, tuple((key, why) for why, key in notes.items()))


def _column_how(rows: Iterable[Row], column: str) -> str:
    """How all numbers of a column came about; "mixed" where they differ, "" where none exists."""
    hows = {number_of(row, column).how for row in rows} - {"unavailable"}
    return "mixed" if len(hows) > 1 else next(iter(hows), "")


def _cell(
    row: Row, column: str, base: Row | None, hows: dict[str, str], notes: dict[str, str]
) -> Cell:
    number = number_of(row, column)
    if number.value is None:
        reason = number.reason or "no reason given"
        note = notes.setdefault(reason, note_key(len(notes)))
        return Cell(number_text(column, number), number.how, note=note)
    # A heading that says "counted" spares every cell below it the mark.
    mark = "" if number.how == "counted" and hows[column] == "counted" else None
    relative = ""
    if base is not None and base is not row:
        reference = number_of(base, column)
        relative = (
            difference_text(number, reference)
            if column == "accuracy"
            else ratio_text(ratio(number, reference))
        )
    return Cell(
        number_text(column, number, mark), number.how, interval_text(column, number), relative
    )
