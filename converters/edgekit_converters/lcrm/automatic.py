"""LCRM that chooses per layer: a scan, a goal, a choice, and whether what it promised came true."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edgekit_converters.errors import RewriteError
from edgekit_converters.lcrm.front import (
    Costs,
    Point,
    amount,
    choice_words,
    choose,
    counted_costs,
    front,
)
from edgekit_converters.lcrm.goal import Goal
from edgekit_converters.lcrm.places import Place
from edgekit_converters.lcrm.plan import Decision
from edgekit_converters.lcrm.scan import Scan

_ATTEMPTS = 4
_ROUNDING = 1e-9
"""0.91 - 0.88 is a little more than 0.03."""

_CLOSER = 0.95
"""What a missed goal's limit is multiplied with beyond its miss."""


@dataclass(frozen=True)
class Scanned:
    """What the choice is made from; `place` says what the chosen model really costs there."""

    scan: Scan
    costs: Costs
    place: Place | None = None


@dataclass(frozen=True)
class Built:
    """A rewritten model and its fit, with what it lost of the validation score."""

    model: Any
    decisions: tuple[Decision, ...]
    told: dict[str, str]
    refitted: tuple[str, ...]
    lost: float


def costs_of(scan: Scan, goal: Goal) -> Costs:
    """What a goal without a place saves: parameters where it is about them, MACs otherwise."""
    return counted_costs(scan, "parameters" if goal.measure == "parameters" else "macs")


def automatic(
    scanned: Scanned, goal: Goal, build: Callable[[Point], Built]
) -> tuple[Built, tuple[str, ...]]:
    """Chooses, builds, and compares with what was predicted; chooses again where it is missed.

    Returns:
        The first model that meets the goal, or the one that came nearest, and what to say of it.

    Raises:
        RewriteError: no choice is predicted to meet the goal.
    """
    scan, costs = scanned.scan, scanned.costs
    points = front(scan, costs)
    asked = limit_of(goal, costs)
    tried: list[tuple[float, Point, Built, float]] = []
    point = choose(points, goal, costs, asked)
    for _ in range(_ATTEMPTS):
        built = build(point)
        cost = _cost(point, built, scanned)
        reached = built.lost if goal.measure == "drop" else cost
        tried.append((reached, point, built, cost))
        if reached <= asked + _ROUNDING:
            break
        following = _nearer(points, goal, costs, point, asked, reached)
        if following is None or following == point:
            break
        point = following
    _, point, built, cost = min(tried, key=lambda attempt: attempt[0])
    return built, _said(scanned, goal, asked, point, built, cost, len(tried))


def limit_of(goal: Goal, costs: Costs) -> float:
    """The goal's limit in what the front holds: a share of the score, or a cost."""
    if goal.measure == "drop":
        return goal.limit / 100
    return goal.limit * costs.parent if goal.relative else goal.limit


def _nearer(
    points: tuple[Point, ...],
    goal: Goal,
    costs: Costs,
    point: Point,
    asked: float,
    reached: float,
) -> Point | None:
    """Another choice after one that missed: as much less of what it had too much of, and a bit.

    What is lost may grow faster than predicted, and a place may run layers otherwise together than
    they were priced alone.
    """
    share = asked / reached * _CLOSER
    limit = asked
    if goal.measure == "drop":
        points = tuple(each for each in points if each.off <= point.off * share)
    else:
        limit = point.cost * share
    try:
        return choose(points, goal, costs, limit)
    except RewriteError:
        return None


def _cost(point: Point, built: Built, scanned: Scanned) -> float:
    # Counts add up exactly; what a place makes of several layers together it has to say itself.
    return point.cost if scanned.place is None else scanned.place.price([built.model])[0]


def _said(
    scanned: Scanned, goal: Goal, asked: float, point: Point, built: Built, cost: float, tries: int
) -> tuple[str, ...]:
    scan, costs = scanned.scan, scanned.costs
    unit = costs.unit
    where = f" on {scanned.place.name}" if scanned.place else ""
    wanted = (
        f"at most {goal.limit:g} points lost"
        if goal.measure == "drop"
        else f"at most {amount(asked, unit)}{where}"
    )
    reached = built.lost if goal.measure == "drop" else cost
    missed = (
        "" if reached <= asked + _ROUNDING else f"; missed in {tries} attempts, this came nearest"
    )
    kept = sorted({t.path for t in scan.trials} - {path for path, _ in point.choices})
    chosen = ", ".join(f"{path} {choice_words(choice)}" for path, choice in point.choices)
    return (
        f"asked for {wanted}; predicted before training: score "
        f"{scan.score - point.lost:.3f} ({-100 * point.lost:+.1f} points) at "
        f"{amount(point.cost, unit)}{where} of {amount(costs.parent, unit)}; came out: score "
        f"{scan.score - built.lost:.3f} ({-100 * built.lost:+.1f} points) at {amount(cost, unit)}"
        f"{missed}",
        f"chose {chosen}" + (f"; kept {', '.join(kept)}" if kept else ""),
    )
