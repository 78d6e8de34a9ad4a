"""Figures 6 to 8 and Table 14: how the models learn, and what they answer.

Curves and pictures come from results/lcrm_paper_pictures.json, epochs also from ablation.json and
inherit.json.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.lcrm_paper.rows import (
    Cell,
    Part,
    Picture,
    Row,
    averaged,
    cell,
    counted,
    load,
    missing,
    paper,
    unavailable,
)

PICTURES = "-m benchmarks.lcrm_paper.pictures"
ABLATION = "-m benchmarks.lcrm_paper.ablation"


def best_epochs(folder: Path, model: str) -> tuple[Cell, Cell]:
    """The epoch with the least validation loss: parent and LCRM from fresh weights."""
    cells = []
    for version in ("parent", "lcrm"):
        if model in ("unet_small", "decom_net_small"):
            told = load(folder, "lcrm_paper_pictures")
            command, epochs = PICTURES, told["epochs"] if told else 0
            found = [
                float(row["best_epoch"])
                for row in (told["rows"] if told else [])
                if (row["model"], row["version"]) == (model, version)
            ]
        else:
            told = load(folder, "ablation")
            command, epochs = (
                ABLATION,
                told["setups"].get(model, {}).get("epochs", 0) if told else 0,
            )
            found = [
                float(row["best_epoch"])
                for row in (told["trainings"] if told else [])
                if (row["model"], row["variant"]) == (model, version)
            ]
        if found:
            text = averaged(found, lambda v: f"{v:.1f}".removesuffix(".0"))
            cells.append(Cell(f"{text} of {epochs}", "measured"))
        else:
            cells.append(unavailable(missing(command)))
    return cells[0], cells[1]


def figure6(folder: Path) -> Part:
    """Curves of training."""
    told = load(folder, "lcrm_paper_pictures")
    return Part(
        "Figure 6. Curves of U-Net and its LCRM in training",
        _pictured(told, "unet_small"),
        why="As in the paper both start from fresh weights and see the same images as often.",
        pictures=(Picture("figure6.svg", "Training and validation loss and IoU by epoch"),)
        if told
        else (),
        needs=() if told else (missing(PICTURES),),
    )


def figures7_and_8(folder: Path) -> tuple[Part, Part]:
    """Segmented and enhanced pictures, with their scores."""
    told = load(folder, "lcrm_paper_pictures")
    parts = []
    for number, model, title in (
        (7, "unet_small", "Segmentation by U-Net and its LCRM"),
        (8, "decom_net_small", "Enhancement by Decom-Net and its LCRM"),
    ):
        rows = [
            Row(
                f"{row['version']}: {row['metric']} of the test split",
                (),
                (
                    cell(row["score"], lambda v: f"{v:.3f}"),
                    counted(f"{row['parameters']:,}"),
                    counted(f"{row['macs'] / 1e6:.1f} M"),
                ),
            )
            for row in (told["rows"] if told else [])
            if row["model"] == model
        ]
        parts.append(
            Part(
                f"Figure {number}. {title}",
                _pictured(told, model),
                (),
                ("score", "parameters", "MACs") if rows else (),
                tuple(rows),
                why="The first pictures of the test split, not chosen. The paper's are of the "
                "original data sets.",
                pictures=(Picture(f"figure{number}.png", title),) if told else (),
                needs=() if told else (missing(PICTURES),),
            )
        )
    return parts[0], parts[1]


def _pictured(told: Any, model: str) -> str:
    if not told:
        return "not drawn here"
    sizes = ", ".join(
        f"{study['parent']} on {study['task']} ({study['samples'][0]} images to train on, "
        f"{study['samples'][2]} to test)"
        for study in told["studies"]
        if study["parent"] == model
    )
    return f"{sizes}; {told['epochs']} epochs, one seed"


def table14(folder: Path) -> Part:
    """Epochs to convergence."""
    printed = paper()["table14"]
    models = ("alexnet_small", "decom_net_small", "unet_small", "vgg9_small")
    rows = [
        Row(what, tuple(map(str, values)), best_epochs(folder, model), model)
        for (what, values), model in zip(printed.items(), models, strict=True)
    ]
    told = load(folder, "inherit")
    for row in told["rows"] if told else []:
        if row["model"] != "parent":
            parent = next(r for r in told["rows"] if r["model"] == "parent")
            reached = row["reached"] or f"not in {row['epochs']}"
            rows.append(
                Row(
                    f"to the parent's accuracy, {row['model']}",
                    ("–", "–"),
                    (Cell(str(parent["reached"]), "measured"), Cell(str(reached), "measured")),
                    f"VGG-9-like on {told['samples']} glyphs",
                )
            )
    return Part(
        "Table 14. Epochs to convergence",
        "epoch with the least validation loss, from fresh weights, of a fixed number; below it the "
        "epochs to the parent's best validation accuracy, where substitutes inherit or not",
        ("parent", "LCRM"),
        ("parent", "LCRM"),
        tuple(rows),
        why="With few epochs the best is often the last: then neither had converged.",
        faults=(
            "Decom-Net's 1800 epochs are the length of its training, not a point of convergence.",
        ),
        needs=() if told else (missing("benchmarks/inherit.py"),),
    )
