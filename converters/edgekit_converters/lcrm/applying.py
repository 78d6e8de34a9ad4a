"""The pass `lcrm`: rewritten, what was asked for inherited, trained where there are data."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import keras
import numpy as np

from edgekit_converters.errors import RecipeError, TrainingError
from edgekit_converters.lcrm.automatic import Built, Scanned, automatic, check_goal, costs_of
from edgekit_converters.lcrm.front import Point
from edgekit_converters.lcrm.inherit import inherit
from edgekit_converters.lcrm.plan import Decision
from edgekit_converters.lcrm.rewrite import apply_lcrm
from edgekit_converters.lcrm.scan import Scan, ScanProgress, scan
from edgekit_converters.learned import check_learned
from edgekit_converters.outcome import Outcome
from edgekit_converters.passes import FEWEST_SAMPLES, Lcrm
from edgekit_converters.retrained import retrained
from edgekit_converters.train import Progress, Training, TrainingData, validation_score


def lcrm(
    model: Any,
    step: Lcrm,
    data: TrainingData | None,
    training: Training,
    progress: Progress | None,
    scanned: Scanned | None = None,
) -> Outcome:
    """Applies LCRM to a copy of the model and trains it where there are data.

    `scanned` is what an automatic choice is made from; without it a goal that needs no place is
    reached with a scan of its own.

    Raises:
        ConverterError: options that do not fit the model or the data.
    """
    if step.auto:
        given, _ = _samples(model, step, data, training)
        scanned = scanned or _scanned(model, step, given, training)
        score = validation_score(model, given)
        build = partial(_build, model, step, given, training, progress, score)
        built, said = automatic(scanned, step.goal, score, build)
    else:
        rewritten, decisions = apply_lcrm(
            model,
            style=step.style,
            where=step.where,
            keep_ends=step.keep_ends,
            weights=step.weights,
            multiplier=step.multiplier,
            spatial=step.spatial,
        )
        told, refitted = _inherited(model, rewritten, decisions, step, data, training, progress)
        built, said = Built(rewritten, decisions, told, refitted, 0.0), ()
    changes = (_change(d, built.told) for d in built.decisions if d.substitute is not None)
    outcome = retrained(
        model,
        built.model,
        data,
        training,
        progress,
        changed=(*built.refitted, *changes),
        skipped=tuple((d.path, d.reason) for d in built.decisions if d.substitute is None),
        rate_option="--learning-rate",
    )
    return replace(outcome, decisions=built.decisions, notes=said)


def scan_model(
    model: Any,
    step: Lcrm,
    data: TrainingData | None,
    training: Training,
    progress: ScanProgress | None = None,
) -> Scan:
    """Scans the layers that `step` may replace, inheriting on its `samples` training samples.

    Raises:
        TrainingError: no data, too few of them, or a model that has learnt nothing.
        RewriteError: there is nothing to replace.
    """
    given, samples = _samples(model, step, data, training)
    return scan(
        model, given, samples, where=step.where, keep_ends=step.keep_ends, progress=progress
    )


def _scanned(model: Any, step: Lcrm, data: TrainingData | None, training: Training) -> Scanned:
    if step.goal.place is not None:
        raise RecipeError(
            f"{step}: what layers cost on {step.goal.place} is not known here; give run_pass("
            "scanned=…), or let edgekit optimize do it."
        )
    check_goal(model, step.goal)
    found = scan_model(model, step, data, training)
    return Scanned(found, costs_of(found, step.goal))


def _build(
    model: Any,
    step: Lcrm,
    data: TrainingData | None,
    training: Training,
    progress: Progress | None,
    score: float,
    point: Point,
) -> Built:
    """The model with the point's substitutes, which inherit together."""
    given, samples = _samples(model, step, data, training)
    rewritten, decisions = apply_lcrm(
        model, where=step.where, keep_ends=step.keep_ends, choices=dict(point.choices)
    )
    told, refitted = inherit(model, rewritten, decisions, samples, progress)
    return Built(rewritten, decisions, told, refitted, score - validation_score(rewritten, given))


def _inherited(
    model: Any,
    rewritten: Any,
    decisions: tuple[Decision, ...],
    step: Lcrm,
    data: TrainingData | None,
    training: Training,
    progress: Progress | None,
) -> tuple[dict[str, str], tuple[str, ...]]:
    """What the substitutes inherited, by path, and what else was refitted."""
    if not step.inherit:
        return {}, ()
    _, samples = _samples(model, step, data, training)
    return inherit(model, rewritten, decisions, samples, progress)


def _samples(
    model: Any, step: Lcrm, data: TrainingData | None, training: Training
) -> tuple[TrainingData, list[Any]]:
    """The data, and what of the training samples is inherited from, one array per model input."""
    if data is None:
        raise TrainingError(
            f"{step} fits the new layers to what the model makes of training samples; give the "
            "data (--data), or leave inherit and auto out."
        )
    arrays = keras.tree.flatten(data.train[0])
    count = len(arrays[0])
    if count < FEWEST_SAMPLES:
        raise TrainingError(
            f"{step}: {count} training samples are too few to inherit from, {FEWEST_SAMPLES} are "
            "the least and 1000 or more do well; give more data, or leave inherit and auto out."
        )
    check_learned(model, data, str(step))
    drawn = np.random.default_rng(training.seed).permutation(count)[: step.samples]
    return data, [array[drawn] for array in arrays]


def _change(decision: Decision, told: dict[str, str]) -> str:
    frozen = "was frozen, now trained; " if decision.frozen else ""
    fitted = f"{told[decision.path]}; " if decision.path in told else ""
    return f"{decision.path}: {decision.substitute} ({frozen}{fitted}case {decision.case})"
