"""The comparison as a table for the terminal, with its notes and advice."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.comparison import COLUMNS, Comparison
from edgekit.pareto import any_weighed_together
from edgekit.report.answer import answers
from edgekit.report.format import LEGEND, WEIGHED_TOGETHER, number_text, ratio, ratio_text
from edgekit.report.grid import (
    BASE,
    Cell,
    Grid,
    Group,
    Line,
    grid,
    heading,
    letters,
    note_of,
)
from edgekit.report.metrics import metric_section
from edgekit.report.npus import COLUMNS_SHOWN as NPU_COLUMNS
from edgekit.report.npus import npu_sections

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

PIPED_WIDTH = 118
"""Columns when the output is no terminal: a file has no width of its own."""
STAR = "★"
FAILED = "✗"
THROTTLED = "⚠"
_SAME = "same file as"

_SIZE = ("parameters", "macs", "file_bytes", "gzip_bytes", "zstd_bytes")
_GAIN = tuple(column for column in COLUMNS if column not in _SIZE)
_TITLES = {"parameters": "params", "energy_j": "energy/\ninference"}
_UPPER, _LOWER = "gzip_bytes", "zstd_bytes"


@dataclass(frozen=True)
class _Layout:
    """Which columns stand side by side, and whether a ratio stands beside its value or below.

    Where `folded`, the two packed sizes share one column, one above the other.
    """

    tables: tuple[tuple[str, ...], ...]
    beside: bool
    name_width: int
    gap: int
    folded: bool = False


_LAYOUTS = (
    _Layout((tuple(COLUMNS),), beside=True, name_width=34, gap=2),
    _Layout((tuple(COLUMNS),), beside=True, name_width=20, gap=2),
    _Layout((tuple(COLUMNS),), beside=True, name_width=20, gap=1),
    _Layout((tuple(COLUMNS),), beside=True, name_width=16, gap=1, folded=True),
    _Layout((tuple(COLUMNS),), beside=False, name_width=16, gap=1),
    _Layout((tuple(COLUMNS),), beside=False, name_width=16, gap=1, folded=True),
    _Layout((_GAIN, _SIZE), beside=True, name_width=22, gap=2),
    _Layout((_GAIN, _SIZE), beside=False, name_width=18, gap=1),
)
"""From the widest to the narrowest; the first that fits is taken."""


def print_table(comparison: Comparison) -> None:
    """Print the table to standard output, coloured only where that is a terminal."""
    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else PIPED_WIDTH
    sys.stdout.write(table_text(comparison, width, colour=terminal))


def table_text(comparison: Comparison, width: int = PIPED_WIDTH, *, colour: bool = False) -> str:
    """The table, notes, answer and advice as text; only commands may be wider than `width`.

    Where the columns do not fit side by side, sizes and costs become two tables.
    """
    from rich.console import Console
    from rich.text import Text

    console = Console(
        width=width,
        force_terminal=colour,
        # None rather than "auto": the environment must not colour what goes into a pipe.
        color_system="standard" if colour else None,
        highlight=False,
        emoji=False,
        legacy_windows=False,
    )
    with console.capture() as capture:
        for part in _parts(comparison, console):
            # Commands are copied from here, so no line break may be put into them.
            console.print(part, soft_wrap=isinstance(part, Text) and part.no_wrap is True)
    # Cells are filled to their column's width; the ends of lines need no filling.
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def _parts(comparison: Comparison, console: Console) -> Iterator[RenderableType]:
    shown = grid(comparison)
    title = f"{comparison.model} on {comparison.data}, {comparison.created}"
    yield _text((title, "bold"))
    layout = _layout(shown, console, comparison.metric)
    for group in shown.boards:
        for columns in layout.tables:
            yield _text((f"\n{group.board}", "bold cyan"))
            yield _table(group, columns, layout, comparison.metric)
    yield from _metric_tables(comparison)
    yield from _npu_tables(comparison)
    yield from _instruction_tables(shown)
    yield _text(("\n" + "\n".join(_legend(shown, comparison.metric)), "dim"))
    for line in shown.lines:
        if line.row.error is not None:
            where = f"{line.row.recipe} on {line.row.board}: "
            yield _text((f"{FAILED} ", "red"), where, line.row.error)
    yield from (_text((f"[{key}] ", "dim"), reason) for key, reason in shown.notes)
    if comparison.cautions:
        yield ""
    yield from (_text(("! ", "bold yellow"), (text, "bold")) for text in comparison.cautions)
    for answer in answers(comparison):
        yield _text(("\n" + answer.board, "bold cyan"), ": ", answer.text)
        yield from (_text(("! ", "yellow"), caution) for caution in answer.cautions)
    if comparison.advice:
        yield _text(("\nTry next", "bold"))
    for advice in comparison.advice:
        yield _item(advice.text)
        if advice.command:
            command = _text((f"    {advice.command}", "green"))
            command.no_wrap = True
            yield command
    if comparison.notes:
        yield _text(("\nNotes", "bold"))
    yield from (_item(note) for note in comparison.notes)


def _metric_tables(comparison: Comparison) -> Iterator[RenderableType]:
    """The task's further metrics of each file, wherever it runs; why some could not be had."""
    from rich import box
    from rich.table import Table

    section = metric_section(comparison)
    if not section.lines:
        return
    yield _text(("\nfurther metrics of the files", "bold cyan"))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    table.add_column("recipe", overflow="fold")
    for heading_ in section.headings:
        table.add_column(_text(heading_), justify="right")
    for line in section.lines:
        table.add_row(_text(line.recipe), *(_text(text) for text in line.texts))
    yield table
    yield from (_text((note, "dim")) for note in section.notes)


