"""`edgekit boards calibrate`: a board's own profile, from measurements there."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgekit.boards import Board, ProfileSettings, parse_board, profile_on
from edgekit.boards.calibrating import Calibration, calibrate, emulated_board
from edgekit.boards.checking import check_agent
from edgekit.boards.connection import Connection
from edgekit.boards.estimating import Work, read_work
from edgekit.boards.fitting import Error
from edgekit.boards.named import profile_file, remember
from edgekit.boards.profile_file import profile_toml
from edgekit.boards.profiling import with_own_profile
from edgekit.boards.ssh import SshBoard
from edgekit.cli.live import live
from edgekit.disk import write_whole
from edgekit.errors import CalibrationError, NpuError
from edgekit.progress import Listener, Step
from edgekit_device.board import BoardProfile
from edgekit_device.errors import RecordError
from edgekit_device.golden import file_sha256
from edgekit_device.profiles import load_profile, recognise, widened
from edgekit_device.record import Machine, Record

SCHEMA = "edgekit.calibration/1"


def run(options: argparse.Namespace) -> int:
    """`edgekit boards calibrate BOARD MODEL.tflite…`."""
    board = parse_board(options.name)
    files = [Path(model) for model in options.models]
    if not files and not options.records:
        raise CalibrationError(
            "There is nothing to calibrate with: name .tflite files of your own, three or more of "
            "different sizes."
        )
    works = _works(files)
    with live() as progress:
        if options.records:
            records = _read_all(options.records)
            base = _base(board, options, records[0].machine)
        else:
            machine = _machine(board, options)
            base = _base(board, options, machine)
            records = _measure(board, files, options, machine.cores, progress)
    date = datetime.now(timezone.utc).date().isoformat()
    found = calibrate(records, works, base, str(board), date)
    file = _keep(found.profile, board)
    if isinstance(board, SshBoard) and board.name is not None:
        remember(replace(board, profile=str(file)), board.name)
    if options.json:
        print(json.dumps(_facts(found, base, file), indent=1))
    else:
        print("\n".join(_lines(found, base, board, file)))
    return 0 if all(record.error is None for record in records) else 1


def _works(files: Sequence[Path]) -> dict[str, Work | str]:
    works: dict[str, Work | str] = {}
    for file in files:
        try:
            sha256 = file_sha256(file)
        except OSError as error:
            raise CalibrationError(f"{file} cannot be read ({error.strerror}).") from error
        try:
            works[sha256] = read_work(file)
        except NpuError as error:
            works[sha256] = str(error)
    return works


def _read_all(names: Sequence[str]) -> list[Record]:
    records = [record for name in names for record in _read(Path(name))]
    if not records:
        raise CalibrationError(
            f"{', '.join(names)}: no record of a board; give what edgekit profile --json prints."
        )
    return records


def _read(file: Path) -> list[Record]:
    """The records in what `edgekit profile --json` printed, which may tell of NPUs, too."""
    try:
        data = json.loads(file.read_bytes())
        entries = data if isinstance(data, list) else [data]
        return [
            Record.from_json(entry)
            for entry in entries
            if not (isinstance(entry, dict) and "npu" in entry)
        ]
    except OSError as error:
        raise CalibrationError(f"{file} cannot be read ({error.strerror}).") from error
    except (ValueError, RecordError) as error:
        raise CalibrationError(
            f"{file} holds no records ({error}); give what edgekit profile --json prints, and name "
            "the models before --from."
        ) from error


def _machine(board: Board, options: argparse.Namespace) -> Machine:
    with Connection(board) as connection:
        told = connection.welcome
    check_agent(board, told, options.runtime)
    if told.machine.emulator is not None:
        raise emulated_board(told.machine)
    return told.machine


def _base(board: Board, options: argparse.Namespace, machine: Machine) -> BoardProfile:
    """The profile to start from: the named one, the board's own, or the one it is known by."""
    named = with_own_profile(board, ProfileSettings(profile=options.profile)).profile
    if named is not None:
        profile = load_profile(named)
        if profile.architecture != machine.architecture:
            raise CalibrationError(
                f"The board profile {profile.name} is of an {profile.architecture} board, "
                f"{machine.model} is {machine.architecture}; start from another with --profile."
            )
        return profile
    if machine.board is None:
        raise CalibrationError(
            f"{board} ({machine.model}) has no board profile to start from: name one with "
            "--profile, such as a TOML file with its cores, clock, cache and bandwidth."
        )
    profile = load_profile(machine.board)
    # The nearest profile stands for a board that none is of.
    return profile if recognise(machine.model) is not None else widened(profile)


def _measure(
    board: Board,
    files: Sequence[Path],
    options: argparse.Namespace,
    cores: int,
    progress: Listener,
) -> list[Record]:
    from edgekit.cli.commands import profiling_settings

    most = cores if options.threads is None else options.threads
    settings = profiling_settings(argparse.Namespace(**{**vars(options), "threads": most}))
    records = []
    for threads in range(1, most + 1):
        progress(Step("calibrate", (threads - 1) / most, f"{threads} of {most} threads"))
        settings = replace(settings, threads=threads)
        records += [
            Record.from_json(record) for record in profile_on(board, files, settings, progress)
        ]
    return records


def _keep(profile: BoardProfile, board: Board) -> Path:
    file = profile_file(board)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, profile_toml(profile))
    except OSError as error:
        raise CalibrationError(
            f"{file} cannot be written ({error.strerror}); make its folder writable."
        ) from error
    return file


def _facts(found: Calibration, base: BoardProfile, file: Path) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "profile": str(file),
        "base": base.name,
        "latency": _fit_facts(found.latency, found.latency_before),
        "power": _fit_facts(found.power, found.power_before),
        "notes": list(found.notes),
    }


def _fit_facts(fit: Any, before: Error | None) -> dict[str, Any] | None:
    if fit is None:
        return None
    return {**asdict(fit), "before": None if before is None else asdict(before)}


def _lines(found: Calibration, base: BoardProfile, board: Board, file: Path) -> list[str]:
    lines = []
    if found.latency is not None:
        fit = found.latency
        lines += [
            f"Latency: {fit.macs_factor:.3g} x MACs / peak + {fit.traffic_factor:.3g} x bytes / "
            f"bandwidth, from {fit.runs} runs of {fit.models} models",
            f"  error before ({base.name}): {_off(found.latency_before)}; after: {_off(fit.after)}"
            + (" (each model predicted by the others)" if fit.left_out else " (on the same runs)"),
            f"  interval: {fit.low:.2f} to {fit.high:.2f} times the estimate",
        ]
    if found.power is not None:
        power = found.power
        clock = "" if power.clock_hz is None else f" at {power.clock_hz / 1e6:,.0f} MHz"
        lines += [
            f"Power: {power.idle_w:.3g} W idle + utilisation x ({power.linear_w:.3g} W with the "
            f"clock + {power.cubic_w:.3g} W with its cube){clock}, from {power.windows} windows",
            f"  error before ({base.name}): {_off(found.power_before)}; after: {_off(power.after)}",
        ]
    lines += [f"Note: {note}." for note in found.notes]
    lines.append(f"Written: {file}")
    if isinstance(board, SshBoard) and board.name is not None:
        lines.append(f"Used from now on with --board {board.name}; elsewhere: --profile {file}")
    else:
        lines.append(f"Use it with --profile {file}")
    return lines


def _off(error: Error | None) -> str:
    if error is None:
        return "not known"
    return f"{error.mean * 100:.1f} % on average, {error.worst * 100:.1f} % at worst"
