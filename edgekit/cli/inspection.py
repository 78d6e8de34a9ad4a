"""A model's layers, LCRM's plan for it, and one recipe's result, as text for a terminal."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgekit.report.format import bytes_text, count_text
from edgekit.report.metrics import metric_text

if TYPE_CHECKING:
    from edgekit.comparison import Stage
    from edgekit.exporting import Optimized
    from edgekit_converters import Inspection
    from edgekit_converters.proof import FileProof, LayerProof

_PIPE_WIDTH = 120


def inspection_json(seen: Inspection) -> dict[str, Any]:
    """The inspection as JSON, with what is derived."""
    facts = asdict(seen)
    for decision, row in zip(seen.lcrm, facts["lcrm"], strict=True):
        row["verdict"] = decision.verdict
        row["substitute"] = None if decision.substitute is None else str(decision.substitute)
    return {
        "schema": "edgekit.inspection/1",
        **facts,
        "parameters_after": seen.parameters_after,
        "macs_after": seen.macs_after,
    }


def print_inspection(seen: Inspection, source: str) -> None:
    """Layers, LCRM's decisions and the totals."""
    console = _console()
    layers = _table(f"{seen.name}: layers", "layer", "type", "shapes", "parameters", "MACs")
    for layer in seen.layers:
        layers.add_row(
            _plain(layer.path + (" (shared)" if layer.shared else "")),
            layer.type,
            f"{_shapes(layer.input_shapes)} → {_shapes(layer.output_shapes)}",
            f"{layer.parameters:,}",
            "?" if layer.macs is None else f"{layer.macs:,}",
        )
    console.print(layers)
    plan = _table("LCRM", "convolution", "case", "substitute", "parameters", "MACs", "will it pay?")
    for d in seen.lcrm:
        plan.add_row(
            _plain(d.path),
            d.case or "-",
            str(d.substitute or "kept"),
            _change(d.parameters_before, d.parameters_after),
            _change(d.macs_before, d.macs_after),
            _plain(d.verdict),
        )
    if seen.lcrm:
        console.print(plan)
    else:
        console.print("This model has no convolution; LCRM has nothing to replace.")
    counted = " that can be counted" if seen.not_counted else ""
    console.print(
        f"Total: {count_text(seen.parameters)} parameters ({count_text(seen.trainable_parameters)} "
        f"trainable), {count_text(seen.macs)} MACs; after LCRM "
        f"{_ratio(seen.parameters, seen.parameters_after)} of the parameters and "
        f"{_ratio(seen.macs, seen.macs_after)} of the MACs{counted}."
    )
    if seen.not_counted:
        console.print(f"MACs not counted: {', '.join(seen.not_counted)}.")
    if any(d.substitute for d in seen.lcrm):
        console.print(
            f"Next: edgekit compare {shlex.quote(source)} --data DATA",
            highlight=False,
            soft_wrap=True,
        )


def print_optimized(done: Optimized) -> None:
    """One recipe's file, its numbers and what was left alone."""
    console = _console()
    for stage in done.stages:
        console.print(_stage_text(stage), markup=False)
        for note in stage.notes:
            console.print(f"  {note}", markup=False)
        for change in stage.changed:
            console.print(f"  changed {change}", markup=False)
        for layer, reason in stage.skipped:
            console.print(f"  left {layer}: {reason}", markup=False)
    accuracy = done.accuracy
    if accuracy.value is None:
        console.print(f"{done.metric}: unavailable ({accuracy.reason})")
    else:
        span = f" ({accuracy.low:.3f} to {accuracy.high:.3f})" if accuracy.low is not None else ""
        console.print(f"{done.metric}: {accuracy.value:.3f}{span}, measured on the .tflite file")
    for metric in done.metrics:
        console.print(metric_text(metric), markup=False)
    difference = done.keras_difference.value or 0.0
    console.print(f"differs from the Keras model by {difference:.2g} of the output's range")
    console.print(
        f"{count_text(int(done.parameters.value or 0))} parameters, "
        f"{bytes_text(int(done.file_bytes.value or 0))}, "
        f"{bytes_text(int(done.gzip_bytes.value or 0))} under gzip -9, "
        f"{bytes_text(int(done.zstd_bytes.value or 0))} under zstd -19"
    )
    asked = done.stages[-1].proof if done.stages else ()
    for line in _proof_lines(done.proof, asked):
        console.print(line, markup=False)
    console.print(str(done.file), highlight=False, soft_wrap=True)


