"""The page: every part as markdown, and a list of what is not to be had here."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from benchmarks.lcrm_paper import (
    ablated,
    applications,
    counting,
    learning,
    searched,
    storage,
    techniques,
    training,
)
from benchmarks.lcrm_paper.rows import Cell, Part, Row

PICTURES = "lcrm-paper"
"""The folder of the figures beside the page."""

_INTRODUCTION = """\
# The LCRM paper's tables, redrawn

Tables 2 to 16 and Figures 5 to 15 of Hussain, Tamizharasan, Yadav: *LCRM: Layer-Wise Complexity
Reduction Method for CNN Model Optimization on End Devices* (IEEE Access 11, 2023), its figures
beside ours. Figures 1 to 4 and Table 1 explain and hold no results. Written by
`.venv/bin/python -m benchmarks.lcrm_paper` from `benchmarks/results/` and from counting layers;
the paper's figures are in `benchmarks/lcrm_paper/paper.toml`.

Each of our figures says how it came about: *counted* exactly, *measured* on this machine,
*emulated*, or *estimated* (with its interval). "–" is unavailable; the line *Not here* says what
fills it in. Most of ours are of small networks on generated tasks, which compare with each other,
not with the paper's.
"""


def parts(folder: Path) -> tuple[Part, ...]:
    """All tables and figures in the paper's order, from the results in `folder`."""
    return (
        counting.table2(),
        counting.table3(),
        counting.table4(),
        *training.tables(folder),
        storage.table8(folder),
        *applications.tables(folder),
        *techniques.tables(folder),
        *ablated.tables(folder),
        learning.table14(folder),
        *searched.tables(folder),
    )


def write(folder: Path, page: Path) -> None:
    """Writes the page and draws its figures beside it."""
    from benchmarks.lcrm_paper.figures import draw_all

    draw_all(folder, page.parent / PICTURES)
    page.write_text(markdown(parts(folder), page.parent), "utf-8")


def markdown(told: Iterable[Part], beside: Path) -> str:
    """The whole page; pictures are those that lie in the folder beside it."""
    return "\n".join([_INTRODUCTION, *(_part(part, beside) for part in told)])


def _part(part: Part, beside: Path) -> str:
    lines = [f"## {part.title}", "", f"Ours: {part.on}.", ""]
    if part.rows:
        lines += [*_table(part), ""]
    for picture in part.pictures:
        if (beside / PICTURES / picture.file).is_file():
            lines += [f"![{picture.text}]({PICTURES}/{picture.file})", ""]
    if part.why:
        lines += [part.why, ""]
    if part.faults:
        lines += ["In the paper:", "", *(f"- {fault}" for fault in part.faults), ""]
    needs = _needs(part)
    if needs:
        lines += [f"Not here: {'; '.join(needs)}.", ""]
    return "\n".join(lines)


def _table(part: Part) -> list[str]:
    """Kinds stand by row; in the headings, where a row has several and a column one."""
    columns = [_kinds(cells) for cells in zip(*(row.ours for row in part.rows), strict=True)]
    by_column = any(len(_kinds(row.ours)) > 1 for row in part.rows) and all(
        len(kinds) < 2 for kinds in columns
    )
    kinds = [f", {each[0]}" if by_column and each else "" for each in columns]
    remarks = any(row.remark for row in part.rows)
    head = ["", *(f"paper: {name}" for name in part.paper)]
    head += [f"ours: {name}{kind}" for name, kind in zip(part.ours, kinds, strict=True)]
    numbers = len(head) - 1
    extra = [*([] if by_column else ["how"]), *(["remark"] if remarks else [])]
    lines = [_line(head + extra), _line(["---", *["--:"] * numbers, *["---"] * len(extra)])]
    for row in part.rows:
        cells = [row.what, *row.paper]
        cells += [one.text for one in row.ours] if by_column else [*_texts(row), _how(row)]
        lines.append(_line(cells + ([row.remark] if remarks else [])))
    return lines


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(each.replace('|', chr(92) + '|') for each in cells)} |"


def _texts(row: Row) -> list[str]:
    kinds = _kinds(row.ours)
    if len(kinds) < 2:
        return [one.text for one in row.ours]
    return [one.text if one.text == "–" else f"{one.text} ({one.how})" for one in row.ours]


def _how(row: Row) -> str:
    return ", ".join(_kinds(row.ours)) or "unavailable"


def _kinds(cells: Iterable[Cell]) -> list[str]:
    return list(dict.fromkeys(one.how for one in cells if one.how != "unavailable"))


def _needs(part: Part) -> list[str]:
    reasons = [one.reason for row in part.rows for one in row.ours if one.how == "unavailable"]
    return list(dict.fromkeys([*reasons, *part.needs]))
