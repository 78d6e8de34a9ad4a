"""LCRM that chooses per layer: a scan, a goal, a choice, and whether what it promised came true."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from edgekit_converters.complexity import total_macs
from edgekit_converters.errors import RewriteError
from edgekit_converters.graph import read_graph
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


def check_goal(model: Any, goal: Goal) -> None:
    """Refuses a goal in MACs of a model whose MACs cannot be counted, before any work.

    Raises:
        RewriteError: naming the layers.
    """
    _, unknown = total_macs(read_graph(model))
    if unknown and goal.place is None and goal.measure != "parameters":
        named = ", ".join(unknown[:3]) + (", …" if len(unknown) > 3 else "")
        raise RewriteError(
            f"lcrm(auto=true): MACs of {named} cannot be counted, so that nothing says what a "
            "choice saves; give a target in parameters."
        )


def automatic(
    scanned: Scanned, goal: Goal, score: float, build: Callable[[Point], Built]
) -> tuple[Built, tuple[str, ...]]:
    """Chooses, builds, and compares with what was predicted; chooses again where it is missed.

    `score` is the parent's on all validation samples.

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
        untried = _untried(points, goal, costs, [each for _, each, _, _ in tried])
        if not untried:
            break
        point = _nearer(untried, goal, point, asked, reached)
    _, point, built, cost = min(tried, key=lambda attempt: attempt[0])
    return built, _said(scanned, goal, score, asked, point, built, cost, len(tried))


def limit_of(goal: Goal, costs: Costs) -> float:
    """The goal's limit in what the front holds: a share of the score, or a cost."""
    if goal.measure == "drop":
        return goal.limit / 100
    return goal.limit * costs.parent if goal.relative else goal.limit


def _untried(
    points: tuple[Point, ...], goal: Goal, costs: Costs, tried: list[Point]
) -> tuple[Point, ...]:
    """The choices that may meet a goal which those tried have missed."""
    saving = (point for point in points if point.choices and point.cost < costs.parent)
    if goal.measure == "drop":
        least = min(point.off for point in tried)
        return tuple(point for point in saving if point.off < least)
    return tuple(point for point in saving if point.cost < min(each.cost for each in tried))


def _nearer(
    untried: tuple[Point, ...],
    goal: Goal,
    point: Point,
    asked: float,
    reached: float,
) -> Point:
    """Another choice after one that missed: as much less of what it had too much of, and a bit.

    What is lost may grow faster than predicted, and a place may run layers otherwise together than
    they were priced alone. Where none is predicted to do, the one that comes nearest.
    """
    share = asked / reached * _CLOSER
    if goal.measure == "drop":
        near = [each for each in untried if each.off <= point.off * share and each.lost <= asked]
        return min(near, key=lambda each: each.cost) if near else _least_off(untried)
    near = [each for each in untried if each.cost <= point.cost * share]
    return _least_off(near) if near else min(untried, key=lambda each: each.cost)


def _least_off(points: Sequence[Point]) -> Point:
    return min(points, key=lambda each: each.off)


def _cost(point: Point, built: Built, scanned: Scanned) -> float:
    # Counts add up exactly; what a place makes of several layers together it has to say itself.
    return point.cost if scanned.place is None else scanned.place.price([built.model])[0]


def _said(
    scanned: Scanned,
    goal: Goal,
    score: float,
    asked: float,
    point: Point,
    built: Built,
    cost: float,
    tries: int,
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
    met = reached <= asked + _ROUNDING
    missed = "" if met else f"; missed ({tries} of {_ATTEMPTS} attempts), this came nearest"
    kept = sorted({t.path for t in scan.trials} - {path for path, _ in point.choices})
    chosen = ", ".join(f"{path} {choice_words(choice)}" for path, choice in point.choices)
    return (
        f"asked for {wanted}; predicted before training: score "
        f"{score - point.lost:.3f} ({-100 * point.lost:+.1f} points) at "
        f"{amount(point.cost, unit)}{where} of {amount(costs.parent, unit)}; came out: score "
        f"{score - built.lost:.3f} ({-100 * built.lost:+.1f} points) at {amount(cost, unit)}"
        f"{missed}",
        f"chose {chosen}" + (f"; kept {', '.join(kept)}" if kept else ""),
    )
