"""A whole search: a study of models trained one after another, and the best of them."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args

import keras
import numpy as np

from edgekit_converters.complexity import total_macs
from edgekit_converters.errors import SearchError
from edgekit_converters.graph import check_graph, read_graph
from edgekit_converters.lcrm.rules import Weights
from edgekit_converters.objective import objective_for
from edgekit_converters.search.best import Shelf, winner
from edgekit_converters.search.building import open_places, substituted
from edgekit_converters.search.grouped import plain
from edgekit_converters.search.hyperparameters import optimizer, restarted
from edgekit_converters.search.space import Space, Values, What, space_of
from edgekit_converters.search.storage import load_optuna, open_study
from edgekit_converters.search.study import (
    News,
    Pruner,
    Report,
    Sampler,
    Trial,
    finished,
    importances,
    run_trials,
)
from edgekit_converters.search.substitutes import parse_candidate
from edgekit_converters.stage import fingerprint
from edgekit_converters.train import (
    Training,
    TrainingData,
    check_data,
    fine_tune,
    set_seed,
    validation_score,
)


@dataclass(frozen=True)
class Search:
    """What is searched and how.

    `sampler` None is the grid for substitutes and TPE for hyperparameters. `trials` counts those of
    the whole study; None is the whole grid, or 30 of TPE. `choices` narrows dimensions. `where`,
    `keep_ends` and `weights` are as for LCRM, and matter to substitutes alone. `study` None is
    named after what is searched.
    """

    what: What = "substitutes"
    sampler: Sampler | None = None
    pruner: Pruner = "median"
    trials: int | None = None
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    where: tuple[str, ...] = ()
    keep_ends: bool = True
    weights: Weights = "kept"
    study: str | None = None

    def __post_init__(self) -> None:
        rules: tuple[tuple[str, Any, Any], ...] = (
            ("sampler", self.sampler, (None, *get_args(Sampler))),
            ("pruner", self.pruner, get_args(Pruner)),
            ("weights", self.weights, get_args(Weights)),
        )
        for name, value, known in rules:
            if value not in known:
                told = ", ".join(one for one in known if one)
                raise SearchError(f"{name} is {value!r}; it must be one of {told}.")
        if self.trials is not None and self.trials < 1:
            raise SearchError(f"trials is {self.trials}; it must be 1 or more.")
        if self.what == "hyperparameters" and (self.where or self.weights != "kept"):
            raise SearchError(
                "where and weights choose substitutes; a search of hyperparameters trains the "
                "whole model anew. Leave them out."
            )

    @property
    def sampled(self) -> Sampler:
        """The sampler that is used."""
        return self.sampler or ("grid" if self.what == "substitutes" else "tpe")


@dataclass(frozen=True)
class Cost:
    """Parameters of a model, and the MACs of it that can be counted."""

    parameters: int
    macs: int


@dataclass(frozen=True)
class Found:
    """What a study holds so far.

    `best` is the winner (see `winner`) and `model` the file with what its training gave. `points`
    is the size of the space, `given` the model as it came, with its `given_score` on the validation
    samples; `importance` explains the score's variation by dimension, where there is enough of it.
    """

    what: What
    study: str
    storage: Path
    trials: tuple[Trial, ...]
    best: Trial | None
    model: Path | None
    points: int
    given: Cost
    given_score: float
    importance: dict[str, float]


def search(
    model: Any,
    data: TrainingData,
    asked: Search,
    training: Training,
    storage: str | Path,
    listen: Callable[[News], None] = lambda news: None,
) -> Found:
    """Searches, or goes on where an earlier search with the same arguments ended.

    Every trial trains a model of its own from `training`'s seed, for its epochs (its patience does
    not count), on the training samples; the score is the task's metric on the validation samples,
    at the epoch with the least validation loss. The caller's model stays as it is. The best trial's
    model lies in a folder beside the storage.

    Raises:
        SearchError: the storage or study cannot be used, or an option is not known.
        ConverterError: model and data do not fit, or nothing can be searched.
    """
    load_optuna()
    check_graph(model)
    check_data(model, data)
    objective_for(model, data.targets)
    if training.epochs < 1:
        raise SearchError(f"epochs is {training.epochs}; a search trains for 1 or more.")
    space = space_of(asked.what, asked.choices)
    if asked.what == "substitutes":
        open_places(model, asked.where, asked.keep_ends)
    path, name = Path(storage), asked.study or asked.what
    given = cost_of(model)
    with open_study(path, name, _identity(model, data, asked, space, training)) as study:
        folder = path.with_name(f"{path.stem}-models") / name
        shelf = Shelf(folder, given.parameters, asked.what, study)

        def evaluate(number: int, values: Values, report: Report) -> tuple[float, dict[str, Any]]:
            made, score, facts = train_one(model, data, asked, training, values, report)
            shelf.offer(number, values, score, facts, made)
            del made
            gc.collect()
            return score, facts

        run_trials(
            study, space, evaluate,
            sampler=asked.sampled, pruner=asked.pruner,
            trials=asked.trials or (space.size if asked.sampled == "grid" else 30),
            epochs=training.epochs, seed=training.seed, listen=listen,
        )  # fmt: skip
        trials = finished(study)
        best = winner(trials, asked.what, given.parameters)
        if best is not None and not shelf.file(best.number).exists():
            made, _, _ = train_one(model, data, asked, training, best.values)
            shelf.put(best.number, made)
        return Found(
            asked.what, name, path, trials, best,
            None if best is None else shelf.file(best.number),
            space.size, given, validation_score(model, data), importances(study),
        )  # fmt: skip


def cost_of(model: Any) -> Cost:
    """What a model holds and computes."""
    return Cost(int(model.count_params()), total_macs(read_graph(model))[0])


def train_one(
    model: Any,
    data: TrainingData,
    asked: Search,
    training: Training,
    values: Values,
    report: Report | None = None,
) -> tuple[Any, float, dict[str, Any]]:
    """One point's model, trained; its score on the validation samples; and facts about it.

    Raises:
        ConverterError: nothing to replace, or training that diverges.
    """
    set_seed(training.seed, training.deterministic)
    facts: dict[str, Any] = {}
    tuned = _training(asked.what, training, values)
    if asked.what == "substitutes":
        made = substituted(
            model, parse_candidate(str(values["substitute"])),
            where=asked.where, keep_ends=asked.keep_ends, weights=asked.weights,
        )  # fmt: skip
        trained, chosen = made.model, None
        facts = {"replaced": list(made.replaced), "left": [list(pair) for pair in made.left]}
    else:
        trained = restarted(model, str(values["initializer"]), str(values["activation"]))
        chosen = optimizer(str(values["optimizer"]), tuned.learning_rate)
    objective = objective_for(trained, data.targets)

    def watch(epoch: int, _: int, metrics: dict[str, float]) -> None:
        if report is not None:
            known = metrics.get("val_accuracy") if data.kind == "classification" else None
            report(epoch, validation_score(trained, data) if known is None else known)

    rate = "learning_rate" if chosen is not None else "--learning-rate"
    done = fine_tune(
        trained, data.train, data.validation, objective, tuned, watch,
        optimizer=chosen, rate_option=rate,
    )  # fmt: skip
    facts |= {**asdict(cost_of(trained)), "epochs": done.epochs, "best_epoch": done.best_epoch}
    facts["val_loss"] = done.history["val_loss"]
    return plain(trained), validation_score(trained, data), facts


def _training(what: What, training: Training, values: Values) -> Training:
    facts = {**vars(training), "patience": 0}
    if what == "hyperparameters":
        facts |= {
            "learning_rate": float(values["learning_rate"]),
            "batch_size": int(values["batch_size"]),
        }
    return Training(**facts)


def _identity(
    model: Any, data: TrainingData, asked: Search, space: Space, training: Training
) -> dict[str, Any]:
    """Whatever changes what a trial's score means, or which trials there are."""
    facts: dict[str, Any] = {
        "what": asked.what,
        "model": fingerprint(model),
        "data": _data_key(data),
        "sampler": asked.sampled,
        "pruner": asked.pruner,
        "epochs": training.epochs,
        "seed": training.seed,
        "deterministic": training.deterministic,
    }
    if asked.what == "substitutes":
        facts |= {
            "where": list(asked.where),
            "keep_ends": asked.keep_ends,
            "weights": asked.weights,
            "batch_size": training.batch_size,
            "learning_rate": training.learning_rate,
        }
    return {**facts, **{f"choices of {name}": list(got) for name, got in space.choices.items()}}


def _data_key(data: TrainingData) -> str:
    digest = hashlib.sha256(f"{data.kind}{data.classes}".encode())
    for array in keras.tree.flatten([list(data.train), list(data.validation)]):
        given = np.asarray(array)
        # Whole numbers are the same data, whatever they are kept in.
        given = given.astype(np.int64) if given.dtype.kind == "u" else given
        digest.update(f"{given.shape}{given.dtype}".encode())
        digest.update(np.ascontiguousarray(given).data)
    return digest.hexdigest()
