"""A training profile as a folder: its JSON, and one picture over the batch sizes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgekit.disk import storing, try_folder, write_whole
from edgekit.training.rows import TrainingProfile, TrainingRow

_PANELS: tuple[tuple[str, str, float], ...] = (
    ("throughput_images_per_s", "training, images/s", 1.0),
    ("step_ms", "step, ms", 1.0),
    ("peak_rss_growth_bytes", "memory of training, MB", 1e-6),
    ("device_memory_bytes", "GPU memory, MB", 1e-6),
    ("cpu_share", "CPU, %", 100.0),
    ("gpu_idle_ratio", "GPU idle, %", 100.0),
    ("energy_per_epoch_j", "energy per epoch, J", 1.0),
    ("inference_ms", "inference of an image, ms", 1.0),
    ("energy_per_inference_j", "energy per inference, mJ", 1e3),
)
_ACROSS = 3
_ROOM = 1.25


def write_profile(profile: TrainingProfile, folder: Path) -> tuple[Path, ...]:
    """Writes training-profile.json and training-profile.svg; gives their paths.

    Raises:
        DiskError: the folder cannot be written.
    """
    texts = {
        "training-profile.json": json.dumps(profile.to_json(), indent=1) + "\n",
        "training-profile.svg": picture(profile),
    }
    with storing(folder, "the training profile", kept=""):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_whole(folder / name, text)
    return tuple(folder / name for name in texts)


def try_profile(folder: Path) -> None:
    """Tries whether a profile can be written there, before it is measured.

    Raises:
        DiskError: the folder cannot be written.
    """
    with storing(folder, "the training profile", kept=""):
        try_folder(folder)


def picture(profile: TrainingProfile) -> str:
    """Each number that is known over the batch sizes, a line per model, as an SVG file."""
    from matplotlib.figure import Figure

    from edgekit.npu.plots import standalone
    from edgekit.report.figures import SECOND, STRONG, drawing, svg_of
    from edgekit.report.labels import shortened

    panels = [panel for panel in _PANELS if any(_points(profile.rows, panel))]
    down = -(-len(panels) // _ACROSS)
    with drawing("training"):
        figure = Figure(figsize=(9.0, 0.6 + 2.3 * down))
        grid = figure.subplots(down, _ACROSS, squeeze=False)
        for axes, panel in zip(grid.flat, panels, strict=False):
            for model, colour, marker in zip(profile.models, (STRONG, SECOND), "os", strict=False):
                rows = [row for row in profile.rows if row.model == model.name]
                points = _points(rows, panel)
                axes.plot(*_columns(points), color=colour, marker=marker, label=model.name)
                for size, _, low, high in points:
                    axes.vlines(size, low, high, color=colour, linewidth=1.0)
            _scale(axes, _points(profile.rows, panel))
            axes.set_title(panel[1])
        for axes in list(grid.flat)[len(panels) :]:
            axes.set_visible(False)
        if len(profile.models) > 1:
            grid.flat[0].legend(fontsize=8)
        names = " and ".join(shortened(model.name) for model in profile.models)
        figure.suptitle(f"Training of {names} by batch size ({profile.backend})")
        label = "Training by batch size; numbers in training-profile.json"
        return standalone(svg_of(figure, "training", label))


def _points(
    rows: tuple[TrainingRow, ...] | list[TrainingRow], panel: tuple[str, str, float]
) -> list[tuple[int, float, float, float]]:
    """Batch size, value and the ends of its interval, where they are known."""
    name, _, factor = panel
    found = []
    for row in rows:
        number = getattr(row, name)
        if number.value is not None:
            ends = (number.value if end is None else end for end in (number.low, number.high))
            low, high = (end * factor for end in ends)
            found.append((row.batch_size, number.value * factor, low, high))
    return found


def _columns(points: list[tuple[int, float, float, float]]) -> tuple[list[int], list[float]]:
    return [point[0] for point in points], [point[1] for point in points]


def _scale(axes: Any, points: list[tuple[int, float, float, float]]) -> None:
    """Batch sizes by powers of two, values from 0, and room for the marks at the edges."""
    from matplotlib.ticker import NullFormatter

    sizes = sorted({size for size, *_ in points})
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(sizes[0] / _ROOM, sizes[-1] * _ROOM)
    axes.set_ylim(0, 1.1 * max(high for *_, high in points) or 1.0)
    axes.set_xlabel("batch size")
