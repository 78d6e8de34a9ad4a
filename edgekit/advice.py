"""What to try next after a comparison, with the command for it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace

from edgekit.comparison import Advice, Row, Stage
from edgekit.data import Dataset
from edgekit_converters import (
    Activations,
    Cluster,
    Distill,
    Lcrm,
    LowRank,
    NpuQat,
    Prune,
    Qat,
    Quantize,
    Recipe,
    parse_recipe,
)
from edgekit_converters.passes import ANY_PATTERN, Pass, Target

_WORTH_TRAINING = 0.01
_NO_GAIN = 0.95


def advise(
    rows: Sequence[Row],
    stages: Sequence[Stage],
    epochs: int,
    command: str,
    runtimes: Mapping[str, str],
    tuning_epochs: int = 10,
) -> tuple[Advice, ...]:
    """Advice from the rows and how training went.

    `command` is the comparison's own, `runtimes` the TFLite runtime that each board used; `epochs`
    and `tuning_epochs` are the most that a stage could have.
    """
    found = (
        *_unfinished(rows, stages, epochs, tuning_epochs, command),
        *_no_faster(rows, command, runtimes),
        *_missing(rows, command),
        *_energy(rows, command),
    )
    return tuple(dict.fromkeys(found))


def _unfinished(
    rows: Sequence[Row], stages: Sequence[Stage], epochs: int, tuning_epochs: int, command: str
) -> list[Advice]:
    """One piece for each stage that is to blame, told by the first recipe that it spoils."""
    base = next((row for row in rows if row.recipe == "base"), None)
    known = {stage.recipe: stage for stage in stages}
    found: dict[str, Advice] = {}
    for row in rows:
        lost = _lost(row, base)
        behind = [known[name] for name in _trained(row) if name in known]
        if lost is None or lost <= _WORTH_TRAINING or not behind:
            continue
        worst = max(behind, key=lambda stage: _share(stage, behind, rows, base))
        if worst.recipe in found:
            continue
        said = f"{row.recipe} is {100 * lost:.1f} points under base"
        step = parse_recipe(worst.name).passes[-1]
        if isinstance(step, Distill):
            advice = _more_distillation(said, worst, step, command)
        elif isinstance(step, Lcrm):
            advice = _more_lcrm(said, worst, step, epochs, command)
        else:
            advice = _more_tuning(said, row, worst, step, tuning_epochs, command)
        found[worst.recipe] = advice
    return list(found.values())


def _trained(row: Row) -> tuple[str, ...]:
    """The stages behind a row, unless it was quantised after them: then they are not to blame."""
    passes = parse_recipe(row.recipe).passes
    if passes and isinstance(passes[-1], Quantize):
        return ()
    return row.stages or (row.recipe,)


def _share(stage: Stage, behind: Sequence[Stage], rows: Sequence[Row], base: Row | None) -> float:
    """The accuracy that one stage lost: by the files before and after it, else in training."""

    def row_after(stage: Stage) -> Row | None:
        return next((row for row in rows if _trained(row)[-1:] == (stage.recipe,)), None)

    place = behind.index(stage)
    lost = _lost(row_after(stage), row_after(behind[place - 1]) if place else base)
    if lost is not None:
        return lost
    if stage.accuracy_before is None or stage.accuracy_after is None:
        return 0.0
    return stage.accuracy_before - stage.accuracy_after


def _lost(row: Row | None, base: Row | None) -> float | None:
    if row is None or base is None or row.accuracy.value is None or base.accuracy.value is None:
        return None
    return base.accuracy.value - row.accuracy.value


def _more_lcrm(said: str, stage: Stage, given: Lcrm, epochs: int, command: str) -> Advice:
    if stage.epochs >= epochs:
        return Advice(
            f"{said} and was still training after {stage.epochs} epochs; give it more.",
            f"{command} --epochs {2 * max(epochs, 1)}",
        )
    if given.inherit:
        more = given.multiplier + 1
        what = f"give its depthwise layers {more} kernels per channel"
        variants = [replace(given, multiplier=more)]
    else:
        what, variants = "train all layers anew", [replace(given, weights="fresh")]
    if len(_substituted(stage)) > 1:
        what = f"keep the convolution {_most_harmful(stage)}, or {what}"
        variants.insert(0, replace(given, where=(*given.where, f"!{_most_harmful(stage)}")))
    return Advice(
        f"{said} although its training ended by itself after {stage.epochs} epochs; {what}.",
        f"{command} --recipes {_quoted(variants)}",
    )


def _more_distillation(said: str, stage: Stage, given: Distill, command: str) -> Advice:
    longer = replace(given, epochs=2 * given.epochs)
    passes = parse_recipe(stage.recipe).passes
    variant = Recipe(tuple(longer if step == given else step for step in passes))
    return Advice(
        f"{said} after {stage.epochs} epochs of distillation; give it more.",
        f"{command} --recipes {_quoted([variant])}",
    )


def _more_tuning(
    said: str, row: Row, stage: Stage, step: Pass, tuning_epochs: int, command: str
) -> Advice:
    """A gentler pass in the place of the one that lost, with more epochs where it used up its."""
    milder, what = _milder(step)
    passes = parse_recipe(row.recipe).passes
    variant = Recipe(tuple(milder if given == step else given for given in passes))
    if row.stages[-1:] != (stage.recipe,) and len(row.stages) > 1:
        said += f", most of it lost by {step}"
    if stage.epochs < tuning_epochs:
        return Advice(
            f"{said} although the training of {step} ended by itself after {stage.epochs} epochs; "
            f"try {what}.",
            f"{command} --recipes {_quoted([variant])}",
        )
    return Advice(
        f"{said} and {step} was still training after {stage.epochs} epochs; give it more, or try "
        f"{what}.",
        f"{command} --recipes {_quoted([row.recipe, variant])} "
        f"--tuning-epochs {2 * max(tuning_epochs, 1)}",
    )


def _milder(step: Pass) -> tuple[Pass, str]:
    """A pass that costs less accuracy in this one's place, and what it does."""
    if isinstance(step, Prune) and step.pattern != ANY_PATTERN:
        return replace(step, pattern=ANY_PATTERN), "zeros without a pattern"
    if isinstance(step, Prune):
        share = float(f"{0.6 * step.sparsity:.1g}")
        return replace(step, sparsity=share), f"fewer zeros ({share:g})"
    if isinstance(step, Cluster):
        return replace(step, centroids=2 * step.centroids), (
            f"more distinct values ({2 * step.centroids})"
        )
    if isinstance(step, NpuQat) and step.weight_bits < 8:
        more = step.weight_bits + 1
        return replace(step, weight_bits=more), f"weights of {more} bits"
    if isinstance(step, Activations):
        other: Target = "auto" if step.to == "hard_swish" else "hard_swish"
        return replace(step, to=other), f"activations of another kind ({other})"
    if isinstance(step, LowRank):
        energy = float(f"{(1 + step.energy) / 2:.3g}")
        return replace(step, energy=energy), f"factors with more of the energy ({energy:g})"
    io = step.io if isinstance(step, Qat | NpuQat) else "float"
    return Quantize("int16x8", io), "activations of 16 bits"


