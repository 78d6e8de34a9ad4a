"""Tables 9 to 11: the paper's other three applications.

Scores over seeds come from results/applications.json; `trained` is where its rows become ours.
Parameters and file sizes are counted on the full-size parents.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.lcrm_paper import learning
from benchmarks.lcrm_paper.counting import total
from benchmarks.lcrm_paper.rows import (
    Cell,
    Part,
    Row,
    averaged,
    cell,
    counted,
    load,
    mean_text,
    missing,
    paper,
    unavailable,
)
from benchmarks.lcrm_paper.storage import file_cell

FILE = "applications"
COMMAND = "benchmarks/applications.py"
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
        learning.figure6(folder),
        *learning.figures7_and_8(folder),
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


def _reached(rows: list[dict[str, Any]]) -> Cell:
    """The epoch that came up to the parent's best validation score; by seed where one did not."""
    if not all("to_parent" in row for row in rows):
        return unavailable("the results file has no such figure")
    epochs = [row["to_parent"] for row in rows]
    if None not in epochs:
        return Cell(averaged(epochs, lambda v: f"{v:.1f}"), "measured")
    told = [f"not in {row['epochs']}" if row["to_parent"] is None else str(row["to_parent"])
            for row in rows]  # fmt: skip
    # One text for all seeds, where it is the same.
    return Cell(told[0] if len(set(told)) == 1 else ", ".join(told), "measured")


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
            "with LOL, from `edgekit_converters.decom_net(illumination=False)` in a "
            "`file.py:function`: `edgekit train file.py:function --data LOL/ -o decom_net.keras`, "
            "then `edgekit compare decom_net.keras --data LOL/ --recipes base lcrm`; LPIPS, "
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
            "with one set of EMNIST in a folder, from `edgekit_converters.vgg9_small(classes=62, "
            "size=28)` in a `file.py:function` (vgg9's 224x224 take a machine of 690 GB): "
            "`edgekit train file.py:function --data EMNIST/ -o vgg9.keras`, then `edgekit compare "
            "vgg9.keras --data EMNIST/ --recipes base lcrm`",
        ),
    )  # fmt: skip


def _once(folder: Path, model: str) -> Row:
    """The score of the models that Figures 7 and 8 show."""
    told = load(folder, "lcrm_paper_pictures")
    rows = [row for row in (told["rows"] if told else []) if row["model"] == model]
    ours = (
        tuple(cell(row["score"], _three) for row in rows)
        or (unavailable(missing(learning.PICTURES)),) * 2
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
            cells.append(unavailable(missing(learning.ABLATION)))
        else:
            cells.append(Cell(mean_text(found), "measured"))
    remark = "as trained for Table 13, fresh weights"
    return Row(f"{what} of Table 13's models", ("–", "–"), tuple(cells), remark)


def _epochs(what: str, printed: Any, folder: Path, model: str) -> Row:
    return Row(what, tuple(map(str, printed)), learning.best_epochs(folder, model))


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
                        _reached(mine),
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
