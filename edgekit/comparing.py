"""All recipes on all boards: train, export, score, profile interleaved, put side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.advice import advise, cautions
from edgekit.boards import LocalBoard, ProfileSettings, check_board, parse_board, profile_on
from edgekit.comparison import Comparison, LayerSaving, Row, Stage
from edgekit.data import Dataset
from edgekit.data.sources import Source
from edgekit.errors import EdgeKitError, RunError
from edgekit.evaluate import accuracy_change
from edgekit.optimization import Optimized, load_data_for, load_parent, optimize
from edgekit.pareto import mark_pareto
from edgekit.progress import Listener, Step, silent
from edgekit.report import read_comparison
from edgekit.stages import Parent, versions
from edgekit.store import open_run
from edgekit_device import Number

if TYPE_CHECKING:
    from edgekit_converters import Training
    from edgekit_converters.recipe import Recipe

DEFAULT_RECIPES = ("base", "int8", "lcrm", "lcrm+int8")


def compare(
    model: Parent | str | Path | Any,
    data: Source,
    recipes: Sequence[str] = DEFAULT_RECIPES,
    boards: Sequence[str] = ("local",),
    *,
    out: str | Path = "edgekit-runs",
    training: Training | None = None,
    profiling: ProfileSettings | None = None,
    progress: Listener = silent,
    command: str = "edgekit compare MODEL --data DATA",
    replace_other: bool = False,
) -> Comparison:
    """Compares recipes of one model; `base` is always among them, since all ratios refer to it.

    A recipe or board that fails becomes rows with the error; the others go on. Trained stages stay
    in `out` and are reused by the next comparison there. A folder that holds the comparison of
    another model is refused unless `replace_other`. `command` is what advice builds on.

    Raises:
        ConverterError, EdgeKitError: before any work, for input that cannot be used.
    """
    import edgekit_converters as ec

    training, profiling = training or ec.Training(), profiling or ProfileSettings()
    parsed = _parse(recipes)
    places = list(dict.fromkeys(parse_board(board) for board in boards))
    for board in places:
        check_board(board, profiling)
    run = open_run(out)
    parent = model if isinstance(model, Parent) else load_parent(model, seed=training.seed)
    ec.check_input_shapes(parent.model)
    if not replace_other:
        _refuse_other(run, parent)
    if not isinstance(data, Dataset):
        data = load_data_for(parent, data, seed=training.seed)
    results: dict[str, Optimized | str] = {}
    for recipe in parsed:
        try:
            results[str(recipe)] = optimize(
                parent, recipe, data, out=run, folder="files", training=training, progress=progress
            )
        except (ec.ConverterError, EdgeKitError) as error:
            results[str(recipe)] = str(error)
            progress(Step(f"failed {recipe}", 1.0, str(error)))
    records = [
        record for board in places for record in _profile(board, results, profiling, progress)
    ]
    rows = mark_pareto(
        _marked_twins(
            [
                _row(recipe, str(board), results[recipe], results["base"], records)
                for board in places
                for recipe in results
            ]
        )
    )
    done = [result for result in results.values() if isinstance(result, Optimized)]
    if not done:
        raise RunError(f"No recipe could be carried out. {next(iter(results.values()))}")
    return Comparison(
        model=parent.model.name,
        data=data.describe(),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        settings={
            "training": asdict(training),
            "profiling": {k: v for k, v in asdict(profiling).items() if v is not None},
            "boards": [str(board) for board in places],
            "parent": parent.key,
        },
        versions=versions(),
        rows=tuple(rows),
        layers=_layers(done),
        stages=_stages(done),
        records=tuple(records),
        advice=advise(rows, _stages(done), training.epochs, command, _runtimes(records)),
        notes=_notes(data, len(done)),
        cautions=cautions(rows, _stages(done), data),
    )


def _parse(recipes: Sequence[str]) -> list[Recipe]:
    import edgekit_converters as ec

    given = [recipes] if isinstance(recipes, str) else recipes
    unique = dict.fromkeys(str(ec.parse_recipe(text)) for text in ("base", *given))
    return [ec.parse_recipe(text) for text in unique]


def _profile(
    board: LocalBoard,
    results: dict[str, Optimized | str],
    settings: ProfileSettings,
    progress: Listener,
) -> list[dict[str, Any]]:
    ready = [result for result in results.values() if isinstance(result, Optimized)]
    try:
        records = profile_on(board, [result.file for result in ready], settings, progress)
    except EdgeKitError as error:
        records = [
            {"status": "error", "error": {"kind": "board", "message": str(error)}} for _ in ready
        ]
    return [
        {"recipe": result.recipe, "board": str(board), "record": record}
        for result, record in zip(ready, records, strict=True)
    ]


def _row(
    recipe: str,
    board: str,
    result: Optimized | str,
    base: Optimized | str,
    records: list[dict[str, Any]],
) -> Row:
    if isinstance(result, str):
        unknown = Number.unavailable("the recipe failed")
        return Row(
            recipe=recipe,
            board=board,
            file="",
            accuracy=unknown,
            parameters=unknown,
            macs=unknown,
            file_bytes=unknown,
            gzip_bytes=unknown,
            latency_p50_ms=unknown,
            peak_rss_bytes=unknown,
            energy_j=unknown,
            error=result,
        )
    record = next(
        item["record"] for item in records if (item["recipe"], item["board"]) == (recipe, board)
    )
    error = (record.get("error") or {}).get("message")
    row = Row(
        recipe=recipe,
        board=board,
        file=f"files/{result.file.name}",
        accuracy=result.accuracy,
        accuracy_change=_change(result, base),
        parameters=result.parameters,
        macs=result.macs,
        file_bytes=result.file_bytes,
        gzip_bytes=result.gzip_bytes,
        latency_p50_ms=_number(record, "latency_ms", "p50"),
        peak_rss_bytes=_number(record, "peak_rss_bytes"),
        energy_j=_number(record, "energy_j"),
        sha256=result.sha256,
    )
    return replace(row, error=error) if error else row


def _change(result: Optimized, base: Optimized | str) -> Number:
    if isinstance(base, str):
        return Number.unavailable("base failed")
    return accuracy_change(result.correct, base.correct)


def _number(record: dict[str, Any], *keys: str) -> Number:
    value: Any = record
    for key in keys:
        value = (value or {}).get(key)
    return Number.from_json(value) if value else Number.unavailable("the board gave no record")


def _layers(results: list[Optimized]) -> tuple[LayerSaving, ...]:
    """Each rewriting stage's layers once: recipes that share it say the same."""
    unique = dict.fromkeys(layer for result in results for layer in result.layers)
    return tuple(unique)


