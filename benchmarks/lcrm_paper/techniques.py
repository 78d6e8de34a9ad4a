"""Table 12 and Figures 9 to 12: LCRM beside pruning, clustering and quantisation.

From results/cascades.json (accuracy and sizes on small tasks), emulated_pair.json and
alexnet_pair.json (AlexNet on an emulated Pi 4 and on the machine of the benchmarks).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.lcrm_paper.counting import total
from benchmarks.lcrm_paper.rows import (
    Cell,
    Part,
    Picture,
    Row,
    cell,
    counted,
    load,
    missing,
    paper,
    unavailable,
)

TASKS = ("digits", "glyphs")
TECHNIQUES = ("base", "C", "P", "Q", "PQ", "CQ", "PC", "PCQ", "lcrm")
_CASCADES = "benchmarks/cascades.py"
_WRAPPERS = "-m benchmarks.lcrm_paper.wrappers"
_EMULATED = "benchmarks/emulated_pair.py"
_HERE = "benchmarks/alexnet_pair.py"
BOARD = "qemu:pi4"
_NOT_RUN = "no figures for P, C, PC, PQ, CQ and PCQ, whose files run the kernels of base or of Q"
ON_A_PI = (
    "on a Pi, with CIFAR-10: `edgekit compare alexnet.keras --data cifar10 --recipes all --board "
    "NAME --duration 600` (`edgekit boards add` makes the name; `edgekit train parent:alexnet "
    "--data cifar10 -o alexnet.keras` trains the parent, and at 224x224 takes a machine of 152 GB)"
)


def tables(folder: Path) -> tuple[Part, ...]:
    """Table 12 and Figures 9 to 12."""
    return (figure9(folder), table12(folder), figures10_and_11(folder), figure12(folder))


def scored(folder: Path, task: str, technique: str) -> dict[str, float] | None:
    """What cascades.json has of a recipe on a task."""
    told = load(folder, "cascades") or {}
    found: dict[str, float] | None = told.get(task, {}).get("recipes", {}).get(technique)
    return found


def record(folder: Path, name: str, model: str) -> dict[str, Any] | None:
    """A record of AlexNet's pair on the emulated Pi 4 or on this machine, such as lcrm-int8."""
    told = load(folder, name)
    if told is None:
        return None
    records = told[BOARD] if name == "emulated_pair" else told["records"]["litert"]
    found: dict[str, Any] = records[model]
    return found


def _of_alexnet(technique: str) -> str | None:
    """Which of the pair's files has the operators of the technique's."""
    return {"base": "parent-float32", "Q": "parent-int8", "lcrm": "lcrm-float32"}.get(technique)


def table12(folder: Path) -> Part:
    """Accuracy and latency of the techniques."""
    rows = []
    for technique in TECHNIQUES:
        epochs, accuracy, seconds = paper()["table12"][technique]
        cells = [_accuracy(folder, task, technique) for task in TASKS]
        cells.append(_latency(folder, technique))
        rows.append(Row(technique, (epochs, f"{accuracy:g}", f"{seconds:g}"), tuple(cells)))
    return Part(
        "Table 12. Accuracy and latency of the techniques",
        "accuracy: digits (digits_cnn) and glyphs (a CNN of 232 k parameters), one seed; latency: "
        "AlexNet of 224x224x3 with random weights on an emulated Raspberry Pi 4",
        ("epochs", "accuracy", "s on the Pi 4"),
        ("accuracy, digits", "accuracy, glyphs", "ms, Pi 4"),
        tuple(rows),
        why="Other tasks and networks: the paper has AlexNet on CIFAR-10. The estimate comes from "
        "the board's profile, whose error against published times is in "
        "docs/board-estimates.md; Q's is that of a file quantised after training, which has the "
        "same operators. P and C alone change no kernel, so no time is given for them."
        f"{_above(folder)}",
        faults=(
            "The parent's accuracy is 0.8274 in the text, 0.81 here, 0.801 in Table 15; LCRM's is "
            "0.8279, 0.83, 0.802 in Table 13 (30 epochs) and 0.781 in Table 15 (24 epochs).",
            "PC at 0.26 s beside C at 0.33 and P at 0.328: TFLite multiplies by a zero or a shared "
            "weight as by any other, so both together cannot gain what neither has.",
            "The text's 62.84 % are of the rounded 0.331 and 0.123 s; its 3310.49 and 1230.91 s "
            "for 10000 images give 62.82 %.",
        ),
        needs=(ON_A_PI,),
    )


def _accuracy(folder: Path, task: str, technique: str) -> Cell:
    found = scored(folder, task, technique)
    return cell(found["accuracy"], _share) if found else unavailable(missing(_CASCADES))


def _above(folder: Path) -> str:
    """Which techniques' accuracy on glyphs is above base's; empty where there is none."""
    base = scored(folder, "glyphs", "base")
    found = {name: scored(folder, "glyphs", name) for name in TECHNIQUES if name != "base"}
    known = {name: one["accuracy"] for name, one in found.items() if one}
    if base is None or not known:
        return ""
    below = [name for name, accuracy in known.items() if accuracy <= base["accuracy"]]
    if len(below) == len(known):
        return ""
    but = f" but {' and '.join(below)}" if below else ""
    return f" On glyphs every technique{but} is above base: its tuning epochs are further training."


