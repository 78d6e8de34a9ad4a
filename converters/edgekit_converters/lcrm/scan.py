"""What each convolution's substitutes would cost in score: one layer replaced at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras

from edgekit_converters.complexity import parameters, total_macs
from edgekit_converters.errors import RewriteError
from edgekit_converters.graph import read_graph
from edgekit_converters.lcrm.inherit import inherit
from edgekit_converters.lcrm.plan import Decision, plan_lcrm
from edgekit_converters.lcrm.rewrite import apply_lcrm
from edgekit_converters.lcrm.rules import Choice
from edgekit_converters.train import TrainingData, validation_score

ScanProgress = Callable[[str, int, int], None]
"""Called before each layer with its path, its number from 1 and how many there are."""

_MOST_MULTIPLIER = 6
_NOTHING = 1e-3
"""A loss of score that a larger multiplier need not better: a tenth of a point."""
_MOST_VALIDATION = 2048


@dataclass(frozen=True)
class Trial:
    """One substitute of one convolution, all other layers being the parent's.

    `lost` is how much lower the validation score is without any training; chance may make it
    negative. MACs and parameters are those of the convolution and of its substitute.
    """

    path: str
    choice: Choice
    substitute: str
    lost: float
    macs_before: int | None
    macs_after: int | None
    parameters_before: int
    parameters_after: int


@dataclass(frozen=True)
class Scan:
    """A model's sensitivity to LCRM, layer by layer.

    `score` is the parent's on the validation samples, `macs` and `parameters` are all of its own
    (`macs` None where the graph leaves sizes open), `skipped` says why layers have no trial.
    """

    score: float
    macs: int | None
    parameters: int
    trials: tuple[Trial, ...]
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
    """Replaces every convolution alone, by every substitute that may be worth it.

    Multipliers rise from 1 until nothing is lost or nothing is saved, at most to 6; case 2 is tried
    without a depthwise layer and with one. Substitutes inherit from the model on `samples`, one
    array per model input, and are scored on at most 2048 validation samples.

    Raises:
        RewriteError: there is no convolution to replace.
    """
    few = _at_most(data, _MOST_VALIDATION)
    graph = read_graph(model)
    plan = plan_lcrm(graph, where=where, keep_ends=keep_ends)
    candidates = [decision for decision in plan if decision.substitute is not None]
    skipped = tuple((d.path, d.reason) for d in plan if d.substitute is None)
    if not candidates:
        reasons = "; ".join(f"{path}: {reason}" for path, reason in skipped[:3])
        raise RewriteError(
            f"lcrm(auto=true): {model.name!r} has no convolution that LCRM could replace"
            f"{f' ({reasons})' if reasons else ''}; leave lcrm out of the recipe."
        )
    score = validation_score(model, few)
    trials: list[Trial] = []
    for number, decision in enumerate(candidates, 1):
        if progress:
            progress(decision.path, number, len(candidates))
        trials += _layer(model, decision, keep_ends, few, samples, score)
    total, unknown = total_macs(graph)
    return Scan(
        score=score,
        macs=None if unknown else total,
        parameters=parameters(model),
        trials=tuple(trials),
        skipped=skipped,
    )


def _layer(
    model: Any,
    decision: Decision,
    keep_ends: bool,
    data: TrainingData,
    samples: list[Any],
    score: float,
) -> list[Trial]:
    found = []
    for choice in _choices(decision):
        rewritten, plan = apply_lcrm(model, choices={decision.path: choice}, keep_ends=keep_ends)
        mine = next(each for each in plan if each.path == decision.path)
        if mine.substitute is None or not _saves(mine):
            break
        inherit(model, rewritten, plan, samples)
        lost = score - validation_score(rewritten, data)
        found.append(
            Trial(
                path=mine.path,
                choice=choice,
                substitute=str(mine.substitute),
                lost=lost,
                macs_before=mine.macs_before,
                macs_after=mine.macs_after,
                parameters_before=mine.parameters_before,
                parameters_after=mine.parameters_after,
            )
        )
        if lost <= _NOTHING:
            break
    return found


def _choices(decision: Decision) -> tuple[Choice, ...]:
    """The substitutes of a convolution, in the order of what they cost."""
    down = decision.case == "2"
    deep = tuple(Choice(r, spatial=down) for r in range(1, _MOST_MULTIPLIER + 1))
    return (Choice(), *deep) if down else deep


def _saves(decision: Decision) -> bool:
    before, after = decision.macs_before, decision.macs_after
    return before is None or after is None or after < before


def _at_most(data: TrainingData, most: int) -> TrainingData:
    x, y = data.validation
    return replace(data, validation=(keras.tree.map_structure(lambda a: a[:most], x), y[:most]))