def _npu_tables(comparison: Comparison) -> Iterator[RenderableType]:
    """What boards have no column for: coverage, cycles, traffic, what was skipped."""
    from rich import box
    from rich.table import Table

    for section in npu_sections(comparison):
        yield _text((f"\n{section.npu}, in its arithmetic", "bold cyan"))
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
        table.add_column("recipe", overflow="fold", vertical="top")
        table.add_column("covered", overflow="fold")
        shown = [place for place, (field, _, _) in enumerate(NPU_COLUMNS) if field not in COLUMNS]
        shown = [place for place in shown if NPU_COLUMNS[place][0] != "latency_ms"]
        for place in shown:
            how = (f"\n{section.hows[place]}", "dim not bold")
            table.add_column(_text(NPU_COLUMNS[place][1], how), justify="right")
        for line in section.lines:
            texts = [_text(line.entries[place].text) for place in shown]
            table.add_row(_text(line.recipe), _text(line.coverage), *texts)
        yield table


def _instruction_tables(shown: Grid) -> Iterator[RenderableType]:
    """What an emulated board counts, which is no time: a table for each such board."""
    from rich import box
    from rich.table import Table

    for group in shown.boards:
        rows = [line.row for line in group.lines if line.row.instructions.value is not None]
        if not rows:
            continue
        base = next((row.instructions for row in rows if row.recipe == BASE), None)
        yield _text((f"\n{group.board}, instructions per inference", "bold cyan"))
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
        table.add_column("recipe", overflow="fold")
        table.add_column(_text("instructions", ("\nemulated", "dim not bold")), justify="right")
        for row in rows:
            relative = ""
            if base is not None and row.recipe != BASE:
                relative = ratio_text(ratio(row.instructions, base))
            count = number_text("instructions", row.instructions, "")
            table.add_row(_text(row.recipe), _text(count, (f" {relative}", "cyan")))
        yield table


def _item(text: str) -> Table:
    """A paragraph behind a dash, with which its further lines are not level."""
    from rich.table import Table

    item = Table.grid(padding=(0, 1, 0, 0))
    item.add_row("-", _text(text))
    return item


def _text(*parts: str | tuple[str, str]) -> Text:
    """Text with styles; names from outside cannot send control codes to the terminal."""
    from rich.text import Text

    clean = [
        (_printable(part), "") if isinstance(part, str) else (_printable(part[0]), part[1])
        for part in parts
    ]
    return Text.assemble(*clean)


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() or char == "\n" else "�" for char in text)


def _layout(shown: Grid, console: Console, metric: str) -> _Layout:
    """The widest layout in which every board's tables fit."""
    wide = console.options.update(width=10_000)
    for layout in _LAYOUTS:
        tables = [
            _table(group, columns, layout, metric)
            for group in shown.boards
            for columns in layout.tables
        ]
        if all(console.measure(table, options=wide).maximum <= console.width for table in tables):
            return layout
    return _LAYOUTS[-1]


