"""A comparison's rows as CSV for a spreadsheet or pandas."""

from __future__ import annotations

import csv
import io

from edgekit.comparison import COLUMNS, Comparison
from edgekit.report.format import ratio
from edgekit.report.grid import base_rows, note_of, number_of

FACETS = ("low", "high", "how", "reason")


def header() -> list[str]:
    """The column names: a number's value under its own name, its facets and ratio behind it.

    `energy_j_covers` says of what the energy is; it is empty where there is none.
    """
    names = ["recipe", "board", "file", "sha256", "same_as", "pareto", "error"]
    for column in COLUMNS:
        names += [column, *(f"{column}_{facet}" for facet in FACETS), f"{column}_ratio"]
        names += [f"{column}_covers"] if note_of(column) else []
    for column in ("accuracy_change", "instructions"):
        names += [column, *(f"{column}_{facet}" for facet in FACETS)]
    return [*names, "throttled"]


def comparison_to_csv(comparison: Comparison) -> str:
    """One line per recipe and board as RFC 4180 says; what is not known is empty, never 0.

    A ratio is to the base on the same board.
    """
    out = io.StringIO(newline="")
    # RFC 4180's CRLF is the csv module's default.
    writer = csv.writer(out)
    writer.writerow(header())
    bases = base_rows(comparison.rows)
    for row in comparison.rows:
        line: list[object] = [
            *(row.recipe, row.board, row.file, row.sha256, row.same_as),
            *(str(row.pareto).lower(), row.error),
        ]
        base = bases.get(row.board)
        for column in COLUMNS:
            number = number_of(row, column)
            relative = None if base is None else ratio(number, number_of(base, column))
            line += [number.value, *(getattr(number, facet) for facet in FACETS), relative]
            if note_of(column):
                line.append("" if number.value is None else f"whole board, {note_of(column)}")
        for number in (row.accuracy_change, row.instructions):
            line += [number.value, *(getattr(number, facet) for facet in FACETS)]
        writer.writerow([*line, row.throttled])
    return out.getvalue()
