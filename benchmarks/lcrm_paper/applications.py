"""Tables 9 to 11 and 14, Figures 6 to 8: the paper's other three applications.

Scores over seeds come from results/applications.json (`trained` is where its rows become ours),
curves and pictures from results/lcrm_paper_pictures.json; parameters and file sizes are counted on
the full-size parents.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.lcrm_paper.counting import total
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
from benchmarks.lcrm_paper.storage import file_cell

FILE = "applications"
COMMAND = "benchmarks/applications.py"
PICTURES = "-m benchmarks.lcrm_paper.pictures"
ABLATION = "-m benchmarks.lcrm_paper.ablation"
SCRATCH = ("lcrm(weights=fresh)", "lcrm")
"""Recipes that stand for the paper's LCRM, the first one that is there."""

Form = Callable[[float], str]


def trained(folder: Path, task: str) -> dict[str, list[dict[str, Any]]]:
    """The rows of a task by recipe, one for each seed; empty where there is no file."""
    told = load(folder, FILE)
    found: dict[str, list[dict[str, Any]]] = {}
    for row in (told["rows"] if isinstance(told, dict) else told) or []:
        if row["task"] == task:
            found.setdefault(row["recipe"], []).append(row)
    return found


def tables(folder: Path) -> tuple[Part, ...]:
    """Tables 9 to 11 with all recipes, and Figures 6 to 8."""
    return (
        table9(folder),
        table10(folder),
        table11(folder),
        recipes(folder),
        figure6(folder),
        *figures7_and_8(folder),
    )


def pair(
    folder: Path, task: str, value: Callable[[dict[str, Any]], Any], form: Form
) -> tuple[Cell, Cell]:
    """Parent and the paper's LCRM: mean and spread over the seeds."""
    rows = trained(folder, task)
    scratch = next((name for name in SCRATCH if name in rows), None)
    return _over(rows.get("base"), value, form), _over(rows.get(scratch or ""), value, form)


def _over(
    rows: list[dict[str, Any]] | None, value: Callable[[dict[str, Any]], Any], form: Form
) -> Cell:
    if not rows:
        return unavailable(missing(COMMAND))
    cells = [cell(value(row), form) for row in rows]
    known = [one for one in cells if one.how != "unavailable"]
    if len(known) < len(cells):
        return next(one for one in cells if one.how == "unavailable")
    numbers = [_plain(value(row)) for row in rows]
    return Cell(averaged(numbers, form), known[0].how)


def _plain(value: Any) -> float:
    return float(value["value"] if isinstance(value, dict) else value)


def _score(row: dict[str, Any]) -> Any:
    return row["score"]


def _metric(name: str) -> Callable[[dict[str, Any]], Any]:
    def found(row: dict[str, Any]) -> Any:
        metrics = row.get("metrics") or {}
        return metrics.get(name, metrics.get(name.lower()))

    return found


def _three(value: float) -> str:
    return f"{value:.3f}"


def _ms(value: float) -> str:
    return f"{value:.2f} ms"


def _latency(row: dict[str, Any]) -> Any:
    return row.get("latency_ms")


def _macs_and_weights(folder: Path, task: str, small: str) -> tuple[Row, ...]:
    whole = counted(f"{total(small):,}"), counted(f"{total(small, 'equations'):,}")
    return (
        Row(f"latency, {small}", ("–", "–"), pair(folder, task, _latency, _ms)),
        Row(f"parameters, {small}", ("–", "–"), whole),
    )


def _full_size(folder: Path, name: str, printed: Any, style: Any) -> tuple[Row, ...]:
    weights = counted(f"{total(name):,}"), counted(f"{total(name, style):,}")
    tflite = tuple(file_cell(folder, name, version) for version in ("parent", style))
    with_adam = tuple(
        file_cell(folder, name, version, "h5_adam_bytes") for version in ("parent", style)
    )
    return (
        Row(f"parameters, full size, style `{style}`", tuple(printed["parameters"]), weights),
        Row("size, H5 with Adam's moments", tuple(printed["size"]), with_adam),
        Row("size, float32 TFLite", ("–", "–"), tflite),
    )


def table9(folder: Path) -> Part:
    """Image enhancement."""
    printed = paper()["table9"]
    rows = []
    for name in ("SSIM", "LPIPS", "NIQE", "PIQE", "BRISQUE"):
        ours = pair(folder, "lowlight", _score if name == "SSIM" else _metric(name), _three)
        rows.append(Row(name, tuple(f"{value:g}" for value in printed[name]), ours))
    rows.append(_once(folder, "decom_net_small"))
    rows.append(Row("PSNR, dB", ("–", "–"), pair(folder, "lowlight", _metric("PSNR"), _three)))
    rows += _full_size(folder, "decom_net", printed, "equations")
    rows += _macs_and_weights(folder, "lowlight", "decom_net_small")
    rows.append(_epochs("epochs trained", printed["epochs"], folder, "decom_net_small"))
    return Part(
        "Table 9. Image enhancement, Decom-Net",
        "decom_net_small on lowlight (48x48, generated from photographs); counts of the full size",
        ("parent", "LCRM"),
        ("parent", "LCRM"),
        tuple(rows),
        why="The paper trains Retinex-Net's own losses on LOL; here the enhanced picture itself is "
        "learned on small squares, and SSIM is that of the picture. docs/parents.md says which "
        "first kernel gives 0.19 M.",
        faults=(
            "The text says that LCRM is better in PIQE; lower is better, and 11.8 is worse than "
            "11.27.",
            "4.33 MB for 0.19 M parameters are 23 bytes each, 1.26 MB for 0.028 M 45.",
        ),
        needs=(
            "with LOL: `edgekit compare decom_net.keras --data LOL/ --recipes base lcrm`; LPIPS, "
            "NIQE and BRISQUE need weights that cannot be had offline (docs/tasks.md)",
        ),
    )


