"""From records of a real board to a board profile of its own: which count, and what they give."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from edgekit.boards.estimating import Work, terms
from edgekit.boards.fitting import (
    Error,
    LatencyFit,
    Metering,
    PowerFit,
    Timed,
    error_of,
    fit_latency,
    fit_power,
    latency_error,
    ratio_of,
)
from edgekit.errors import CalibrationError, NpuError
from edgekit_device.board import BoardProfile, LatencyModel, Power
from edgekit_device.energy import energy_j, power_w
from edgekit_device.number import Number
from edgekit_device.record import Machine, Record

_LABORATORY = "own measurement"


@dataclass(frozen=True)
class Calibration:
    """The profile, what was fitted (None: it stays), how far off the earlier one was, and notes."""

    profile: BoardProfile
    latency: LatencyFit | None
    latency_before: Error | None
    power: PowerFit | None
    power_before: Error | None
    notes: tuple[str, ...]


def calibrate(
    records: Sequence[Record],
    works: Mapping[str, Work | str],
    base: BoardProfile,
    board: str,
    date: str,
) -> Calibration:
    """Fit the latency and power models of `base` to records of one real board.

    `works` says for each file's sha256 what it asks of a CPU, or why that cannot be said. `board`
    is what the user calls the board; it and `date` stand in the profile's sources.

    Raises:
        CalibrationError: the records are of an emulated board, of several boards or meters, or hold
            nothing that can be fitted.
    """
    _check_board(records)
    notes: list[str] = []
    usable = _usable(records, notes)
    timed = _timed(usable, works, base, notes)
    latency = fit_latency(timed, base.latency) if timed else None
    if timed and latency is None:
        notes.append(
            f"one model alone cannot tell how far it is off for others, and {base.name} has no "
            "latency model: give two models or more"
        )
    power = _power(usable, base, notes)
    if latency is None and power is None:
        why = f": {'; '.join(notes)}" if notes else ""
        raise CalibrationError(f"There is nothing to calibrate {base.name} with{why}.")
    profile = replace(base, name=_name(base, board), description=_description(base, board))
    before = None
    if latency is not None:
        notes += _latency_notes(latency, timed, base)
        source = _latency_source(latency, usable, base, board, date)
        profile = replace(
            profile,
            latency=LatencyModel(
                latency.macs_factor, latency.traffic_factor, latency.low, latency.high, source
            ),
        )
        before = None if base.latency is None else latency_error(timed, base.latency)
    elif base.latency is not None:
        notes.append(f"the latency model stays that of {base.name}")
    power_before = None
    if power is not None:
        profile = replace(profile, power=(_own_power(power, usable, board, date),))
        power_before = _power_before(usable, base)
    return Calibration(profile, latency, before, power, power_before, tuple(notes))


def emulated_board(machine: Machine) -> CalibrationError:
    """The error of an emulated board: to be raised by the caller."""
    board = machine.model.removesuffix(", emulated")
    return CalibrationError(
        f"{board} is emulated ({machine.emulator}): nothing was measured there that a profile "
        "could be fitted to; calibrate on the real board."
    )


def _check_board(records: Sequence[Record]) -> None:
    if not records:
        raise CalibrationError("There are no records to calibrate with: profile models first.")
    emulated = [record for record in records if record.machine.emulator is not None]
    if emulated:
        raise emulated_board(emulated[0].machine)
    models = dict.fromkeys(record.machine.model for record in records)
    if len(models) > 1:
        raise CalibrationError(
            f"The records are of several machines ({', '.join(models)}); calibrate each on its own."
        )
    meters = dict.fromkeys(
        f"{record.metered.meter} ({record.metered.scope})" for record in records if record.metered
    )
    if len(meters) > 1:
        raise CalibrationError(
            f"The records are of several meters ({', '.join(meters)}); give those of one."
        )


def _usable(records: Iterable[Record], notes: list[str]) -> list[Record]:
    """The records without errors and throttling; the others are noted."""
    found = []
    for record in records:
        if record.error is not None:
            notes.append(f"{_what(record)} ended in an error ({record.error.kind}) and is left out")
        elif record.conditions.throttled == "yes":
            notes.append(f"{_what(record)} ran throttled and is left out")
        else:
            found.append(record)
    return found


def _timed(
    records: Sequence[Record],
    works: Mapping[str, Work | str],
    base: BoardProfile,
    notes: list[str],
) -> list[Timed]:
    found, reasons = [], []
    for record in records:
        sha256, p50_ms = record.model.sha256, record.latency_ms.p50
        work = works.get(sha256 or "", "its file is not among those given")
        if p50_ms.how != "measured" or not p50_ms.value or sha256 is None:
            work = "its latency was not measured"
        if isinstance(work, str):
            reasons.append(f"{record.model.file} is left out of the latency: {work}")
            continue
        try:
            parts = terms(work, base, record.threads)
        except NpuError as error:
            reasons.append(f"the latency model stays: {error}")
            continue
        if parts.macs_s <= 0:
            reasons.append(
                f"{record.model.file} is left out of the latency: it has no products to count"
            )
            continue
        found.append(
            Timed(sha256 or "", parts.macs_s, parts.traffic_s, (p50_ms.value or 0.0) / 1e3)
        )
    notes += dict.fromkeys(reasons)
    return found


def _power(records: Sequence[Record], base: BoardProfile, notes: list[str]) -> PowerFit | None:
    kept = f"the power model stays that of {base.name}" if base.power else "there is no power model"
    metered = [record for record in records if record.metered is not None]
    if not metered:
        notes.append(f"no power meter: {kept}")
        return None
    windows, idle = _windows(metered, notes), _idle_w(metered)
    if not windows or idle is None:
        notes.append(f"the meter gave no usable {'idle power' if windows else 'window'}: {kept}")
        return None
    if idle < 0 or any(window.mean_w <= 0 for window in windows):
        raise CalibrationError(
            f"The meter reads {min(idle, *(window.mean_w for window in windows)):.3g} W, and power "
            "must be above 0; is it connected the other way round?"
        )
    notes += dict.fromkeys(
        f"the power model is of what {record.metered.meter} sees: {record.metered.scope}"
        for record in metered
        if record.metered is not None
    )
    return fit_power(windows, idle, base.clock_hz)


def _windows(records: Sequence[Record], notes: list[str]) -> list[Metering]:
    found = []
    for record in records:
        metered = record.metered
        if metered is None:
            continue
        if metered.flags:
            notes.append(
                f"the power of {_what(record)} is doubtful and left out: {' '.join(metered.flags)}"
            )
            continue
        for window in metered.windows:
            used = window.cpu_utilisation
            used = record.machine_cpu_utilisation.value if used is None else used
            if used is not None:
                run = (record.model.sha256, record.threads, record.created)
                found.append(Metering(run, window.mean_w, used, window.clock_hz))
    return found


def _idle_w(records: Sequence[Record]) -> float | None:
    values = [
        number.value
        for record in records
        if record.metered is not None and not record.metered.flags
        for number in (record.metered.idle_before_w, record.metered.idle_after_w)
        if number.value is not None
    ]
    return math.fsum(values) / len(values) if values else None


def _own_power(fit: PowerFit, records: Sequence[Record], board: str, date: str) -> Power:
    metered = next(record.metered for record in records if record.metered is not None)
    off = "one run, error not known" if fit.after is None else _off(fit.after)
    full_load_w = fit.idle_w + fit.linear_w + fit.cubic_w
    return Power(
        idle_w=fit.idle_w,
        full_load_w=full_load_w,
        source=f"fitted to {fit.windows} windows of {metered.meter} ({metered.scope}) on {board}, "
        f"{date}: {off}",
        laboratory=_LABORATORY,
        clock_hz=fit.clock_hz,
        # What rounding adds to it would make it more than the whole, which no profile may say.
        cubic_w=min(fit.cubic_w, full_load_w - fit.idle_w),
        low=fit.low,
        high=fit.high,
    )


def _power_before(records: Sequence[Record], base: BoardProfile) -> Error | None:
    """How far the earlier power models are off: the energy of one second against the watts."""
    if not base.power:
        return None
    second = Number.counted(1e3)
    ratios = []
    for window in _windows([record for record in records if record.metered], []):
        used = Number.counted(min(max(window.utilisation, 0.0), 1.0))
        predicted = energy_j(base.power, power_w, used, second, window.clock_hz)
        ratios.append(ratio_of(window.mean_w, predicted.value or 0.0))
    return error_of(ratios)


def _latency_notes(fit: LatencyFit, timed: Sequence[Timed], base: BoardProfile) -> list[str]:
    notes = []
    if not fit.with_traffic:
        stays = (
            "is 0, as there was none before"
            if base.latency is None
            else f"stays that of {base.name}"
        )
        why = (
            "one model cannot tell two factors apart"
            if fit.models < 2
            else "these models move too little beyond the cache, or all in proportion to their MACs"
        )
        notes.append(f"the traffic factor {stays}: {why}")
    if not fit.left_out:
        notes.append(
            f"the latency's interval stays that of {base.name}: one model cannot tell how far "
            "others are off"
        )
    return notes


def _latency_source(
    fit: LatencyFit, records: Sequence[Record], base: BoardProfile, board: str, date: str
) -> str:
    threads = sorted({record.threads for record in records})
    span = f"{threads[0]} to {threads[-1]} threads" if len(threads) > 1 else f"{threads[0]} threads"
    models = f"{fit.models} models" if fit.models > 1 else "1 model"
    text = f"fitted to {fit.runs} runs of {models} ({span}) on {board}, {date}: "
    text += _off(fit.after) if fit.left_out else "error on other models not known"
    if base.latency is not None and not (fit.with_traffic and fit.left_out):
        kept = [] if fit.with_traffic else ["traffic factor"]
        kept += [] if fit.left_out else ["interval"]
        text += f"; {' and '.join(kept)} taken over: {base.latency.source}"
    return text


def _off(error: Error) -> str:
    return (
        f"leave-one-out error {error.mean * 100:.0f} % on average, {error.worst * 100:.0f} % "
        "at worst"
    )


def _what(record: Record) -> str:
    threads = "1 thread" if record.threads == 1 else f"{record.threads} threads"
    return f"{record.model.file} at {threads}"


def _name(base: BoardProfile, board: str) -> str:
    return f"{base.name.partition(' on ')[0]} on {board}"


def _description(base: BoardProfile, board: str) -> str:
    return f"{base.description.partition(', calibrated on ')[0]}, calibrated on {board}"