def _stage_text(stage: Stage) -> str:
    best = f" (the {_ordinal(stage.best_epoch)} was best)" if stage.best_epoch else ""
    epochs = "1 epoch" if stage.epochs == 1 else f"{stage.epochs} epochs{best}"
    parts = [f"{stage.name}: {epochs}, {stage.seconds:.0f} s"]
    if stage.accuracy_before is not None and stage.accuracy_after is not None:
        parts.append(
            f"validation {stage.metric} {stage.accuracy_before:.3f} before, "
            f"{stage.accuracy_after:.3f} after"
        )
    zeros = [proof.sparsity for proof in stage.proof if proof.sparsity_asked is not None]
    values = [proof for proof in stage.proof if proof.distinct_asked is not None]
    if zeros:
        shares = dict.fromkeys((f"{min(zeros):.1%}", f"{max(zeros):.1%}"))
        parts.append(f"{' to '.join(shares)} zeros in {len(zeros)} kernels")
    if values:
        most = max(p.distinct_per_channel if p.per_channel else p.distinct for p in values)
        each = " per channel" if any(p.per_channel for p in values) else ""
        parts.append(f"at most {most} distinct values{each} in {len(values)} kernels")
    return ", ".join([*parts, *(["reused"] if stage.reused else [])])


def _ordinal(number: int) -> str:
    ends = {1: "st", 2: "nd", 3: "rd"}
    return f"{number}{'th' if number % 100 in (11, 12, 13) else ends.get(number % 10, 'th')}"


def _proof_lines(proof: FileProof, asked: Sequence[LayerProof]) -> list[str]:
    """What the file has of what was asked of its kernels, and its operators if any are integer."""
    lines = []
    # Files that are float by design have no float operators to explain.
    if proof.integer_operators or proof.floats:
        lines.append(
            f"{proof.integer_operators} of {proof.operators} operators compute in integers"
        )
        lines += [
            f"  float {item.operator} ({item.tensor}): {item.reason}" for item in proof.floats
        ]
    wanted = {
        kernel.layer
        for kernel in asked
        if kernel.sparsity_asked is not None or kernel.distinct_asked is not None
    }
    lines += [
        f"in the file, {tensor.layer} ({tensor.dtype}): {tensor.sparsity:.1%} zeros, "
        f"{tensor.distinct} distinct values, at most {tensor.distinct_per_channel} per channel"
        for tensor in proof.weights
        if tensor.layer in wanted
    ]
    if proof.not_found:
        lines.append(f"not found in the file by name: {', '.join(proof.not_found)}")
    return lines


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(width=_PIPE_WIDTH, highlight=False)


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading in headings:
        right = heading in ("parameters", "MACs")
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    return table


def _plain(text: str) -> Text:
    """Layer names may hold what rich would read as markup."""
    return Text(text)


def _shapes(shapes: tuple[tuple[int | None, ...], ...]) -> str:
    return " + ".join(map(_shape, shapes))


def _shape(shape: tuple[int | None, ...]) -> str:
    return "x".join("?" if size is None else str(size) for size in shape[1:]) or "scalar"


def _change(before: int | None, after: int | None) -> str:
    if before is None or after is None:
        return "?"
    return f"{before:,}" if before == after else f"{before:,} → {after:,}"


def _ratio(before: int, after: int) -> str:
    return f"{after / before:.1%}" if before else "-"
