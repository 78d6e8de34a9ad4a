"""What each convolution's substitutes would cost in score: one layer replaced at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import keras
import numpy as np

from edgekit_converters.complexity import parameters, total_macs
from edgekit_converters.errors import RewriteError
from edgekit_converters.graph import read_graph
from edgekit_converters.lcrm.inherit import FRESH, Kept, inherit
from edgekit_converters.lcrm.plan import Decision, plan_lcrm
from edgekit_converters.lcrm.rewrite import apply_lcrm
from edgekit_converters.lcrm.rules import Choice
from edgekit_converters.train import TrainingData, score_of, validation_outputs

ScanProgress = Callable[[str, float], None]
"""Called before each part with what it is about and how much of the scan is done (0..1)."""

Rate = Callable[[Any], tuple[float, float]]

_MOST_MULTIPLIER = 4
_NOTHING = 2e-3
"""A share of the outputs' variance that a larger multiplier need not better."""
_MOST = 1024
"""Samples for one of dozens of fits, and to rate it."""


@dataclass(frozen=True)
class Trial:
    """One substitute of one convolution, all other layers being the parent's.

    Both without any training, on the validation samples: `lost` is how much lower the score is
    (chance may make it negative), `off` the mean squared difference of the outputs from the
    parent's, as a share of the variance of the parent's. MACs and parameters are those of the
    convolution and of its substitute.
    """

    path: str
    choice: Choice
    substitute: str
    lost: float
    off: float
    macs_before: int | None
    macs_after: int | None
    parameters_before: int
    parameters_after: int


@dataclass(frozen=True)
class Together:
    """Several layers replaced: the sum of how far each alone is `off`, and what they lose."""

    off: float
    lost: float


@dataclass(frozen=True)
class Scan:
    """A model's sensitivity to LCRM, layer by layer.

    `score` is the parent's on the validation samples that the scan rates by, `macs` (those that can
    be counted) and `parameters` are all of its own, `skipped` says why layers have no trial.
    """

    score: float
    macs: int
    parameters: int
    trials: tuple[Trial, ...]
    together: tuple[Together, ...]
    skipped: tuple[tuple[str, str], ...]


def scan(
    model: Any,
    data: TrainingData,
    samples: list[Any],
    *,
    where: tuple[str, ...] = (),
    keep_ends: bool = True,
    progress: ScanProgress | None = None,
) -> Scan:
    """Replaces each convolution alone, by every substitute that may be worth it, then all at once.

    Multipliers rise from 1 until the outputs hardly differ or nothing is saved, at most to 4; case
    2 is tried without a depthwise layer and with one. Substitutes inherit from the model on 1024 of
    the `samples`, one array per model input (on all where these are too few), and are rated on at
    most 1024 validation samples. Those that cannot inherit stay.

    Raises:
        RewriteError: there is no convolution to replace.
    """
    rated = _at_most(data, _MOST)
    graph = read_graph(model)
    plan = plan_lcrm(graph, where=where, keep_ends=keep_ends)
    candidates = [decision for decision in plan if decision.substitute is not None]
    skipped = {d.path: d.reason for d in plan if d.substitute is None}
    outputs = validation_outputs(model, rated)
    score = score_of(model, rated, outputs)
    rate = partial(_rated, data=rated, outputs=outputs, score=score)
    trials: list[Trial] = []
    some = fewer = [array[:_MOST] for array in samples]
    for index, decision in enumerate(candidates):
        if progress:
            progress(decision.path, index / (len(candidates) + 1))
        found = _alone(model, decision, keep_ends, fewer, rate)
        if isinstance(found, str):
            # What a layer needs of samples is known by its fit alone.
            some, found = samples, _alone(model, decision, keep_ends, samples, rate)
        if isinstance(found, str):
            skipped[decision.path] = found
        else:
            trials += found
    if not trials:
        reasons = "; ".join(f"{path}: {reason}" for path, reason in list(skipped.items())[:3])
        raise RewriteError(
            f"lcrm(auto=true): {model.name!r} has no convolution that LCRM could replace"
            f"{f' ({reasons})' if reasons else ''}; leave lcrm out of the recipe."
        )
    if progress:
        progress("all layers together", len(candidates) / (len(candidates) + 1))
    return Scan(
        score=score,
        macs=total_macs(graph)[0],
        parameters=parameters(model),
        trials=tuple(trials),
        together=_together(model, trials, keep_ends, some, rate),
        skipped=tuple(skipped.items()),
    )


def _rated(model: Any, *, data: TrainingData, outputs: Any, score: float) -> tuple[float, float]:
    """What the model loses of the score, and how far its outputs are off the parent's."""
    given = validation_outputs(model, data)
    wanted = outputs.astype(np.float64)
    off = float(np.mean((given - wanted) ** 2) / max(float(np.var(wanted)), 1e-30))
    return score - score_of(model, data, given), off


def _alone(
    model: Any, decision: Decision, keep_ends: bool, samples: list[Any], rate: Rate
) -> list[Trial] | str:
    """The trials of one convolution, or why its substitutes cannot inherit."""
    found: list[Trial] = []
    kept: Kept = {}
    for choice in _choices(decision):
        rewritten, plan = apply_lcrm(model, choices={decision.path: choice}, keep_ends=keep_ends)
        mine = next(each for each in plan if each.path == decision.path)
        if mine.substitute is None or not _saves(mine):
            break
        told, _ = inherit(model, rewritten, plan, samples, kept=kept)
        if told[mine.path].startswith(FRESH):
            return found or told[mine.path]
        lost, off = rate(rewritten)
        found.append(
            Trial(
                path=mine.path,
                choice=choice,
                substitute=str(mine.substitute),
                lost=lost,
                off=off,
                macs_before=mine.macs_before,
                macs_after=mine.macs_after,
                parameters_before=mine.parameters_before,
                parameters_after=mine.parameters_after,
            )
        )
        if off <= _NOTHING:
            break
    return found


def _together(
    model: Any, trials: list[Trial], keep_ends: bool, samples: list[Any], rate: Rate
) -> tuple[Together, ...]:
    """The first, second, … choice of every layer at once; the last where a layer has no more."""
    layers: dict[str, list[Trial]] = {}
    for trial in trials:
        layers.setdefault(trial.path, []).append(trial)
    found = []
    for index in range(max((len(each) for each in layers.values()), default=0)):
        chosen = [each[min(index, len(each) - 1)] for each in layers.values()]
        choices = {trial.path: trial.choice for trial in chosen}
        rewritten, plan = apply_lcrm(model, choices=choices, keep_ends=keep_ends)
        inherit(model, rewritten, plan, samples)
        lost, _ = rate(rewritten)
        found.append(Together(math.fsum(trial.off for trial in chosen), lost))
    return tuple(found)


def _choices(decision: Decision) -> tuple[Choice, ...]:
    """The substitutes of a convolution, in the order of what they cost."""
    down = decision.case == "2"
    deep = tuple(Choice(r, spatial=down) for r in range(1, _MOST_MULTIPLIER + 1))
    return (Choice(), *deep) if down else deep


def _saves(decision: Decision) -> bool:
    before, after = decision.macs_before, decision.macs_after
    return before is None or after is None or after < before


def _at_most(data: TrainingData, most: int) -> TrainingData:
    """At most so many validation samples, drawn: a folder is often read class by class."""
    x, y = data.validation
    drawn = np.sort(np.random.default_rng(0).permutation(len(y))[:most])
    return replace(
        data, validation=(keras.tree.map_structure(lambda a: np.asarray(a)[drawn], x), y[drawn])
    )
