"""What an automatic LCRM is asked to reach, as text and as a value. Needs no TensorFlow."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from edgekit_converters.errors import RecipeError

Measure = Literal["drop", "macs", "parameters", "latency_ms", "energy_mj"]
Scheme = Literal["int8", "float32"]
MEASURES: tuple[Measure, ...] = get_args(Measure)

_ELSEWHERE = ("latency_ms", "energy_mj")
_FACTORS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
_GOAL = re.compile(
    r"\s*(?P<measure>\w+)\s*<=\s*(?P<number>\d+(?:\.\d*)?(?:e[+-]?\d+)?|\.\d+)\s*(?P<unit>[kMGx]?)"
    r"(?:\s+on\s+(?P<place>\S+))?(?:\s+in\s+(?P<scheme>\w+))?\s*"
)
_FORM = (
    "write drop<=1 (points under the parent, before training), macs<=4M, macs<=0.4x, "
    "parameters<=0.3x, 'latency_ms<=5 on BOARD' or 'energy_mj<=0.2 on NPU'"
)


@dataclass(frozen=True)
class Goal:
    """At most `limit` of a measure. `drop` is in points: hundredths of the task's metric.

    With `relative` the limit is a multiple of the parent's. What `place` (a board or an NPU) costs
    is what a file of `scheme` costs there; `drop` takes it as what is to be saved.
    """

    measure: Measure
    limit: float
    relative: bool = False
    place: str | None = None
    scheme: Scheme = "int8"


def parse_goal(text: str) -> Goal:
    """Reads a goal such as `drop<=1`, `macs<=0.4x` or `latency_ms<=5 on qemu:pi4 in float32`.

    Raises:
        RecipeError: what cannot be read, and what may stand there.
    """
    match = _GOAL.fullmatch(text) if isinstance(text, str) else None
    if match is None or match["measure"] not in MEASURES:
        raise RecipeError(f"lcrm(target={text!r}): no such goal; {_FORM}.")
    measure, unit, place = match["measure"], match["unit"], match["place"]
    scheme: Scheme = "float32" if match["scheme"] == "float32" else "int8"
    if match["scheme"] not in (None, "int8", "float32"):
        raise RecipeError(
            f"lcrm(target={text!r}): what a place costs is reckoned in int8 or in float32, not in "
            f"{match['scheme']}."
        )
    if measure in _ELSEWHERE and place is None:
        raise RecipeError(
            f"lcrm(target={text!r}): {measure} depends on where the file runs; name a board or an "
            f"NPU, such as '{text.strip()} on {'pi4' if measure == 'latency_ms' else 'nepu-v1'}'."
        )
    if measure in ("macs", "parameters") and place is not None:
        raise RecipeError(
            f"lcrm(target={text!r}): {measure} are the same everywhere; leave out 'on {place}'."
        )
    if match["scheme"] and place is None:
        raise RecipeError(
            f"lcrm(target={text!r}): 'in {scheme}' is about a place; name one, or leave it out."
        )
    if measure == "drop" and unit:
        raise RecipeError(f"lcrm(target={text!r}): a drop is in points and has no {unit!r}.")
    limit = float(match["number"]) * _FACTORS.get(unit, 1.0)
    if not limit:
        raise RecipeError(f"lcrm(target={text!r}): give a limit above 0.")
    return Goal(measure, limit, unit == "x", place, scheme)
