"""What recipes and boards gave, as the rows and notes of a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from edgekit.comparison import LayerSaving, Row, Stage
from edgekit.data import Dataset
from edgekit.exporting import Optimized
from edgekit.npu.outcome import NpuOutcome
from edgekit.pareto import mark_pareto
from edgekit.report.format import capital
from edgekit.tasks import CLASSIFICATION, Task
from edgekit_converters.passes import Cluster, NpuQat, Prune, Qat
from edgekit_converters.recipe import parse_recipe
from edgekit_device import Number


def make_rows(
    results: Mapping[str, Optimized | str],
    boards: Sequence[str],
    records: list[dict[str, Any]],
    outcomes: Sequence[NpuOutcome] = (),
    task: Task = CLASSIFICATION,
) -> list[Row]:
    """One row per board or NPU and recipe, the best marked; a text is why the recipe failed."""
    rows = [
        _row(recipe, board, results[recipe], results["base"], records, task)
        for board in boards
        for recipe in results
    ] + [_npu_row(outcome, results[outcome.recipe]) for outcome in outcomes]
    return mark_pareto(_marked_twins(rows))


def all_layers(results: Sequence[Optimized]) -> tuple[LayerSaving, ...]:
    """Each rewriting stage's layers once: recipes that share it say the same."""
    return tuple(dict.fromkeys(layer for result in results for layer in result.layers))


def all_stages(results: Sequence[Optimized]) -> tuple[Stage, ...]:
    """Each trained stage once; who trained it says so, later users only reuse it."""
    unique: dict[str, Stage] = {}
    for stage in (stage for result in results for stage in result.stages):
        unique.setdefault(stage.recipe, stage)
    return tuple(unique.values())


def runtimes(records: list[dict[str, Any]]) -> dict[str, str]:
    """The TFLite runtime of each board that answered."""
    known = [item for item in records if item["record"].get("runtime")]
    return {item["board"]: item["record"]["runtime"]["name"] for item in known}


def emulated_boards(records: list[dict[str, Any]]) -> tuple[str, ...]:
    """The boards whose records say that they are emulated."""
    found = (item for item in records if (item["record"].get("machine") or {}).get("emulator"))
    return tuple(dict.fromkeys(str(item["board"]) for item in found))


def make_notes(
    data: Dataset,
    results: Sequence[Optimized],
    npus: Sequence[str] = (),
    emulated: Sequence[str] = (),
) -> tuple[str, ...]:
    """How the numbers are to be read; `npus` and `emulated` boards by their names."""
    score, trivial = data.trivial
    passes = [step for result in results for step in parse_recipe(result.recipe).passes]
    return (
        f"{capital(data.task.metric)} is that of the .tflite file on {len(data.test)} test "
        "samples; its 95 % interval covers the sampling of the test set, not the luck of training. "
        f"{capital(trivial)} would score {score:.3f}.",
        "base and its post-training quantised versions (int8, …) are the parent as it came; all "
        "other recipes are trained on the training split.",
        *_cascade_notes(passes),
        f"The {len(results)} files ran in turns in the same rounds, so that drift of the machine "
        "meets all; the latency's interval is the range of the medians of those rounds.",
        *_npu_notes(npus, data.task.metric),
        *_emulation_notes(emulated),
        "MACs and parameters are counted on the Keras model; conversion folds batch normalisation "
        "into convolutions.",
    )


def _npu_notes(npus: Sequence[str], metric: str) -> list[str]:
    if not npus:
        return []
    return [
        f"Rows of {' and '.join(npus)}: {metric} is that of the test samples in the NPU's "
        "arithmetic, emulated; time and energy come from a model of the NPU, whose error is the "
        "interval and much the same for all recipes. An NPU that skips zeros gains from pruning."
    ]


def _emulation_notes(boards: Sequence[str]) -> list[str]:
    if not boards:
        return []
    return [
        f"Rows of {' and '.join(boards)}: the board is emulated. The instructions of one inference "
        "are counted, the least of a few runs; latency and energy are estimated from published "
        "figures of such boards (docs/board-estimates.md), and nothing there is measured."
    ]