def _share(value: float) -> str:
    return f"{value:.3f}"


def _latency(folder: Path, technique: str) -> Cell:
    name = _of_alexnet(technique)
    if name is None:
        return unavailable(_NOT_RUN)
    found = record(folder, "emulated_pair", name)
    if found is None:
        return unavailable(missing(_EMULATED))
    return cell(found["latency_ms"]["p50"], lambda v: f"{v:.0f}")


def figure9(folder: Path) -> Part:
    """Parameters and stored bytes of the techniques."""
    rows = []
    for technique in TECHNIQUES:
        size = scored(folder, "digits", technique), scored(folder, "glyphs", technique)
        whole = counted(f"{total('alexnet', 'equations' if technique == 'lcrm' else None):,}")
        packed = tuple(
            counted(f"{found['gzip_bytes'] / 1e3:.1f} kB")
            if found
            else unavailable(missing(_CASCADES))
            for found in size
        )
        rows.append(Row(technique, ("a bar",), (*_wrapped(folder, technique), whole, *packed)))
    return Part(
        "Figure 9. Parameters of the techniques",
        "digits_cnn in training; AlexNet's file; packed files (gzip -9) of digits and glyphs",
        ("parameters",),
        (
            *("digits_cnn in training: trainable", "other"),
            *("AlexNet's weights in the file", "gzip, digits", "gzip, glyphs"),
        ),
        tuple(rows),
        why="The paper's bars count what TensorFlow's wrappers add while they train: masks, the "
        "cluster of each weight. In CQ and PCQ the kit trains the centroids alone, so the weights "
        "count as others. None of that reaches a file: there P, C and Q keep every weight, and "
        "what they save shows when the file is packed.",
        pictures=(Picture("figure9.svg", "Packed size of each technique against base"),)
        if scored(folder, "digits", "base")
        else (),
    )


def _wrapped(folder: Path, technique: str) -> tuple[Cell, Cell]:
    told = load(folder, "lcrm_paper_wrappers")
    for row in told["rows"] if told else []:
        if row["technique"] == technique:
            return counted(f"{row['trainable']:,}"), counted(f"{row['other']:,}")
    return unavailable(missing(_WRAPPERS)), unavailable(missing(_WRAPPERS))


def figures10_and_11(folder: Path) -> Part:
    """Memory and processor in inference."""
    printed = paper()["figures10to12"]
    rows = []
    for what, key, number, form in (
        ("memory, MB", "memory", "peak_rss_bytes", _megabytes),
        ("processor, % of the machine", "cpu", "cpu_utilisation", _percent),
    ):
        for name, source, command in (
            ("emulated Pi 4", "emulated_pair", _EMULATED),
            ("this machine", "alexnet_pair", _HERE),
        ):
            cells = []
            for model in ("parent-float32", "lcrm-float32"):
                found = record(folder, source, model)
                cells.append(cell(found[number], form) if found else unavailable(missing(command)))
            rows.append(Row(f"{what}, {name}", tuple(printed[key]), tuple(cells)))
    return Part(
        "Figures 10 and 11. Memory and processor over 600 s of inference on a Pi 4",
        "AlexNet's pair, float32, one thread; 4 cores on the emulated Pi, 2 on this machine",
        ("parent", "LCRM"),
        ("parent", "LCRM"),
        tuple(rows),
        why="Ours is the peak memory of the process that runs the model, the paper's that of the "
        "whole board. One thread that never waits is 25 % of four cores whatever the model; the "
        "paper does not say how many threads it used or what else its loop did.",
        faults=(
            "The captions have memory in Figure 10 and CPU in Figure 11, the text the other way "
            "round.",
            "RQ3 speaks of less memory in inference: 1942.7 against 1915.2 MB is 1.4 %.",
        ),
        needs=(ON_A_PI + "; the HTML report draws both over time",),
    )


def _megabytes(value: float) -> str:
    return f"{value / 1e6:.1f}"


def _percent(value: float) -> str:
    return f"{100 * value:.0f}"


def figure12(folder: Path) -> Part:
    """Energy of an inference."""
    rows = []
    for technique in TECHNIQUES:
        name = _of_alexnet(technique)
        found = record(folder, "emulated_pair", name) if name else None
        if found:
            ours = cell(found["energy_j"], lambda v: f"{1e3 * v:.0f}")
        else:
            ours = unavailable(missing(_EMULATED) if name else _NOT_RUN)
        rows.append(Row(technique, ("a bar",), (ours,)))
    return Part(
        "Figure 12. Energy of an inference",
        "AlexNet on an emulated Raspberry Pi 4: estimated latency times a published power model",
        ("energy",),
        ("mJ",),
        tuple(rows),
        why="The authors' notebooks take energy from an estimator for spiking networks that "
        "charges depthwise layers nothing, so theirs and ours do not compare.",
        needs=("with a meter on the board: `edgekit profile FILE --board NAME --meter hwmon`",),
        pictures=(Picture("figure12.svg", "Estimated latency and energy, emulated Pi 4"),)
        if record(folder, "emulated_pair", "lcrm-float32")
        else (),
    )
