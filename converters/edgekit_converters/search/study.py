"""The loop over trials: what is tried next, what came of it, and when a trial is given up.

What is tried next depends on the finished trials and the seed alone, never on when a search was
killed, so one that goes on tries what it would have tried.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any, Literal

from edgekit_converters.errors import ConverterError, SearchError
from edgekit_converters.search.space import Space, Value, Values
from edgekit_converters.search.storage import FACTS, REASON, load_optuna

Sampler = Literal["grid", "tpe"]
Pruner = Literal["median", "halving", "none"]
State = Literal["complete", "pruned", "failed"]
_WARMING_UP = 4
"""Finished trials before a median says anything, and random ones before TPE models them."""
_ATTEMPTS = 20


@dataclass(frozen=True)
class Trial:
    """A trial that has come to its end.

    `score` is that of a complete trial, and the last one seen of a pruned trial; `reason` says why
    it was pruned or failed. `facts` are what the trial noted of itself.
    """

    number: int
    values: Values
    state: State
    score: float | None
    reason: str
    facts: dict[str, Any]


@dataclass(frozen=True)
class News:
    """Where a search is: the how manieth trial of how many, its epoch, and its end."""

    ordinal: int
    trials: int
    values: Values
    epoch: int = 0
    score: float | None = None
    ended: Trial | None = None


class HopelessError(Exception):
    """Ends a trial that its pruner has given up; never leaves this package."""


Report = Callable[[int, float], None]
"""Takes (epoch from 1, score) and raises HopelessError where the trial is given up."""
Evaluate = Callable[[int, Values, Report], tuple[float, dict[str, Any]]]
"""Takes (trial number, values, report) and gives score and facts."""


def run_trials(
    study: Any,
    space: Space,
    evaluate: Evaluate,
    *,
    sampler: Sampler,
    pruner: Pruner,
    trials: int,
    epochs: int,
    seed: int,
    listen: Callable[[News], None],
) -> None:
    """Goes on until the study has `trials` finished ones, or has tried every point.

    A ConverterError fails its trial, with its text as the reason. A SearchError (what a trial gave
    cannot be kept) and any other error end the search, and the trial's point is tried again.
    """
    optuna = load_optuna()
    study.pruner = _pruner(optuna, pruner, epochs)
    distributions = {
        name: optuna.distributions.CategoricalDistribution(options)
        for name, options in space.choices.items()
    }
    trials = min(trials, space.size)
    while len(done := finished(study)) < trials:
        values = next_values(study, space, sampler, seed)
        if values is None:
            return
        study.sampler = _told(optuna, values)
        trial = study.ask(distributions)
        ordinal = len(done) + 1
        listen(News(ordinal, trials, values))

        def report(
            epoch: int, score: float, trial: Any = trial, values: Values = values,
            ordinal: int = ordinal,
        ) -> None:  # fmt: skip
            listen(News(ordinal, trials, values, epoch, score))
            trial.report(score, epoch)
            if epoch < epochs and trial.should_prune():
                trial.set_user_attr(
                    REASON, f"given up after epoch {epoch} of {epochs} at {score:.3f} ({pruner})"
                )
                raise HopelessError

        start = monotonic()
        try:
            score, facts = evaluate(trial.number, values, report)
        except HopelessError:
            told = {"state": optuna.trial.TrialState.PRUNED}
        except SearchError:
            raise
        except ConverterError as error:
            trial.set_user_attr(REASON, str(error))
            told = {"state": optuna.trial.TrialState.FAIL}
        else:
            trial.set_user_attr(FACTS, {**facts, "seconds": round(monotonic() - start, 2)})
            told = {"values": score}
        study.tell(trial.number, **told)
        listen(News(ordinal, trials, values, ended=finished(study)[-1]))


def finished(study: Any) -> tuple[Trial, ...]:
    """The trials that came to their end; those lost with a killed search are none."""
    found = []
    for trial in study.get_trials(deepcopy=False):
        name, reason = trial.state.name, trial.user_attrs.get(REASON, "")
        state: State | None = None
        if name == "COMPLETE":
            state = "complete"
        elif reason and name in ("PRUNED", "FAIL"):
            state = "pruned" if name == "PRUNED" else "failed"
        if state is not None:
            score = trial.value if state == "complete" else _last(trial.intermediate_values)
            facts = trial.user_attrs.get(FACTS, {})
            found.append(Trial(trial.number, dict(trial.params), state, score, reason, facts))
    return tuple(found)


def next_values(study: Any, space: Space, sampler: Sampler, seed: int) -> Values | None:
    """A point that no finished trial had: the grid's next, or what TPE makes of those trials."""
    tried = {_key(trial.values) for trial in finished(study)}
    if sampler == "tpe":
        for attempt in range(_ATTEMPTS):
            # The likeliest gain of many draws is often a point tried before; single draws spread.
            draws = 24 if attempt == 0 else 1
            values = _suggested(study, space, _seed(seed, len(tried), attempt), draws)
            if _key(values) not in tried:
                return values
    return next((point for point in space.points(seed) if _key(point) not in tried), None)


def importances(study: Any) -> dict[str, float]:
    """How much of the score's variation each dimension explains (fANOVA), the largest first.

    Empty where fewer than four complete trials, or none that differ, leave nothing to explain.
    Hutter, Hoos, Leyton-Brown: "An Efficient Approach for Assessing Hyperparameter Importance",
    ICML 2014.
    """
    optuna = load_optuna()
    complete = [trial for trial in finished(study) if trial.state == "complete"]
    varied = [
        name
        for name in (complete[0].values if complete else ())
        if len({trial.values[name] for trial in complete}) > 1
    ]
    if len(complete) < _WARMING_UP or not varied or len({trial.score for trial in complete}) < 2:
        return {}
    try:
        import sklearn  # noqa: F401
    except ImportError:
        return {}
    found = optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0), params=varied
    )
    return {name: float(value) for name, value in found.items()}


def _suggested(study: Any, space: Space, seed: int, draws: int) -> Values:
    """TPE's next point, from a copy of the finished trials: nothing is stored."""
    optuna = load_optuna()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=_WARMING_UP, n_ei_candidates=draws, multivariate=False
        )
    copy = optuna.create_study(direction="maximize", sampler=sampler)
    numbers = {trial.number for trial in finished(study)}
    copy.add_trials([trial for trial in study.get_trials() if trial.number in numbers])
    trial = copy.ask()
    return {name: trial.suggest_categorical(name, opts) for name, opts in space.choices.items()}


def _told(optuna: Any, values: Values) -> Any:
    """A sampler that gives these values, so that asking stores them at once."""

    class Told(optuna.samplers.BaseSampler):  # type: ignore[misc]
        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
            return {}

        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
            return {}

        def sample_independent(self, study: Any, trial: Any, name: str, _: Any) -> Value:
            return values[name]

    return Told()


def _pruner(optuna: Any, pruner: Pruner, epochs: int) -> Any:
    if pruner == "median":
        return optuna.pruners.MedianPruner(
            n_startup_trials=_WARMING_UP, n_warmup_steps=max(epochs // 4, 1)
        )
    if pruner == "halving":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)
    return optuna.pruners.NopPruner()


def _last(seen: dict[int, float]) -> float | None:
    return seen[max(seen)] if seen else None


def _key(values: Values) -> tuple[tuple[str, Value], ...]:
    return tuple(sorted(values.items()))


def _seed(*parts: int) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "big")