def _marked_twins(rows: list[Row]) -> list[Row]:
    """The rows, those told whose file an earlier row of their board has already."""
    first: dict[tuple[str, str], str] = {}
    marked = []
    for row in rows:
        earlier = (
            first.setdefault((row.board, row.sha256), row.recipe) if row.sha256 else row.recipe
        )
        marked.append(row if earlier == row.recipe else replace(row, same_as=earlier))
    return marked


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


def _stages(results: list[Optimized]) -> tuple[Stage, ...]:
    """Each trained stage once; who trained it says so, later users only reuse it."""
    unique: dict[str, Stage] = {}
    for stage in (stage for result in results for stage in result.stages):
        unique.setdefault(stage.recipe, stage)
    return tuple(unique.values())


def _runtimes(records: list[dict[str, Any]]) -> dict[str, str]:
    """The TFLite runtime of each board that answered."""
    known = [item for item in records if item["record"].get("runtime")]
    return {item["board"]: item["record"]["runtime"]["name"] for item in known}


def _notes(data: Dataset, files: int) -> tuple[str, ...]:
    return (
        f"Accuracy is that of the .tflite file on {len(data.test)} test samples; its 95 % interval "
        "covers the sampling of the test set, not the luck of training. Always guessing the most "
        f"frequent class would score {data.majority_share:.3f}.",
        "base and its quantised versions are the parent as it came, without training; rewritten "
        "models are trained on the training split.",
        f"The {files} files ran in turns in the same rounds, so that drift of the machine meets "
        "all; the latency's interval is the range of the medians of those rounds.",
        "MACs and parameters are counted on the Keras model; conversion folds batch normalisation "
        "into convolutions.",
    )
