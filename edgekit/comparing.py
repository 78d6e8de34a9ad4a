"""All recipes on all boards: train, export, score, profile interleaved, put side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.advice import advise, cautions
from edgekit.boards import ProfileSettings, check_board, parse_board
from edgekit.comparison import Comparison
from edgekit.data import Dataset
from edgekit.data.sources import Source
from edgekit.disk import storing, write_whole
from edgekit.errors import DiskError, EdgeKitError, RunError
from edgekit.exporting import Optimized, Samples
from edgekit.journal import alone, under_way
from edgekit.measuring import measure_all
from edgekit.npu.comparing import on_npu
from edgekit.optimization import calibration_samples, carry_out, load_data_for, load_parent
from edgekit.progress import FOUND, Listener, Step, silent
from edgekit.report import read_comparison
from edgekit.report.format import capital
from edgekit.report.serialise import comparison_to_json
from edgekit.rows import (
    all_layers,
    all_stages,
    emulated_boards,
    make_notes,
    make_rows,
    runtimes,
)
from edgekit.stages import Parent, versions
from edgekit.store import open_run
from edgekit_converters.recipe import SHORT_NAMES
from edgekit_device.delegate import instruction_sets

if TYPE_CHECKING:
    from edgekit.npu.target import Npu
    from edgekit_converters import Training
    from edgekit_converters.recipe import Recipe

DEFAULT_RECIPES = ("base", "int8", "lcrm", "lcrm+int8")
ALL = "all"
ALL_RECIPES = ("base", *SHORT_NAMES, "lcrm", *(f"lcrm+{name}" for name in SHORT_NAMES))
"""The comparison of Table 12 (LCRM paper): every cascade without LCRM and with it."""


def compare(
    model: Parent | str | Path | Any,
    data: Source,
    recipes: Sequence[str] = DEFAULT_RECIPES,
    boards: Sequence[str] = ("local",),
    npus: Sequence[Npu] = (),
    *,
    out: str | Path = "edgekit-runs",
    training: Training | None = None,
    profiling: ProfileSettings | None = None,
    progress: Listener = silent,
    command: str = "edgekit compare MODEL --data DATA",
    replace_other: bool = False,
) -> Comparison:
    """Compares recipes of one model on boards and emulated NPUs.

    `base` is always among the recipes, since all ratios refer to it.

    `recipes` may hold the name `all` (or be it) for `ALL_RECIPES`. A recipe or board that fails
    becomes rows with the error; the others go on. What is finished stays in `out` and is reused by
    the next comparison there, also if this one is killed; its result lands in
    `out`/comparison.json. A folder that holds the comparison of another model is refused unless
    `replace_other`. `command` is what advice builds on.

    Raises:
        ConverterError, EdgeKitError: before any work, for input that cannot be used.
        DelegateUnavailableError: NPUs are given, and there is no delegate to emulate them.
        DiskError: the disk of `out` is full or cannot be written.
    """
    import edgekit_converters as ec

    training, profiling = training or ec.Training(), profiling or ProfileSettings()
    parsed = _parse(recipes)
    places = dict.fromkeys(parse_board(board) for board in boards)
    npus = _apart(npus)
    if npus:
        instruction_sets()
    agents = {board: check_board(board, profiling, progress) for board in places}
    run = open_run(out)
    found: list[str] = []

    def listen(step: Step) -> None:
        if step.task == FOUND:
            found.append(step.detail)
        progress(step)

    with alone(run, command) as entry:
        parent = model if isinstance(model, Parent) else load_parent(model, seed=training.seed)
        ec.check_convertible(parent.model)
        if not replace_other:
            _refuse_other(run, parent)
        if not isinstance(data, Dataset):
            data = load_data_for(parent, data, seed=training.seed)
        with under_way(run, "compare", entry, listen) as resumed:
            results = _carry_out(run, parent, parsed, data, training, listen)
            done = [result for result in results.values() if isinstance(result, Optimized)]
            if not done:
                raise RunError(f"No recipe could be carried out. {next(iter(results.values()))}")
            records = measure_all(run, agents, done, profiling, listen, resumed=resumed)
            outcomes = [
                outcome for npu in npus for outcome in on_npu(run, npu, results, data, listen)
            ]
            rows = make_rows(
                results, [str(board) for board in agents], records, outcomes, data.task
            )
            stages = all_stages(done)
            comparison = Comparison(
                model=parent.model.name,
                data=data.describe(),
                created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
                settings={
                    "training": asdict(training),
                    "profiling": {k: v for k, v in asdict(profiling).items() if v is not None},
                    "boards": [str(board) for board in agents],
                    "npus": [str(npu) for npu in npus],
                    "parent": parent.key,
                },
                versions=versions(),
                rows=tuple(rows),
                layers=all_layers(done),
                stages=stages,
                records=tuple(records),
                advice=advise(
                    rows,
                    stages,
                    training.epochs,
                    command,
                    runtimes(records),
                    training.tuning_epochs,
                ),
                notes=(
                    *make_notes(data, done, [str(npu) for npu in npus], emulated_boards(records)),
                    *(f"{capital(text)}." for text in found),
                ),
                cautions=cautions(rows, stages, data),
                npus=tuple(outcomes),
                metric=data.task.metric,
            )
            with storing(run, "the comparison"):
                write_whole(run / "comparison.json", comparison_to_json(comparison))
    return comparison


def _apart(npus: Sequence[Npu]) -> list[Npu]:
    """Each NPU once; two that differ must not share a name."""
    found: dict[str, Npu] = {}
    for npu in npus:
        if found.setdefault(str(npu), npu).key != npu.key:
            raise RunError(
                f"Two NPUs are called {npu}, with other numbers; give one of the profiles "
                f"({found[str(npu)].named}, {npu.named}) another name."
            )
    return list(found.values())


def _carry_out(
    run: Path,
    parent: Parent,
    recipes: Sequence[Recipe],
    data: Dataset,
    training: Training,
    progress: Listener,
) -> dict[str, Optimized | str]:
    """Each recipe's result by its name; a text is why it failed."""
    import edgekit_converters as ec

    samples = Samples([calibration_samples(data, training.seed)], data)
    results: dict[str, Optimized | str] = {}
    for recipe in recipes:
        try:
            results[str(recipe)] = carry_out(
                run, parent, recipe, samples, folder="files", training=training, progress=progress
            )
        except DiskError:
            raise
        except (ec.ConverterError, EdgeKitError) as error:
            results[str(recipe)] = str(error)
            progress(Step(f"failed {recipe}", 1.0, str(error)))
    return results


def _parse(recipes: Sequence[str]) -> list[Recipe]:
    import edgekit_converters as ec

    given = [recipes] if isinstance(recipes, str) else recipes
    named = [
        name for text in given for name in (ALL_RECIPES if text.strip().lower() == ALL else (text,))
    ]
    unique = dict.fromkeys(str(ec.parse_recipe(text)) for text in ("base", *named))
    return [ec.parse_recipe(text) for text in unique]


def _refuse_other(run: Path, parent: Parent) -> None:
    file = run / "comparison.json"
    if not file.is_file():
        return
    earlier = read_comparison(file)
    if earlier.settings.get("parent") != parent.key:
        raise RunError(
            f"{run} holds the comparison of another model ({earlier.model}, {earlier.created}), "
            "whose files would be overwritten; name another folder with --out."
        )
