"""`edgekit boards`: boards made ready, named, looked at, calibrated, booted and ended."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from edgekit.boards.installing import greet, install
from edgekit.boards.named import boards, boards_file, check_name, forget, parse_board, remember
from edgekit.boards.probing import probe, suitable_python
from edgekit.boards.qemu import (
    KIND,
    QemuBoard,
    boards_up,
    is_up,
    qemu_board,
    take_down,
)
from edgekit.boards.qemu.raising import raise_board
from edgekit.boards.ssh import AGENT_PYTHON, SshBoard, ssh_board
from edgekit.cli.live import live
from edgekit.errors import BoardError
from edgekit_device.messages import Welcome

_LEAST_BYTES = 50 * 10**6


def run(options: argparse.Namespace) -> int:
    """`edgekit boards`."""
    return _COMMANDS[options.action](options)


def _add(options: argparse.Namespace) -> int:
    check_name(options.name)
    board = ssh_board(options.url, options.name, options.python or AGENT_PYTHON)
    with live() as progress:
        if options.python:
            progress.note(f"asking the agent on {board}")
            told = greet(board)
        else:
            told = install(board, progress, offline=options.offline)
    board = remember(board, options.name)
    if options.json:
        print(json.dumps(_facts(board, told), indent=1))
    else:
        print(f"{options.name}: {_text(told, board.profile)}")
        print(f"Use it with --board {options.name}.")
    return 0


def _list(options: argparse.Namespace) -> int:
    found, up = boards(), [f"{KIND}:{name}" for name in boards_up()]
    urls = {**{name: board.url for name, board in found.items()}, **dict.fromkeys(up, "emulated")}
    if options.json:
        print(json.dumps(urls, indent=1))
        return 0
    width = max([len(name) for name in ("local", *urls)])
    print(f"{'local':{width}}  this machine")
    for name, url in urls.items():
        profile = found[name].profile if name in found else None
        own = "" if profile is None else f"  (profile {profile})"
        print(f"{name:{width}}  {url}{', up' if name in up else ''}{own}")
    if not found:
        print(f"No others yet ({boards_file()}): edgekit boards add NAME ssh://user@host")
    return 0


def _check(options: argparse.Namespace) -> int:
    board = parse_board(options.name)
    if isinstance(board, QemuBoard):
        return _check_emulated(board, options)
    if not isinstance(board, SshBoard):
        raise BoardError(
            f"{options.name!r} is neither behind ssh nor emulated; edgekit-agent info tells of it."
        )
    told, problem = None, None
    held: tuple[str, ...] = ()
    with live() as progress:
        progress.note(f"looking at {board}")
        try:
            machine = probe(board)
            held = machine.throttled
            if board.python == AGENT_PYTHON:
                suitable_python(machine, str(board))
            told = greet(board)
            _check_place(told, board)
        except BoardError as error:
            told, problem = None, str(error)
    if options.json:
        facts: dict[str, Any] = {} if told is None else _facts(board, told)
        found = {"board": board.url, "problem": problem, "throttled": held, **facts}
        print(json.dumps(found, indent=1))
    else:
        print(f"{board}: {problem if told is None else f'ready. {_text(told, board.profile)}'}")
        if held:
            print(f"{board} is throttled now: {throttled_text(held)}")
    return 0 if told is not None else 1


def _check_emulated(board: QemuBoard, options: argparse.Namespace) -> int:
    told, problem = None, None
    with live() as progress:
        try:
            told = greet(board, progress)
        except BoardError as error:
            problem = str(error)
    if options.json:
        facts: dict[str, Any] = {} if told is None else _facts(board, told)
        up = is_up(board.machine.name)
        print(json.dumps({"board": str(board), "problem": problem, "up": up, **facts}, indent=1))
    else:
        print(f"{board}: {problem if told is None else f'ready. {_text(told)}'}")
    return 0 if told is not None else 1


def _up(options: argparse.Namespace) -> int:
    board = qemu_board(options.name)
    with live() as progress:
        told, booted = raise_board(board, progress)
    if options.json:
        print(json.dumps({"booted": booted, **_facts(board, told)}, indent=1))
    else:
        print(f"{board}: {'up' if booted else 'up already'}. {_text(told)}")
        print(f"Use it with --board {board}; end it with edgekit boards down {board}.")
    return 0


def _down(options: argparse.Namespace) -> int:
    board = qemu_board(options.name)
    was_up = take_down(board.machine.name)
    if options.json:
        print(json.dumps({"board": str(board), "was_up": was_up}))
    else:
        print(f"{board} {'is down' if was_up else 'was not up'}.")
    return 0


def _remove(options: argparse.Namespace) -> int:
    board = forget(options.name)
    print(f"{options.name} ({board.url}) is forgotten; the agent there stays.")
    return 0


def _calibrate(options: argparse.Namespace) -> int:
    from edgekit.cli.calibration import run as calibrate

    return calibrate(options)


def throttled_text(held: Sequence[str]) -> str:
    """What holds a Raspberry Pi's clock down, what that does, and what helps."""
    helps = [
        *(("a stronger power supply or a shorter cable",) if held[0] == "under-voltage" else ()),
        *(("cooling",) if "soft temperature limit" in held or "throttled" in held else ()),
    ]
    way_out = f" It needs {' and '.join(helps)}." if helps else ""
    return f"{', '.join(held)}. What is measured there is a slower board.{way_out}"


def _check_place(told: Welcome, board: SshBoard) -> None:
    if told.free_bytes < _LEAST_BYTES:
        raise BoardError(
            f"The disk of {board} is full: {told.free_bytes / 1e6:.0f} MB are left for models."
        )


def _facts(board: SshBoard | QemuBoard, told: Welcome) -> dict[str, Any]:
    return {
        "board": board.url if isinstance(board, SshBoard) else str(board),
        "host": told.host,
        "agent": asdict(told.agent),
        "machine": {
            "board": told.machine.board,
            "model": told.machine.model,
            "architecture": told.machine.architecture,
            "cores": told.machine.cores,
            "memory_bytes": told.machine.memory_bytes,
            "os": told.machine.os,
            "emulator": told.machine.emulator,
        },
        "runtimes": [asdict(item) for item in told.runtimes],
        "free_bytes": told.free_bytes,
    }


def _text(told: Welcome, own: str | None = None) -> str:
    """The board in a sentence; `own` is the profile that is remembered for it."""
    names = [f"{item.runtime.name} {item.runtime.version}" for item in told.runtimes]
    machine, profile = told.machine, own or told.machine.board
    parts = [
        machine.model + (f" by {machine.emulator}" if machine.emulator else ""),
        f"{machine.cores} cores ({machine.architecture}), {machine.memory_bytes / 1e9:.1f} GB",
        machine.os,
        f"agent {told.agent.version} under Python {told.agent.python} with {', '.join(names)}",
        f"{told.free_bytes / 1e9:.1f} GB free",
        f"board profile {profile}" if profile else "no board profile",
    ]
    return "; ".join(parts) + "."


_COMMANDS = {
    "add": _add,
    "calibrate": _calibrate,
    "check": _check,
    "down": _down,
    "list": _list,
    "remove": _remove,
    "up": _up,
}