def table10(folder: Path) -> Part:
    """Segmentation."""
    printed = paper()["table10"]
    rows = [
        Row(
            "accuracy (of pixels)",
            tuple(f"{value:g}" for value in printed["accuracy"]),
            pair(folder, "nuclei", _metric("pixel accuracy"), _three),
        ),
        _epochs("point of convergence, epoch", printed["epochs"], folder, "unet_small"),
        Row("IoU", tuple(f"{value:g}" for value in printed["IoU"]),
            pair(folder, "nuclei", _score, _three)),
        _once(folder, "unet_small"),
    ]  # fmt: skip
    rows += _full_size(folder, "unet", printed, "equations")
    small, less = _macs_and_weights(folder, "nuclei", "unet_small")
    rows += [replace(small, paper=tuple(printed["latency"])), less]
    return Part(
        "Table 10. Segmentation, U-Net",
        "unet_small on nuclei (64x64, generated); counts of the full size, 128x128x3",
        ("parent", "LCRM"),
        ("parent", "LCRM"),
        tuple(rows),
        why="Generated nuclei are more alike than the data set's. 0.304 M lie between two of the "
        "three styles (docs/parents.md). The paper's latency is a step of Keras on its GPU.",
        needs=(
            "with the data set: `edgekit compare unet.keras --data stage1_train/ --recipes base "
            "lcrm`",
        ),
    )


def table11(folder: Path) -> Part:
    """Character recognition."""
    printed = paper()["table11"]
    rows = [
        Row("accuracy", tuple(f"{value:g}" for value in printed["accuracy"]),
            pair(folder, "glyphs", _score, _three)),
        _ablated(folder, "accuracy"),
        _epochs("point of convergence, epoch", printed["epochs"], folder, "vgg9_small"),
        Row("loss", tuple(f"{value:g}" for value in printed["loss"]),
            _ablated(folder, "loss").ours, "as trained for Table 13"),
    ]  # fmt: skip
    rows += _full_size(folder, "vgg9", printed, "equations")
    small, less = _macs_and_weights(folder, "glyphs", "vgg9_small")
    rows += [replace(small, paper=tuple(printed["latency"])), less]
    return Part(
        "Table 11. Character recognition, VGG-9",
        "vgg9_small on glyphs (24x24, 36 classes, generated); counts of the full size, 224x224x1",
        ("parent", "LCRM"),
        ("parent", "LCRM"),
        tuple(rows),
        why="EMNIST's 62 classes have 697 932 images to train on, glyphs some thousand. 3.65 M are "
        "the notebook's, which keeps one standard convolution (docs/parents.md).",
        faults=(
            "78.4 and 30.4 MB are 9.9 and 8.3 bytes a parameter; one format would give one ratio.",
        ),
        needs=(
            "with EMNIST: `edgekit compare vgg9.keras --data EMNIST/ --recipes base lcrm`",
        ),
    )  # fmt: skip


def _once(folder: Path, model: str) -> Row:
    """The score of the models that Figures 7 and 8 show."""
    told = load(folder, "lcrm_paper_pictures")
    rows = [row for row in (told["rows"] if told else []) if row["model"] == model]
    ours = (
        tuple(cell(row["score"], _three) for row in rows) or (unavailable(missing(PICTURES)),) * 2
    )
    metric = rows[0]["metric"] if rows else "score"
    return Row(f"{metric} of the figure's models", ("–", "–"), ours, "one seed, fresh weights")


def _ablated(folder: Path, what: str) -> Row:
    """Accuracy or loss of the models that Table 13 trains."""
    told = load(folder, "ablation")
    rows = {r["variant"]: r for r in (told["rows"] if told else []) if r["model"] == "vgg9_small"}
    cells = []
    for version in ("parent", "lcrm"):
        found = rows.get(version, {}).get(what)
        if found is None:
            cells.append(unavailable(missing(ABLATION)))
        else:
            spread = "" if found["spread"] is None else f" ± {found['spread']:.3f}"
            cells.append(Cell(f"{found['mean']:.3f}{spread}", "measured"))
    remark = "as trained for Table 13, fresh weights"
    return Row(f"{what} of Table 13's models", ("–", "–"), tuple(cells), remark)


def _epochs(what: str, printed: Any, folder: Path, model: str) -> Row:
    return Row(what, tuple(map(str, printed)), best_epochs(folder, model))


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


def recipes(folder: Path) -> Part:
    """Every recipe of the applications, LCRM that inherits among them."""
    rows = []
    for task in ("glyphs", "nuclei", "lowlight"):
        for recipe, mine in trained(folder, task).items():
            rows.append(
                Row(
                    f"{mine[0]['model']} on {task}, `{recipe}`",
                    (),
                    (
                        _over(mine, _score, _three),
                        _over(mine, lambda row: row.get("epochs_to_parent"), lambda v: f"{v:.1f}"),
                        _over(mine, _latency, _ms),
                        counted(f"{mine[0]['parameters']:,}"),
                        counted(f"{mine[0]['macs'] / 1e6:.2f} M"),
                        counted(f"{mine[0]['file_bytes'] / 1e3:.0f} kB"),
                    ),
                )
            )
    return Part(
        "Tables 9 to 11, further recipes",
        "small parents on generated tasks, mean ± standard deviation over the seeds"
        if rows
        else "not measured here",
        (),
        ("score", "epochs to the parent's", "latency", "parameters", "MACs", "file"),
        tuple(rows),
        why="What the paper does not have: LCRM that inherits from its trained parent "
        "(docs/inheritance.md).",
        needs=() if rows else (missing(COMMAND),),
    )


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
                    cell(row["score"], _three),
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
