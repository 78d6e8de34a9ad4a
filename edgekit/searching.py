"""A search on a user's model and data: the study, and the best model with its test score."""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.data import Dataset
from edgekit.disk import hidden, storing, try_folder
from edgekit.errors import RunError
from edgekit.outputs import check_model_file
from edgekit.progress import Listener, Step, silent
from edgekit.stages import Parent, training_data
from edgekit_device import Number

if TYPE_CHECKING:
    from edgekit_converters import Training
    from edgekit_converters.search.running import Found, Search
    from edgekit_converters.search.study import News


@dataclass(frozen=True)
class Searched:
    """What a study holds, and its best model where one was asked for.

    `metric` names the scores, `test` is the best model's on the test split: no other model of the
    study is ever rated on it.
    """

    found: Found
    metric: str
    file: Path | None = None
    test: Number | None = None


def search(
    parent: Parent,
    data: Dataset,
    asked: Search,
    *,
    training: Training,
    storage: str | Path = "search.db",
    out: str | Path | None = None,
    source: str | Path | None = None,
    custom_objects: str | Path | None = None,
    progress: Listener = silent,
) -> Searched:
    """Searches, or goes on with the study that the same arguments began.

    Args:
        parent: the model, which stays as it is.
        data: trials train on its training split and are rated on its validation split.
        asked: what is searched and how.
        training: epochs, seed, and what is not searched of batch size and learning rate.
        storage: the SQLite file; models lie in a folder beside it.
        out: where the best trial's model goes, a .keras file.
        source: what the model was loaded from, which `out` may not be.
        custom_objects: what `load_parent` was given.
        progress: told of every epoch.

    Raises:
        ConverterError, EdgeKitError: with what to do.
    """
    target = None if out is None else check_out(out, source)
    from edgekit_converters.search.running import search as run

    if target is not None:
        with _storing(target):
            try_folder(target.absolute().parent)
    given = training_data(data)
    found = run(
        parent.model, given, asked, training, storage, lambda news: progress(_step(news, training))
    )
    if target is None:
        return Searched(found, data.task.metric)
    if found.model is None:
        raise RunError(
            f"The study {found.study!r} has no best trial yet, so there is no model for {target} "
            f"({no_best(found)}); give more --trials or other --choices."
        )
    partial = hidden(target)
    with _storing(target):
        try:
            shutil.copyfile(found.model, partial)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    return Searched(found, data.task.metric, target, _test(target, parent, data, custom_objects))


def check_out(out: str | Path, source: str | Path | None = None) -> Path:
    """The file for the best model; `source` is what the searched model was loaded from.

    Raises:
        RunError: Keras would not read it again, it is the searched model, or its folder is not
            there.
    """
    path = Path(out)
    check_model_file(path, source)
    if not path.absolute().parent.is_dir():
        raise RunError(f"-o {path}: the folder {path.parent} does not exist; make it first.")
    return path


def no_best(found: Found) -> str:
    """Why a study has no best trial."""
    if any(trial.state == "complete" for trial in found.trials):
        return "only the standard convolution is complete, and it is no substitute"
    return "no trial is complete"


def values_text(values: dict[str, Any]) -> str:
    """What a trial tried, in a few words: a substitute alone, or name=value for each."""
    if list(values) == ["substitute"]:
        return str(values["substitute"])
    return ", ".join(f"{name}={value}" for name, value in values.items())


def _storing(target: Path) -> AbstractContextManager[None]:
    folder = target.absolute().parent
    return storing(folder, "the best model", kept="finished trials are kept", option="-o")


def _test(file: Path, parent: Parent, data: Dataset, custom_objects: str | Path | None) -> Number:
    import edgekit_converters as ec

    model = ec.load_model(file, custom_objects=custom_objects, safe=parent.safe)
    from_logits = ec.objective_for(model, data.targets).from_logits
    outputs = model.predict(data.test.x, verbose=0)
    return data.task.number(data.task.rate(outputs, data.test.y, from_logits))


def _step(news: News, training: Training) -> Step:
    task = f"trial {news.ordinal} of {news.trials} ({values_text(news.values)})"
    ended = news.ended
    if ended is not None:
        told = f"score {ended.score:.3f}" if ended.state == "complete" else ended.state
        return Step(task, 1.0, f"{told}: {ended.reason}" if ended.reason else told)
    if news.score is None:
        return Step(task, 0.0)
    done = f"epoch {news.epoch} of {training.epochs}: {news.score:.3f}"
    return Step(task, news.epoch / (training.epochs + 1), done)
