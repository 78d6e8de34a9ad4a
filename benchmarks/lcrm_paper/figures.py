"""The page's figures, drawn from the results files; those without results are left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.lcrm_paper import ablated, searched, techniques, training
from benchmarks.lcrm_paper.rows import load
from edgekit.npu.plots import standalone
from edgekit.report.figures import PLAIN, SECOND, STRONG, drawing, svg_of

COLOURS = {"parent": PLAIN, "lcrm": STRONG}


def draw_all(folder: Path, out: Path) -> list[Path]:
    """Every figure whose results are there, as SVG files in `out`."""
    written = []
    for name, make in _FIGURES.items():
        with drawing(name):
            figure = make(folder)
            if figure is None:
                continue
            out.mkdir(parents=True, exist_ok=True)
            file = out / f"{name}.svg"
            file.write_text(standalone(svg_of(figure, name, "See the table")), "utf-8")
            written.append(file)
    return written


def _figure(width: float, height: float, columns: int) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    return figure, figure.subplots(1, columns, squeeze=False)[0]


def _value(number: Any) -> float | None:
    return number.get("value") if isinstance(number, dict) else number


def _figure5(folder: Path) -> Any:
    rows = training.profiled(folder)
    if not rows:
        return None
    panels = [
        (name, label)
        for name, label in (
            ("energy_per_epoch_j", "energy of an epoch (J)"),
            ("throughput_images_per_s", "training, images/s"),
        )
        if any(_value(row.get(name)) is not None for row in rows.values())
    ]
    if not panels:
        return None
    figure, axes = _figure(4.2 * len(panels), 3.0, len(panels))
    for place, (name, label) in zip(axes, panels, strict=True):
        for version in ("parent", "lcrm"):
            points = sorted(
                (batch, _value(row.get(name))) for (v, batch), row in rows.items() if v == version
            )
            known = [(batch, value) for batch, value in points if value is not None]
            if known:
                place.plot(*zip(*known, strict=True), marker="o", markersize=3, label=version,
                           color=COLOURS[version])  # fmt: skip
        place.set_xlabel("batch size")
        place.set_ylabel(label)
        place.set_ylim(bottom=0)
    axes[0].legend(fontsize=8)
    return figure


def _figure6(folder: Path) -> Any:
    told = load(folder, "lcrm_paper_pictures")
    if not told:
        return None
    figure, axes = _figure(8.4, 3.0, 2)
    for row in told["rows"]:
        if row["model"] != "unet_small":
            continue
        for place, name in zip(axes, ("loss", "iou"), strict=True):
            for prefix, style in (("", "--"), ("val_", "-")):
                seen = row["history"][f"{prefix}{name}"]
                label = f"{row['version']}, {'validation' if prefix else 'training'}"
                place.plot(range(1, len(seen) + 1), seen, style, label=label,
                           color=COLOURS[row["version"]])  # fmt: skip
    for place, name in zip(axes, ("loss", "IoU"), strict=True):
        place.set_xlabel("epoch")
        place.set_ylabel(name)
        place.set_ylim(bottom=0)
    axes[1].legend(fontsize=8)
    return figure


def _figure9(folder: Path) -> Any:
    sizes = {
        task: [techniques.scored(folder, task, name) for name in techniques.TECHNIQUES]
        for task in techniques.TASKS
    }
    if not all(sizes["digits"]):
        return None
    figure, (place,) = _figure(6.4, 2.8, 1)
    for shift, (task, colour) in zip(
        (-0.2, 0.2), zip(sizes, (STRONG, SECOND), strict=True), strict=True
    ):
        found = [one for one in sizes[task] if one]
        if len(found) == len(techniques.TECHNIQUES):
            heights = [one["gzip_bytes"] / found[0]["gzip_bytes"] for one in found]
            places = [shift + index for index in range(len(heights))]
            place.bar(places, heights, width=0.38, color=colour, label=task)
    place.set_xticks(range(len(techniques.TECHNIQUES)), techniques.TECHNIQUES)
    place.set_ylabel("packed size, of base's")
    place.legend(fontsize=8)
    return figure


def _figure12(folder: Path) -> Any:
    names = ("parent-float32", "parent-int8", "lcrm-float32", "lcrm-int8")
    records = [techniques.record(folder, "emulated_pair", name) for name in names]
    if not all(records):
        return None
    figure, axes = _figure(8.4, 2.8, 2)
    for place, label, scale, number in (
        (axes[0], "latency (ms)", 1.0, lambda r: r["latency_ms"]["p50"]),
        (axes[1], "energy (mJ)", 1e3, lambda r: r["energy_j"]),
    ):
        told = [number(one) for one in records]
        heights = [scale * one["value"] for one in told]
        spans = [
            [h - scale * one["low"] for h, one in zip(heights, told, strict=True)],
            [scale * one["high"] - h for h, one in zip(heights, told, strict=True)],
        ]
        colours = [COLOURS[name.split("-")[0]] for name in names]
        place.bar(range(4), heights, width=0.6, color=colours, yerr=spans, capsize=3)
        place.set_xticks(range(4), ["parent", "parent int8", "LCRM", "LCRM int8"])
        place.set_ylabel(f"{label}, estimated")
    return figure


def _figure13(folder: Path) -> Any:
    told = load(folder, "ablation")
    if not told:
        return None
    figure, axes = _figure(8.8, 3.2, 2)
    models = list(dict.fromkeys(row["model"] for row in told["rows"]))
    for place, what in zip(axes, ("accuracy", "loss"), strict=True):
        for index, (model, colour) in enumerate(zip(models, (STRONG, SECOND), strict=False)):
            mine = ablated.rows_of(folder, model)
            for position, version in enumerate(ablated.VERSIONS):
                if version in mine:
                    value = mine[version][what]
                    place.errorbar(
                        position + 0.16 * (index - 0.5),
                        value["mean"],
                        yerr=value["spread"] or 0.0,
                        fmt="o",
                        capsize=3,
                        color=colour,
                        label=model if position == 0 else None,
                    )
        place.set_xticks(
            range(len(ablated.VERSIONS)), [v.replace("without ", "− ") for v in ablated.VERSIONS]
        )
        place.set_ylabel(f"test {what}")
    axes[0].legend(fontsize=8)
    return figure


def _figure14(folder: Path) -> Any:
    found = searched.curves(folder)
    if not found:
        return None
    figure, (place,) = _figure(6.4, 3.0, 1)
    for number, seen in sorted(found.items()):
        place.plot(range(1, len(seen) + 1), seen, label=f"model {number}")
    place.set_xlabel("epoch")
    place.set_ylabel("validation loss")
    place.legend(fontsize=7)
    return figure


_FIGURES: dict[str, Callable[[Path], Any]] = {
    "figure5": _figure5,
    "figure6": _figure6,
    "figure9": _figure9,
    "figure12": _figure12,
    "figure13": _figure13,
    "figure14": _figure14,
}
