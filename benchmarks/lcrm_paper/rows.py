"""What the page is made of: the paper's figures beside ours, each saying how it came about."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgekit_device import Number

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RESULTS = Path(__file__).parents[1] / "results"
RUN = ".venv/bin/python"


@dataclass(frozen=True)
class Cell:
    """One of our figures as text, how it came about, and, where there is none, why."""

    text: str
    how: str
    reason: str = ""


@dataclass(frozen=True)
class Row:
    """One line of a table: the paper's figures as printed, then ours."""

    what: str
    paper: tuple[str, ...]
    ours: tuple[Cell, ...]
    remark: str = ""


@dataclass(frozen=True)
class Picture:
    """A figure beside the page, and what it shows."""

    file: str
    text: str


@dataclass(frozen=True)
class Part:
    """One table or figure of the paper; `on` is the task and size that ours come from.

    `faults` are the paper's own contradictions, `needs` what is not to be had here with the command
    that fills it in elsewhere.
    """

    title: str
    on: str
    paper: tuple[str, ...] = ()
    ours: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    why: str = ""
    faults: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = field(default=())


def counted(text: str) -> Cell:
    """Counted exactly."""
    return Cell(text, "counted")


def unavailable(reason: str) -> Cell:
    """Not to be had here."""
    return Cell("–", "unavailable", reason)


def cell(
    value: Any, form: Callable[[float], str], how: str = "measured", *, ranged: bool = False
) -> Cell:
    """A figure of a results file: a plain number, or one that says how it came about.

    The latter is what `Number.to_json` writes, or the same with `kind` for `how`. An estimate has
    its interval; with `ranged` a measurement has the range of what was measured, too.
    """
    if value is None:
        return unavailable("the results file has no such figure")
    if not isinstance(value, dict):
        return Cell(form(value), how)
    number = Number.from_json({"how" if key == "kind" else key: v for key, v in value.items()})
    if number.value is None:
        return unavailable(number.reason or "no reason given")
    if (ranged or number.how == "estimated") and number.low is not None and number.high is not None:
        interval = f" ({form(number.low)} to {form(number.high)})"
    else:
        interval = ""
    return Cell(form(number.value) + interval, number.how)


def averaged(values: list[float], form: Callable[[float], str]) -> str:
    """The mean and, of more than one, the standard deviation."""
    from statistics import mean, stdev

    if len(values) == 1:
        return form(values[0])
    return f"{form(mean(values))} ± {form(stdev(values))}"


def mean_text(value: dict[str, float | None]) -> str:
    """`mean` and, of more than one, `spread` of a results file."""
    if value["spread"] is None:
        return f"{value['mean']:.3f}"
    return f"{value['mean']:.3f} ± {value['spread']:.3f}"


def percent(before: float, after: float, digits: int = 1) -> str:
    """The change from one to the other: -12.3."""
    return f"{100 * (after / before - 1):+.{digits}f}"


def paper() -> dict[str, Any]:
    """The figures that the paper prints."""
    return tomllib.loads(Path(__file__).with_name("paper.toml").read_text("utf-8"))


def load(folder: Path, name: str) -> Any:
    """A results file's content; None where there is none."""
    file = folder / f"{name}.json"
    return json.loads(file.read_text("utf-8")) if file.is_file() else None


def missing(command: str, where: str = "") -> str:
    """What to run for a results file that is not there."""
    return f"run `{RUN} {command}`{where}"