def _quoted(recipes: Sequence[object]) -> str:
    """Recipes as a shell takes them; an interactive one expands "!" within double quotes."""
    return " ".join(shlex.quote(str(recipe).replace("'", '"')) for recipe in recipes)


def _most_harmful(stage: Stage) -> str:
    """A case 2 substitute if there is one, since it loses the spatial kernel; else the last."""
    changes = _substituted(stage)
    pointwise = [change for change in changes if change.endswith("case 2)")]
    chosen = (pointwise or changes or [""])[-1]
    return chosen.split(":", 1)[0]


def _substituted(stage: Stage) -> list[str]:
    """What the stage changed, without the layers that it only fitted anew."""
    return [change for change in stage.changed if re.search(r"case [123.]+\)$", change)]


def _no_faster(rows: Sequence[Row], command: str, runtimes: Mapping[str, str]) -> list[Advice]:
    slow: dict[str, list[str]] = {}
    for row in rows:
        base = next((r for r in rows if r.recipe == "base" and r.board == row.board), None)
        if base is None or row is base or parse_recipe(row.recipe).export.scheme != "int8":
            continue
        ours, theirs = row.latency_p50_ms, base.latency_p50_ms
        if ours.value is None or theirs.value is None or ours.value < _NO_GAIN * theirs.value:
            continue
        slow.setdefault(row.board, []).append(row.recipe)
    found = []
    for board, names in slow.items():
        listed = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
        said = f"{listed} {'are' if len(names) > 1 else 'is'} no faster than base on {board}"
        if runtimes.get(board) == "tflite-runtime":
            advice = Advice(
                f"{said}; tflite-runtime may lack int8 kernels there. Try the other runtime.",
                f"{command} --runtime litert",
            )
        else:
            advice = Advice(f"{said}; there int8 makes the file smaller and no more.")
        found.append(advice)
    return found


def _missing(rows: Sequence[Row], command: str) -> list[Advice]:
    """What gives back the accuracy that int8 without training costs, unless it was tried."""
    recipes = {row.recipe for row in rows}
    base = next((row for row in rows if row.recipe == "base"), None)
    lost = _lost(next((row for row in rows if row.recipe == "int8"), None), base)
    if lost is None or lost <= _WORTH_TRAINING or recipes & {"Q", "int16x8"}:
        return []
    return [
        Advice(
            f"int8 costs {100 * lost:.1f} points; training with int8 rounding (Q) or activations "
            "of 16 bits usually give them back.",
            f"{command} --recipes base int8 Q int16x8",
        )
    ]


def _energy(rows: Sequence[Row], command: str) -> list[Advice]:
    reasons = [row.energy_j.reason for row in rows if row.error is None and not row.energy_j.value]
    if not reasons or any(row.energy_j.value for row in rows):
        return []
    return [
        Advice(
            f"No energy: {reasons[0]}. A board of your own is compared after edgekit boards add "
            "NAME ssh://USER@HOST; without one, an emulated board gives an estimate.",
            f"{command} --board qemu:pi4",
        )
    ]


def cautions(rows: Sequence[Row], stages: Sequence[Stage], data: Dataset) -> tuple[str, ...]:
    """Doubts about the comparison as a whole."""
    base = next((row for row in rows if row.recipe == "base" and row.error is None), None)
    if base is None or base.accuracy.low is None:
        return ()
    found = []
    score, trivial = data.trivial
    if base.accuracy.low <= score:
        found.append(
            f"base ({base.accuracy.value:.3f}) is not clearly better than {trivial} ({score:.3f}): "
            f"check that these data are the model's own ({data.task.check})."
        )
    trained = {stage.recipe for stage in stages if stage.epochs}
    better = [
        row
        for row in rows
        if trained & {row.recipe, *row.stages} and (row.accuracy_change.low or 0.0) > 0
    ]
    if better:
        found.append(
            f"{better[0].recipe}, which was trained on these data, is better than base by more "
            f"than chance: base may not fit these data ({data.task.check}) or has seen less "
            "training."
        )
    if data.test_drawn_here:
        found.append(
            "EdgeKit drew the test samples from the data given: if base was trained on them, its "
            f"{data.task.metric} is flattered. Give a test split of your own (x_test, or a test/ "
            "folder)."
        )
    return tuple(found)
