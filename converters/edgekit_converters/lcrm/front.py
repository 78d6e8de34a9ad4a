"""Which choices of substitutes lose least for what they cost, from a scan of single layers.

What single layers lose of the score drowns in chance, and what the outputs are off does not: that
is added up, and what a sum costs of the score is read off from models with all layers replaced
(docs/inheritance.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from edgekit_converters.errors import RewriteError
from edgekit_converters.lcrm.goal import Goal
from edgekit_converters.lcrm.rules import Choice
from edgekit_converters.lcrm.scan import Scan

_STATES = 2000
"""Points kept while layers are added: savings are told apart to 1/2000 of all of them."""


@dataclass(frozen=True)
class Costs:
    """What the parent costs in one measure, and what each choice saves of it."""

    unit: str
    parent: float
    saved: Mapping[tuple[str, Choice], float]


@dataclass(frozen=True)
class Point:
    """Layers replaced, by path, and what that is predicted to cost and to lose of the score.

    `off` is the sum of how far each layer alone puts the outputs off.
    """

    choices: tuple[tuple[str, Choice], ...]
    off: float
    cost: float
    lost: float = 0.0


def counted_costs(scan: Scan, measure: str) -> Costs:
    """Costs in `macs` (those that can be counted) or `parameters`."""
    saved = {
        (trial.path, trial.choice): float(
            (trial.macs_before or 0) - (trial.macs_after or 0)
            if measure == "macs"
            else trial.parameters_before - trial.parameters_after
        )
        for trial in scan.trials
    }
    parent = scan.macs if measure == "macs" else scan.parameters
    return Costs("MACs" if measure == "macs" else measure, float(parent or 0), saved)


def front(scan: Scan, costs: Costs) -> tuple[Point, ...]:
    """The choices that no other beats in both how far they are off and what they cost.

    Cheapest first; the last one keeps all layers, unless a substitute is not off at all.
    """
    states = [Point((), 0.0, costs.parent)]
    paths = {trial.path for trial in scan.trials}
    most = sum(
        max(saved for (path, _), saved in costs.saved.items() if path == one) for one in paths
    )
    for path, trials in groupby(scan.trials, key=lambda trial: trial.path):
        tried = list(trials)
        added = [
            Point(
                (*state.choices, (path, trial.choice)),
                state.off + trial.off,
                state.cost - costs.saved[path, trial.choice],
            )
            for state in states
            for trial in tried
        ]
        states = _best([*states, *added], most / _STATES)
    return tuple(replace(point, lost=predicted(scan, point.off)) for point in states)


def predicted(scan: Scan, off: float) -> float:
    """What layers that are so far off in sum lose of the score together.

    Straight lines between the models with all layers replaced, through nothing lost at 0, never
    falling; beyond the farthest of them its own line from 0 goes on.
    """
    found = sorted((each.off, max(each.lost, 0.0)) for each in scan.together)
    known = [(0.0, 0.0)]
    for far, lost in found:
        known.append((far, max(lost, known[-1][1])))
    farthest, most = known[-1]
    if off > farthest > 0:
        return most * off / farthest
    return float(np.interp(off, [each for each, _ in known], [lost for _, lost in known]))


def choose(points: Sequence[Point], goal: Goal, costs: Costs, limit: float) -> Point:
    """The cheapest point that loses at most `limit`, or the one that loses least at that cost.

    Raises:
        RewriteError: there is none; the nearest is named.
    """
    if goal.measure == "drop":
        within = [p for p in points if p.choices and p.lost <= limit and p.cost < costs.parent]
        if within:
            return min(within, key=lambda point: point.cost)
        replacing = [point for point in points if point.choices and point.cost < costs.parent]
        if not replacing:
            raise RewriteError(
                f"lcrm(auto=true): no substitute saves any {costs.unit}: the parent has "
                f"{amount(costs.parent, costs.unit)}, and where layers are so small, one more call "
                "costs more than fewer MACs save. Leave lcrm out, or give a target in macs."
            )
        least = min(replacing, key=lambda point: point.off)
        raise RewriteError(
            f"lcrm(auto=true): no choice of layers loses at most {100 * limit:g} points; the "
            f"nearest, {words(least)}, loses {100 * least.lost:.2f} points and comes to "
            f"{amount(least.cost, costs.unit)} instead of {amount(costs.parent, costs.unit)}. Ask "
            f"for drop<={rounded_up(100 * least.lost)} or more, or leave lcrm out."
        )
    if costs.parent <= limit:
        raise RewriteError(
            f"lcrm(auto=true): the parent has {amount(costs.parent, costs.unit)}, so that "
            f"{amount(limit, costs.unit)} need no other layers; leave lcrm out, or ask for less."
        )
    within = [point for point in points if point.cost <= limit]
    if within:
        return min(within, key=lambda point: (point.off, point.cost))
    least = min(points, key=lambda point: point.cost)
    raise RewriteError(
        f"lcrm(auto=true): no choice of layers comes to {amount(limit, costs.unit)}; the nearest, "
        f"{words(least)}, comes to {amount(least.cost, costs.unit)} and loses "
        f"{100 * least.lost:.1f} points before training. Ask for {rounded_up(least.cost)} or more."
    )


def words(point: Point) -> str:
    """The layers replaced, for people."""
    if not point.choices:
        return "which keeps all layers"
    return ", ".join(f"{path} {choice_words(choice)}" for path, choice in point.choices)


def choice_words(choice: Choice) -> str:
    """A choice in a table: r=2, or r=1+k where case 2 keeps its k x k kernel."""
    return f"r={choice.multiplier}{' with its kernel' if choice.spatial else ''}"


def amount(value: float, unit: str) -> str:
    """A cost with its unit, such as 4.31 M MACs or 5.2 ms."""
    if unit in ("ms", "mJ"):
        return f"{value:.4g} {unit}"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.2f} {letter} {unit}"
    return f"{value:.0f} {unit}"


def rounded_up(value: float) -> str:
    """A limit that the value keeps, with four digits or, above them, as a whole number."""
    if value >= 1e4:
        return str(math.ceil(value))
    step = 10.0 ** (math.floor(math.log10(value)) - 3) if value > 0 else 1.0
    return f"{math.ceil(value / step) * step:.10g}"


def _best(points: list[Point], step: float) -> list[Point]:
    """Those that no other beats, by cost; where they are many, one within each `step` of cost.

    The cheapest of all always stays.
    """
    thin = len(points) > _STATES and step > 0
    found: list[Point] = []
    for point in sorted(points, key=lambda point: (point.cost, point.off)):
        if found and point.off >= found[-1].off:
            continue
        if thin and len(found) > 1 and point.cost // step == found[-1].cost // step:
            found.pop()
        found.append(point)
    return found
