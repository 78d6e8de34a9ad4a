"""`edgekit search`: a study as a table, and how to use the best of it."""

from __future__ import annotations

import argparse
import json
import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from edgekit.cli.live import live
from edgekit.errors import RunError
from edgekit.outputs import free_name
from edgekit.report.format import count_text, interval_text
from edgekit.searching import Searched, check_out, no_best, search, values_text

if TYPE_CHECKING:
    from edgekit_converters import Training
    from edgekit_converters.search.running import Search
    from edgekit_converters.search.study import Trial

_PIPE_WIDTH = 120
_BATCH_SIZE, _LEARNING_RATE = 32, 1e-3


def run(options: argparse.Namespace) -> int:
    """Searches and prints; 1 where there is no best trial."""
    if options.output:
        check_out(options.output, options.model)
    asked, training = _asked(options), _training(options)
    from edgekit.optimization import load_data_for, load_parent

    with live() as progress:
        progress.note("loading the model")
        parent = load_parent(
            options.model,
            seed=options.seed,
            safe=not options.unsafe,
            custom_objects=options.custom_objects,
        )
        data = load_data_for(parent, options.data, seed=options.seed, pixels=options.pixels)
        done = search(
            parent,
            data,
            asked,
            training=training,
            storage=options.storage,
            out=options.output,
            source=options.model,
            custom_objects=options.custom_objects,
            progress=progress,
        )
    if options.json:
        print(json.dumps(search_json(done), indent=1))
    else:
        print_search(done, options)
    return 0 if done.found.best is not None else 1


def search_json(done: Searched) -> dict[str, Any]:
    """The study as JSON."""
    from edgekit_device.codec import encode

    found = done.found
    facts = asdict(found)
    facts["storage"] = str(found.storage)
    facts["model"] = None if found.model is None else str(found.model)
    return {
        "schema": "edgekit.search/1",
        "metric": done.metric,
        **facts,
        "file": None if done.file is None else str(done.file),
        "test": None if done.test is None else encode(done.test),
    }


