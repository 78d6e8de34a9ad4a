"""What to try next after a comparison, with the command for it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace

from edgekit.comparison import Advice, Row, Stage

_WORTH_TRAINING = 0.01
_NO_GAIN = 0.95


def advise(
    rows: Sequence[Row],
    stages: Sequence[Stage],
    epochs: int,
    command: str,
    runtimes: Mapping[str, str],
) -> tuple[Advice, ...]:
    """Advice from the rows and how training went.

    `command` is the comparison's own, `runtimes` the TFLite runtime that each board used.
    """
    return (
        *_unfinished(rows, stages, epochs, command),
        *_no_faster(rows, command, runtimes),
        *_missing(rows, command),
        *_energy(rows),
    )


def _unfinished(
    rows: Sequence[Row], stages: Sequence[Stage], epochs: int, command: str
) -> list[Advice]:
    base = next((row.accuracy.value for row in rows if row.recipe == "base"), None)
    found = []
    for stage in stages:
        row = next((row for row in rows if row.recipe == stage.recipe), None)
        if row is None or row.accuracy.value is None or base is None:
            continue
        lost = base - row.accuracy.value
        if lost <= _WORTH_TRAINING:
            continue
        behind = f"{stage.recipe} is {100 * lost:.1f} points under base"
        if stage.epochs >= epochs:
            found.append(
                Advice(
                    f"{behind} and was still training after {stage.epochs} epochs; give it more.",
                    f"{command} --epochs {2 * max(epochs, 1)}",
                )
            )
        else:
            worst = _most_harmful(stage)
            found.append(
                Advice(
                    f"{behind} although its training ended by itself after {stage.epochs} epochs; "
                    f"keep the convolution {worst} and substitute the others, or train all layers "
                    "anew.",
                    f"{command} --recipes {_without(worst, stage.name)} 'lcrm(weights=fresh)'",
                )
            )
    return found


def _without(layer: str, step: str) -> str:
    """The LCRM pass less one convolution, for a shell (in which "!" needs single quotes)."""
    from edgekit_converters.recipe import Lcrm, parse_recipe

    given = next(p for p in parse_recipe(step).passes if isinstance(p, Lcrm))
    kept = replace(given, where=(*given.where, f"!{layer}"))
    return shlex.quote(str(kept).replace("'", '"'))


def _most_harmful(stage: Stage) -> str:
    """A case 2 substitute if there is one, since it loses the spatial kernel; else the last."""
    pointwise = [change for change in stage.changed if change.endswith("(case 2)")]
    chosen = (pointwise or list(stage.changed) or [""])[-1]
    return chosen.split(":", 1)[0]


def _no_faster(rows: Sequence[Row], command: str, runtimes: Mapping[str, str]) -> list[Advice]:
    found = []
    for row in rows:
        base = next((r for r in rows if r.recipe == "base" and r.board == row.board), None)
        if base is None or row is base or "int8" not in row.recipe:
            continue
        ours, theirs = row.latency_p50_ms, base.latency_p50_ms
        if ours.value is None or theirs.value is None or ours.value < _NO_GAIN * theirs.value:
            continue
        slow = f"{row.recipe} is no faster than base on {row.board}"
        if runtimes.get(row.board) == "tflite-runtime":
            advice = Advice(
                f"{slow}; tflite-runtime may lack int8 kernels there. Try the other runtime.",
                f"{command} --runtime litert",
            )
        else:
            advice = Advice(f"{slow}; there int8 makes the file smaller and no more.")
        found.append(advice)
    return found


def _missing(rows: Sequence[Row], command: str) -> list[Advice]:
    recipes = {row.recipe for row in rows}
    if "int8" in recipes and "int16x8" not in recipes:
        base = next((r.accuracy.value for r in rows if r.recipe == "base"), None)
        int8 = next((r.accuracy.value for r in rows if r.recipe == "int8"), None)
        if base is not None and int8 is not None and base - int8 > _WORTH_TRAINING:
            return [
                Advice(
                    f"int8 costs {100 * (base - int8):.1f} points; activations of 16 bits usually "
                    "give them back.",
                    f"{command} --recipes base int8 int16x8",
                )
            ]
    return []


def _energy(rows: Sequence[Row]) -> list[Advice]:
    if any(row.energy_j.how == "unavailable" and row.error is None for row in rows):
        return [
            Advice(
                "No energy for lack of a power model of this machine; install the agent on the "
                "board and profile the files there.",
                "edgekit-agent profile FILE.tflite",
            )
        ]
    return []
