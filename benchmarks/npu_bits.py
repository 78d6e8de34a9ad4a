"""Accuracy and energy of digits on the NEPU over bit widths and multipliers, as table and picture.

Two files: one quantised after training, and those trained on the grid of each width (npu_qat).
Energies of approximate multipliers are given where a publication has them.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import results
from cascades import digits_task

import edgekit_converters as ec
from edgekit import optimize
from edgekit.npu.comparing import outcome_of
from edgekit.npu.emulation import cost_of_emulation, emulate_file
from edgekit.npu.target import load_target
from edgekit.optimization import load_parent
from edgekit.report.figures import PLAIN, SECOND, STRONG, drawing, svg_of
from edgekit.report.format import number_text

BITS = (8, 7, 6, 5, 4, 3)
MULTIPLIERS = ("exact", "drum(4)", "mitchell")
COLOURS = dict(zip(MULTIPLIERS, (STRONG, SECOND, PLAIN), strict=True))
FILES = ("int8", "npu_qat")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--npu", default="nepu-v1")
    parser.add_argument("--tuning-epochs", type=int, default=10, help="of npu_qat")
    options = parser.parse_args()
    model, data, training = digits_task(0)
    training = replace(training, tuning_epochs=options.tuning_epochs)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        parent = load_parent(model)
        for name in FILES:
            for bits in BITS:
                recipe = name if name == "int8" else f"npu_qat({bits})"
                done = optimize(parent, recipe, data, out=Path(folder) / "run", training=training)
                for multiplier in MULTIPLIERS:
                    rows.append(_row(done, options.npu, bits, multiplier, data))
                    print(rows[-1], flush=True)
    table = [["file", "bits", "multiplier", "accuracy", "energy", "MACs skipped"]]
    for row in rows:
        table.append(
            [
                row["file"], str(row["bits"]), row["multiplier"], f"{row['accuracy']:.4f}",
                row["energy"], f"{row['skipped_share']:.1%}",
            ]
        )  # fmt: skip
    facts = {"npu": options.npu, "tuning_epochs": options.tuning_epochs, "rows": rows}
    results.write("npu_bits", facts, table)
    (Path(results.__file__).parent / "results" / "npu_bits.svg").write_text(_picture(rows))


def _row(done: Any, named: str, bits: int, multiplier: str, data: Any) -> dict[str, Any]:
    settings = [f"weight_bits={bits}", f"activation_bits={bits}", f"multiplier={multiplier}"]
    npu = load_target(named, settings)
    told, outputs = emulate_file(done.file, npu, [ec.raw_samples(done.file, data.test.x)])
    right = ec.correct_of(done.file, outputs[0], data.test.y, from_logits=done.from_logits)
    found = outcome_of(done.recipe, npu, told, cost_of_emulation(done.file, npu, told), right)
    return {
        "file": "int8" if done.recipe == "int8" else "npu_qat",
        "bits": bits,
        "multiplier": multiplier,
        "accuracy": found.accuracy.value,
        "energy_j": found.energy_j.value,
        "energy": number_text("energy_j", found.energy_j),
        "skipped_share": found.skipped_share.value or 0.0,
    }


def _picture(rows: list[dict[str, Any]]) -> str:
    from matplotlib.figure import Figure

    from edgekit.npu.plots import standalone

    with drawing("bits"):
        figure = Figure(figsize=(8.4, 3.4))
        left, right = figure.subplots(1, 2)
        for multiplier in MULTIPLIERS:
            for name, style in zip(FILES, ("--", "-"), strict=True):
                mine = [r for r in rows if (r["multiplier"], r["file"]) == (multiplier, name)]
                label = f"{multiplier}, {'trained on the grid' if name == 'npu_qat' else 'int8'}"
                left.plot(
                    [r["bits"] for r in mine],
                    [r["accuracy"] for r in mine],
                    style,
                    marker="o",
                    markersize=3,
                    color=COLOURS[multiplier],
                    label=label,
                )
        known = [r for r in rows if r["energy_j"] is not None and r["file"] == "npu_qat"]
        right.plot(
            [r["bits"] for r in known],
            [1e6 * r["energy_j"] for r in known],
            marker="o",
            markersize=3,
            color=STRONG,
        )
        left.set_ylabel("accuracy in the NPU's arithmetic")
        right.set_ylabel("energy of an inference (µJ, estimated)")
        right.set_ylim(bottom=0)
        for axes in (left, right):
            axes.set_xlabel("bits of weights and activations")
            axes.invert_xaxis()
        left.legend(fontsize=7)
        return standalone(svg_of(figure, "bits", "Accuracy and energy over bits; see the table"))


if __name__ == "__main__":
    main()