def print_search(done: Searched, options: argparse.Namespace) -> None:
    """All trials, the best one, and the command or settings that use it."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(width=_PIPE_WIDTH, highlight=False)
    found = done.found
    substitutes = found.what == "substitutes"
    console.print(_table(done, _front(found.trials)))
    if substitutes:
        console.print("★ no other has a better score, fewer parameters and fewer MACs together")
        console.print(
            f"The model as it came: {done.metric} {found.given_score:.3f} on the validation "
            f"samples, {count_text(found.given.parameters)} parameters, "
            f"{count_text(found.given.macs)} MACs."
        )
    for line in _importance(done):
        console.print(line, markup=False)
    if len(found.trials) < found.points:
        console.print(f"{len(found.trials)} of {found.points} points tried; --trials tries more.")
    if found.best is None:
        why = no_best(found)
        console.print(f"There is no best trial: {why}.")
        return
    console.print(f"Best: {_words(found.best, done)}", markup=False)
    for line in _next_steps(done, options):
        console.print(line, markup=False, soft_wrap=True)


def _table(done: Searched, front: set[int]) -> Table:
    found = done.found
    substitutes = found.what == "substitutes"
    names = ["substitute"] if substitutes else list(found.trials[0].values if found.trials else ())
    numbers = ["parameters", "MACs", "replaced"] if substitutes else []
    table = Table(
        title=f"{found.study}: {len(found.trials)} trials by validation {done.metric}",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    for heading in ("", "trial", *names, "score", *numbers, "best epoch", ""):
        right = heading in ("trial", "score", "best epoch", *numbers)
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    for trial in sorted(found.trials, key=_order):
        facts, complete = trial.facts, trial.state == "complete"
        mark = "★" if trial.number in front and substitutes else ""
        left = facts.get("left", [])
        cost = (
            [count_text(facts["parameters"]), count_text(facts["macs"])] if complete else ["", ""]
        )
        kept = [str(len(facts.get("replaced", ())))] if complete else [""]
        told = f"{trial.state}: {trial.reason}" if trial.reason else _left(left)
        table.add_row(
            mark,
            str(trial.number),
            *(str(trial.values[name]) for name in names),
            f"{trial.score:.3f}" if trial.score is not None and complete else "",
            *([*cost, *kept] if substitutes else []),
            str(facts["best_epoch"]) if complete else "",
            told.replace("[", r"\["),
        )
    return table


def _left(left: list[list[str]]) -> str:
    return "; ".join(f"left {path}: {reason}" for path, reason in left)


def _order(trial: Trial) -> tuple[int, float, int]:
    """Complete trials by their score, then those given up by the last they had, then the failed."""
    states = ("complete", "pruned", "failed")
    return states.index(trial.state), -(trial.score or 0.0), trial.number


def _front(trials: tuple[Trial, ...]) -> set[int]:
    """The trials that no other beats in score, parameters and MACs together."""
    points = {
        trial.number: (-(trial.score or 0.0), trial.facts["parameters"], trial.facts["macs"])
        for trial in trials
        if trial.state == "complete"
    }
    return {
        number
        for number, mine in points.items()
        if not any(
            theirs != mine and all(a <= b for a, b in zip(theirs, mine, strict=True))
            for theirs in points.values()
        )
    }


def _importance(done: Searched) -> list[str]:
    found = done.found
    if found.what == "substitutes":
        return []
    if not found.importance:
        return ["What matters most cannot be said yet: that takes four complete trials or more."]
    shares = ", ".join(f"{name} {share:.0%}" for name, share in found.importance.items())
    return [f"Share of the score's variation (fANOVA): {shares}."]


def _words(best: Trial, done: Searched) -> str:
    test = ""
    if done.test is not None and done.test.value is not None:
        span = interval_text("accuracy", done.test)
        test = f", on the test samples {done.test.value:.3f}" + (f" ({span})" if span else "")
    return f"{values_text(best.values)}: validation {done.metric} {best.score:.3f}{test}"


def _next_steps(done: Searched, options: argparse.Namespace) -> list[str]:
    lines: list[str] = []
    best = done.found.best
    if best is None:
        return lines
    data = shlex.quote(options.data)
    if best.values.get("substitute") == "lcrm":
        where = f', where="{",".join(_patterns(options))}"' if options.where else ""
        lines.append(f"As a recipe: 'lcrm(weights={options.weights}{where})'")
    if done.found.what == "hyperparameters":
        values = best.values
        lines += [
            f"In Keras: keras.optimizers.{values['optimizer']}(learning_rate="
            f"{values['learning_rate']}), batch_size={values['batch_size']}, kernel_initializer="
            f"{values['initializer']!r}, and activation={values['activation']!r} in hidden layers.",
            f"EdgeKit's trainings (always Adam): --learning-rate {values['learning_rate']} "
            f"--batch-size {values['batch_size']}",
        ]
    if done.file is None:
        name = str(free_name("best"))
        again = shlex.join(["edgekit", *_without_view(options.given), "-o", name])
        lines.append(f"To have its model, which is trained already: {again}")
    else:
        lines.append(f"Next: edgekit compare {shlex.quote(str(done.file))} --data {data}")
    return lines


def _without_view(given: list[str]) -> list[str]:
    return [word for word in given if word not in ("--json", "--debug")]


def _asked(options: argparse.Namespace) -> Search:
    import edgekit_converters as ec  # noqa: F401  (TensorFlow's greeting is held back there)
    from edgekit_converters.search.running import Search

    return Search(
        what=options.what,
        sampler=options.sampler,
        pruner=options.pruner,
        trials=options.trials,
        choices=_choices(options.choices),
        where=_patterns(options),
        weights=options.weights,
        study=options.study,
    )


def _patterns(options: argparse.Namespace) -> tuple[str, ...]:
    patterns = (text.strip() for given in options.where for text in given.split(","))
    return tuple(pattern for pattern in patterns if pattern)


def _choices(given: list[str]) -> dict[str, tuple[str, ...]]:
    choices = {}
    for text in given:
        name, sign, values = text.partition("=")
        if not sign:
            raise RunError(
                f"--choices {text!r}: give NAME=VALUE,VALUE, such as batch_size=32,64 or "
                "substitute=standard,group(8)."
            )
        choices[name.strip()] = tuple(value for value in values.split(",") if value.strip())
    return choices


def _training(options: argparse.Namespace) -> Training:
    import edgekit_converters as ec

    if options.what == "hyperparameters":
        for name in ("batch_size", "learning_rate"):
            if getattr(options, name) is not None:
                raise RunError(
                    f"--{name.replace('_', '-')} is searched among the hyperparameters; fix it "
                    f"with --choices {name}={getattr(options, name)} instead."
                )
    return ec.Training(
        epochs=options.epochs,
        batch_size=_BATCH_SIZE if options.batch_size is None else options.batch_size,
        learning_rate=_LEARNING_RATE if options.learning_rate is None else options.learning_rate,
        patience=0,
        seed=options.seed,
        deterministic=options.deterministic,
    )
