"""`edgekit scan`: what every substitute of every convolution would lose and save, and the front."""

from __future__ import annotations

import argparse
import json
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgekit.cli.commands import out_of, parent_of
from edgekit.cli.live import live
from edgekit.errors import RunError
from edgekit_converters.passes import DEFAULT_TARGET, Lcrm

if TYPE_CHECKING:
    from edgekit_converters import Costs, Point, Scan, Scanned

SCHEMA = "edgekit.scan/1"

_PIPE_WIDTH = 120
_MOST_POINTS = 16


@dataclass(frozen=True)
class Shown:
    """A scan, its front, and the point that the budget picks."""

    model: str
    data: str
    metric: str
    step: Lcrm
    scanned: Scanned
    points: tuple[Point, ...]
    picked: Point | None


def run(options: argparse.Namespace) -> int:
    """`edgekit scan MODEL --data D`."""
    shown = _scanned(options)
    if options.json:
        print(json.dumps(_json(shown), indent=1))
    else:
        _print(shown, options)
    return 0


def _scanned(options: argparse.Namespace) -> Shown:
    import edgekit_converters as ec
    from edgekit.optimization import load_data_for
    from edgekit.scanning import scan

    step = _step(options)
    with live() as progress:
        progress.note("loading the model")
        training, parent = ec.Training(seed=options.seed), parent_of(options)
        data = load_data_for(parent, options.data, seed=training.seed, pixels=options.pixels)
        scanned = scan(
            parent, step, data, out=out_of(options, parent), training=training, progress=progress
        )
        points = ec.front(scanned.scan, scanned.costs)
        picked = None
        if options.budget is not None or step.target != DEFAULT_TARGET:
            limit = ec.limit_of(step.goal, scanned.costs)
            picked = ec.choose(points, step.goal, scanned.costs, limit)
    name = parent.model.name
    return Shown(name, data.describe(), data.task.metric, step, scanned, points, picked)


def _step(options: argparse.Namespace) -> Lcrm:
    import edgekit_converters as ec

    passes = ec.parse_recipe(options.lcrm).passes
    if len(passes) != 1 or not isinstance(passes[0], Lcrm) or not passes[0].auto:
        raise RunError(
            f"--lcrm {options.lcrm!r}: give one automatic lcrm pass, such as "
            "lcrm(auto=true, where='block*')."
        )
    if options.budget is None:
        return passes[0]
    if passes[0].target != DEFAULT_TARGET:
        raise RunError(
            f"--lcrm {options.lcrm!r} has a target and --budget {options.budget!r} is one; give "
            "one of them."
        )
    return replace(passes[0], target=options.budget)


def _json(shown: Shown) -> dict[str, Any]:
    from edgekit_device.codec import encode

    costs = shown.scanned.costs
    return {
        "schema": SCHEMA,
        "model": shown.model,
        "data": shown.data,
        "metric": shown.metric,
        "recipe": str(shown.step),
        "scan": encode(shown.scanned.scan),
        "unit": costs.unit,
        "parent_cost": costs.parent,
        "saved": [costs.saved[trial.path, trial.choice] for trial in shown.scanned.scan.trials],
        "front": [encode(point) for point in shown.points],
        "picked": None if shown.picked is None else encode(shown.picked),
    }


def _print(shown: Shown, options: argparse.Namespace) -> None:
    from edgekit_converters.lcrm.front import amount

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(width=_PIPE_WIDTH, highlight=False)
    scan, costs = shown.scanned.scan, shown.scanned.costs
    place = f" on {shown.scanned.place.name}" if shown.scanned.place else ""
    console.print(
        f"{shown.model} on {shown.data}: validation {shown.metric} {scan.score:.3f}, "
        f"{amount(costs.parent, costs.unit)}{place}",
        markup=False, soft_wrap=True,
    )  # fmt: skip
    console.print()
    console.print(_trials(scan, costs))
    for path, reason in scan.skipped:
        console.print(f"{path} stays: {reason}", markup=False, soft_wrap=True)
    console.print()
    console.print(_front(shown, _thinned(shown.points, shown.picked)))
    console.print(
        "Predicted, before any training: how far single layers put the outputs off (a share of "
        "their variance), added up, and what that loses, as seen with all layers replaced. "
        "Training gains much of it back; a choice that is carried out says what came of it.",
        soft_wrap=True,
    )
    _next(console, shown, options)


def _trials(scan: Scan, costs: Costs) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("convolution")
    table.add_column("replaced alone by")
    table.add_column("outputs off", justify="right")
    table.add_column("loses (points)", justify="right")
    table.add_column(f"saves of all {costs.unit}", justify="right")
    earlier = ""
    for trial in scan.trials:
        share = costs.saved[trial.path, trial.choice] / costs.parent if costs.parent else 0.0
        name = trial.path if trial.path != earlier else ""
        table.add_row(
            Text(name),
            trial.substitute,
            f"{trial.off:.2%}",
            f"{100 * trial.lost:.1f}",
            f"{share:.1%}",
        )
        earlier = trial.path
    return table


def _front(shown: Shown, points: list[Point]) -> Table:
    from edgekit_converters.lcrm.front import amount, choice_words

    scan, costs = shown.scanned.scan, shown.scanned.costs
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    table.add_column(shown.metric, justify="right")
    table.add_column(costs.unit, justify="right")
    table.add_column("of the parent's", justify="right")
    table.add_column("replaced", overflow="fold")
    for point in points:
        replaced = ", ".join(f"{path} {choice_words(choice)}" for path, choice in point.choices)
        table.add_row(
            "→" if point == shown.picked else "",
            f"{scan.score - point.lost:.3f}",
            amount(point.cost, costs.unit).removesuffix(f" {costs.unit}"),
            f"{point.cost / costs.parent:.2f}x" if costs.parent else "",
            Text(replaced or "nothing"),
        )
    return table


def _thinned(points: tuple[Point, ...], picked: Point | None) -> list[Point]:
    """Both ends, the picked point, and some between at equal steps."""
    if len(points) <= _MOST_POINTS:
        return list(points)
    steps = {round(i * (len(points) - 1) / (_MOST_POINTS - 1)) for i in range(_MOST_POINTS)}
    return [point for i, point in enumerate(points) if i in steps or point == picked]


def _next(console: Console, shown: Shown, options: argparse.Namespace) -> None:
    if shown.picked is None:
        console.print(
            "Pick a point with --budget, such as --budget 'drop<=2', 'macs<=0.4x', "
            "'latency_ms<=5 on qemu:pi4'.",
            soft_wrap=True,
        )
        return
    words = ["edgekit", "compare", options.model, "--data", options.data]
    for name, usual in (("custom_objects", None), ("pixels", "unit"), ("seed", 0), ("out", None)):
        if getattr(options, name) != usual:
            words += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    words += ["--unsafe"] if options.unsafe else []
    words += ["--recipes", f"{shown.step}+distill+int8"]
    console.print(f"Carry it out: {shlex.join(words)}", markup=False, soft_wrap=True)
