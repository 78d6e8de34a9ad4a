"""A search on a user's model and data: the study, and the best model with its test score."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.data import Dataset
from edgekit.disk import hidden, storing
from edgekit.errors import RunError
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
        custom_objects: what `load_parent` was given.
        progress: told of every epoch.

    Raises:
        ConverterError, EdgeKitError: with what to do.
    """
    target = None if out is None else check_out(out)
    from edgekit_converters.search.running import search as run

    given = training_data(data)
    if given is None:
        raise RunError("A search trains and rates models; give data.")
    found = run(
        parent.model, given, asked, training, storage, lambda news: progress(_step(news, training))
    )
    if target is None:
        return Searched(found, data.task.metric)
    if found.model is None:
        raise RunError(
            f"The study {found.study!r} has no complete trial yet, so there is no model for "
            f"{target}; give more --trials."
        )
    with storing(target.absolute().parent, "the best model"):
        partial = hidden(target)
        shutil.copyfile(found.model, partial)
        partial.replace(target)
    return Searched(found, data.task.metric, target, _test(target, parent, data, custom_objects))


def check_out(out: str | Path) -> Path:
    """The file for the best model.

    Raises:
        RunError: Keras would not read it again, or its folder is not there.
    """
    path = Path(out)
    if path.suffix != ".keras":
        raise RunError(f"-o {path}: Keras models end in .keras; name such a file.")
    if not path.absolute().parent.is_dir():
        raise RunError(f"-o {path}: the folder {path.parent} does not exist; make it first.")
    return path


def values_text(values: dict[str, Any]) -> str:
    """What a trial tried, in a few words: a substitute alone, or name=value for each."""
    if list(values) == ["substitute"]:
        return str(values["substitute"])
    return ", ".join(f"{name}={value}" for name, value in values.items())


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