def _cascade_notes(passes: Sequence[Any]) -> list[str]:
    notes = []
    meanings = {
        Prune: "P is pruning (the smallest weights become zero)",
        Cluster: "C is clustering (the weights of a kernel share a few values)",
        Qat: "Q is quantisation-aware training (int8 rounding in the loop, an int8 file)",
        NpuQat: "npu_qat is the same on an NPU's grid of fewer bits, run here as int8",
    }
    used = [text for kind, text in meanings.items() if any(isinstance(p, kind) for p in passes)]
    if used:
        notes.append(f"{'; '.join(used)}.")
    if any(isinstance(step, Prune | Cluster) for step in passes):
        notes.append(
            "Pruning or clustering alone makes no CPU kernel faster, and the raw file no smaller: "
            "zeros and repeated values only make the packed file (gzip, zstd) smaller."
        )
    return notes


def _row(
    recipe: str,
    board: str,
    result: Optimized | str,
    base: Optimized | str,
    records: list[dict[str, Any]],
    task: Task,
) -> Row:
    if isinstance(result, str):
        return _failed(recipe, board, result)
    record = next(
        item["record"] for item in records if (item["recipe"], item["board"]) == (recipe, board)
    )
    error = (record.get("error") or {}).get("message")
    return Row(
        recipe=recipe,
        board=board,
        **_of_file(result),
        accuracy=result.accuracy,
        accuracy_change=_change(result, base, task),
        metrics=result.metrics,
        latency_p50_ms=_number(record, "latency_ms", "p50"),
        peak_rss_bytes=_number(record, "peak_rss_bytes"),
        energy_j=_number(record, "energy_j"),
        error=error,
        instructions=_number(record, "instructions"),
        throttled=_throttled(record),
    )


def _npu_row(outcome: NpuOutcome, result: Optimized | str) -> Row:
    if isinstance(result, str):
        return _failed(outcome.recipe, outcome.npu, result)
    return Row(
        recipe=outcome.recipe,
        board=outcome.npu,
        **_of_file(result),
        accuracy=outcome.accuracy,
        accuracy_change=outcome.accuracy_change,
        latency_p50_ms=outcome.latency_ms,
        peak_rss_bytes=Number.unavailable("an NPU has no process; its traffic is listed apart"),
        energy_j=outcome.energy_j,
        error=outcome.error,
    )


def _of_file(result: Optimized) -> dict[str, Any]:
    """The columns that a file has wherever it runs."""
    return {
        "file": f"files/{result.file.name}",
        "parameters": result.parameters,
        "macs": result.macs,
        "file_bytes": result.file_bytes,
        "gzip_bytes": result.gzip_bytes,
        "zstd_bytes": result.zstd_bytes,
        "sha256": result.sha256,
        "stages": tuple(stage.recipe for stage in result.stages),
        "proof": result.proof,
    }


def _failed(recipe: str, board: str, why: str) -> Row:
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
        zstd_bytes=unknown,
        latency_p50_ms=unknown,
        peak_rss_bytes=unknown,
        energy_j=unknown,
        error=why,
    )


def _change(result: Optimized, base: Optimized | str, task: Task) -> Number:
    if isinstance(base, str):
        return Number.unavailable("base failed")
    return task.change(result.scores, base.scores)


def _number(record: dict[str, Any], *keys: str) -> Number:
    value: Any = record
    for key in keys:
        value = (value or {}).get(key)
    return Number.from_json(value) if value else Number.unavailable("the board gave no record")


def _throttled(record: Mapping[str, Any]) -> str:
    """What held the clock down while a model ran; empty where nothing is known to have."""
    conditions = record.get("conditions") or {}
    if conditions.get("throttled") != "yes":
        return ""
    return str(conditions.get("reason") or "the board says no more")


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
