"""A training profile as text for a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from edgekit.report.format import (
    MISSING,
    bytes_text,
    count_text,
    digits,
    milliseconds_text,
    number_text,
    ratio,
    ratio_text,
)
from edgekit.training.rows import NUMBERS, TrainingProfile, TrainingRow
from edgekit_device.number import Number

_PIPE_WIDTH = 160
_SHARES = ("cpu_share", "other_cpu_share", "gpu_share", "gpu_idle_ratio")
_MUCH = 0.1
"""Of the CPU, for others: from here on the reader is told."""
_NO_RATIO = (*_SHARES, "step_p90_ms", "host_energy_per_epoch_j")


def print_profile(profile: TrainingProfile) -> None:
    """The table, and beneath it what is not known and why."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(width=_PIPE_WIDTH, highlight=False)
    place = profile.gpu or profile.device.upper()
    console.print(
        f"Training with {profile.backend} {profile.backend_version} on the {place}: {profile.data}",
        markup=False,
    )
    for model in profile.models:
        macs = count_text(model.macs.value) if model.macs.value is not None else MISSING
        console.print(
            f"{model.name}: {count_text(model.parameters)} parameters, {macs} MACs per image",
            markup=False,
        )
    console.print()
    console.print(profile_table(profile))
    console.print()
    for line in _notes(profile):
        console.print(line, markup=False, soft_wrap=True)


def profile_table(profile: TrainingProfile) -> Table:
    """One row per batch size and model; ratios are to the first model with the same batch."""
    shown = [name for name in NUMBERS if any(_value(row, name) is not None for row in profile.rows)]
    if profile.device == "cpu" and "host_energy_per_epoch_j" in shown:
        shown.remove("host_energy_per_epoch_j")  # it stands under energy/epoch
    table = Table(box=None, pad_edge=False)
    table.add_column("batch", justify="right", no_wrap=True)
    if len(profile.models) > 1:
        table.add_column("model", no_wrap=True, max_width=32)
    for name in shown:
        table.add_column(NUMBERS[name], justify="right", no_wrap=True)
    table.add_column("first 3 steps", justify="right", no_wrap=True)
    base: dict[int, TrainingRow] = {}
    for row in profile.rows:
        first = base.setdefault(row.batch_size, row)
        cells = [str(row.batch_size)] if first is row else [""]
        if len(profile.models) > 1:
            cells.append(row.model)
        cells += [_cell(name, row, None if first is row else first) for name in shown]
        steps = [milliseconds_text(n.value) for n in row.first_steps_ms if n.value is not None]
        table.add_row(*cells, " ".join(steps) or MISSING)
    return table


def _cell(name: str, row: TrainingRow, base: TrainingRow | None) -> str:
    number: Number = getattr(row, name)
    if number.value is None:
        return MISSING
    if name in _SHARES:
        return f"{number.value:.0%}"
    if name == "throughput_images_per_s":
        text = digits(number.value)
    elif name.endswith("_bytes"):
        text = bytes_text(number.value)
    else:
        text = number_text(name, number)
    if base is None or name in _NO_RATIO:
        return text
    compared = ratio_text(ratio(number, getattr(base, name)))
    return f"{text} {compared}" if compared else text


def _notes(profile: TrainingProfile) -> list[str]:
    """What a reader has to know: rows that failed, numbers that are missing, what was scaled."""
    lines = [f"{row.model}: {row.error}." for row in profile.rows if row.error is not None]
    rows = [row for row in profile.rows if row.error is None]
    missing: dict[str, list[str]] = {}
    for name in NUMBERS:
        if name == "host_energy_per_epoch_j" and profile.device == "cpu":
            continue  # it is the energy/epoch
        for reason in dict.fromkeys(
            str(getattr(row, name).reason) for row in rows if _value(row, name) is None
        ):
            missing.setdefault(reason, []).append(NUMBERS[name])
    lines += [f"{', '.join(names)}: unavailable, {why}." for why, names in missing.items()]
    others = max((_value(row, "other_cpu_share") or 0.0 for row in rows), default=0.0)
    if others > _MUCH:
        lines.append(
            f"Other programs took up to {others:.0%} of the CPU meanwhile: times are longer for it."
        )
    known = [row for row in rows if row.energy_per_epoch_j.value is not None]
    if known:
        number = known[0].energy_per_epoch_j
        lines.append(f"energy/epoch, first row: {number.how}, {number.reason}.")
    kept = f"{profile.images_per_epoch} images"
    lines.append(
        "The first three steps, in which libraries compile, are in no other number. An epoch is "
        f"{kept}; inference is per image, in batches of that size."
    )
    return lines


def _value(row: TrainingRow, name: str) -> float | None:
    number: Number = getattr(row, name)
    return number.value