def _table(group: Group, columns: Sequence[str], layout: _Layout, metric: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(
        box=box.SIMPLE_HEAD, padding=(0, layout.gap, 0, 0), pad_edge=False, show_edge=False
    )
    table.add_column("recipe", vertical="top", overflow="fold")
    if layout.folded:
        columns = [column for column in columns if column != _LOWER]
    for column in columns:
        title = _TITLES.get(column, heading(column, metric).replace(" ", "\n"))
        if layout.folded and column == _UPPER:
            title = f"{heading(_UPPER)}\n{heading(_LOWER)}"
        # Bottom-aligned headings: shorter ones are filled from above.
        filled = "\n" * (1 - title.count("\n")) + title
        table.add_column(
            _text(filled, (f"\n{group.hows[column]}", "dim not bold")),
            justify="right",
            overflow="fold",
        )
    for line in group.lines:
        cells = [
            _folded(line.cells[_UPPER], line.cells[_LOWER])
            if layout.folded and column == _UPPER
            else _cell(line.cells[column], layout.beside)
            for column in columns
        ]
        table.add_row(_name(line, layout.name_width), *cells)
    return table


def _name(line: Line, width: int) -> Text:
    """Star, name, mark of an error, twin; a long name goes on in the next line, after a "+"."""
    name = "\n  ".join(_cut(line.row.recipe, width - 2))
    twin = ""
    if line.row.same_as:
        twin = "".join(f"\n  {part}" for part in _cut(f"{_SAME} {line.row.same_as}", width - 2))
    star = (f"{STAR} ", "bold yellow") if line.row.pareto else "  "
    failed = (f" {FAILED}" if line.row.error is not None else "", "red")
    slowed = (f" {THROTTLED}" if line.row.throttled else "", "yellow")
    return _text(star, (name, "bold" if line.row.pareto else ""), failed, slowed, (twin, "dim"))


def _cut(name: str, width: int) -> list[str]:
    """Lines of at most `width`, broken after a space or a "+" where there is one."""
    pieces: list[str] = []
    current = ""
    for step in re.split(r"(?<=[+ ])", name):
        if current and len(current) + len(step.rstrip()) > width:
            pieces, current = [*pieces, current], ""
        current += step
    return [
        piece[i : i + width]
        for piece in [*pieces, current]
        for i in range(0, max(len(piece.rstrip()), 1), width)
    ]


def _cell(cell: Cell, beside: bool) -> Text:
    if cell.note:
        return _text(cell.text, (f" [{cell.note}]", "dim"))
    if beside and cell.interval and cell.ratio:
        return _text(cell.text, (f" {cell.ratio}", "cyan"), (f"\n{cell.interval}", "dim"))
    below = [(f"\n{cell.ratio}", "cyan")] if cell.ratio else []
    return _text(cell.text, *below, *([(f"\n{cell.interval}", "dim")] if cell.interval else []))


def _folded(upper: Cell, lower: Cell) -> Text:
    """Two sizes in one column, each with its ratio beside it."""
    parts: list[str | tuple[str, str]] = []
    for cell, end in ((upper, "\n"), (lower, "")):
        beside = f"[{cell.note}]" if cell.note else cell.ratio
        style = "dim" if cell.note else "cyan"
        parts += [cell.text, (f" {beside}" if beside else "", style), end]
    return _text(*parts)


def _legend(shown: Grid, metric: str) -> Iterator[str]:
    if any(line.row.pareto for line in shown.lines):
        yield f"{STAR} Pareto-best: no other beats it in {metric}, latency and file together"
        if any_weighed_together([line.row for line in shown.lines]):
            yield WEIGHED_TOGETHER
    if any(line.row.recipe == BASE for line in shown.lines):
        yield f"0.38x ratio to base on the same board ({metric}: the difference)"
    if any(cell.interval for line in shown.lines for cell in line.cells.values()):
        yield "1.2–1.4 interval of the value above it"
    if named := letters(line.row for line in shown.lines):
        yield named
    for column in COLUMNS:
        if note_of(column) and any(line.cells[column].how != "unavailable" for line in shown.lines):
            yield f"{heading(column)}: of the whole board, {note_of(column)}"
    yield from (LEGEND[how] for how in shown.marks)
    if any(line.row.throttled for line in shown.lines):
        yield f"{THROTTLED} the board was throttled while it ran: too slow, not comparable"
