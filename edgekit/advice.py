"""What to try next after a comparison, with the command for it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace

from edgekit.comparison import Advice, Row, Stage
from edgekit.data import Dataset

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
    found = (
        *_unfinished(rows, stages, epochs, command),
        *_no_faster(rows, command, runtimes),
        *_missing(rows, command),
        *_energy(rows),
    )
    return tuple(dict.fromkeys(found))


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
            what = "train all layers anew"
            if len(stage.changed) > 1:
                what = f"keep the convolution {_most_harmful(stage)}, or {what}"
            found.append(
                Advice(
                    f"{behind} although its training ended by itself after {stage.epochs} epochs; "
                    f"{what}.",
                    f"{command} --recipes {' '.join(_gentler(stage))}",
                )
            )
    return found


def _gentler(stage: Stage) -> list[str]:
    """Variants of the stage's LCRM pass that cost less accuracy, quoted for a shell."""
    from edgekit_converters.recipe import Lcrm, parse_recipe

    given = next(p for p in parse_recipe(stage.name).passes if isinstance(p, Lcrm))
    variants = [replace(given, weights="fresh")]
    if len(stage.changed) > 1:
        variants.insert(0, replace(given, where=(*given.where, f"!{_most_harmful(stage)}")))
    # An interactive shell expands "!" within double quotes, not within single ones.
    return [shlex.quote(str(variant).replace("'", '"')) for variant in variants]


def _most_harmful(stage: Stage) -> str:
    """A case 2 substitute if there is one, since it loses the spatial kernel; else the last."""
    pointwise = [change for change in stage.changed if change.endswith("case 2)")]
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
    reasons = [row.energy_j.reason for row in rows if row.error is None and not row.energy_j.value]
    if not reasons:
        return []
    return [
        Advice(
            f"No energy: {reasons[0]}. On the board itself the agent knows its power model: "
            "install it there and profile the files.",
            "edgekit-agent profile FILE.tflite",
        )
    ]


def cautions(rows: Sequence[Row], stages: Sequence[Stage], data: Dataset) -> tuple[str, ...]:
    """Doubts about the comparison as a whole."""
    base = next((row for row in rows if row.recipe == "base" and row.error is None), None)
    if base is None or base.accuracy.low is None:
        return ()
    found = []
    if base.accuracy.low <= data.majority_share:
        found.append(
            f"base ({base.accuracy.value:.3f}) is not clearly better than always guessing the most "
            f"frequent class ({data.majority_share:.3f}): check that these data are the model's "
            "own (scaling with --pixels, order of the classes)."
        )
    trained = {stage.recipe for stage in stages if stage.epochs}
    better = [r for r in rows if r.recipe in trained and (r.accuracy_change.low or 0.0) > 0]
    if better:
        found.append(
            f"{better[0].recipe}, which was trained on these data, is better than base by more "
            "than chance: base may not fit these data (scaling, order of the classes) or has seen "
            "less training."
        )
    if data.test_drawn_here:
        found.append(
            "EdgeKit drew the test samples from the data given: if base was trained on them, its "
            "accuracy is flattered. Give a test split of your own (x_test, or a test/ folder)."
        )
    return tuple(found)
