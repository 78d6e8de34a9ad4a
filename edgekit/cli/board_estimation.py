"""`edgekit estimate --board`: what a file would cost on boards, by their profiles."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgekit.boards.estimating import BoardEstimate, estimate
from edgekit.errors import RunError
from edgekit.report.format import MISSING, bytes_text, count_text, interval_text, number_text
from edgekit_device.number import Number
from edgekit_device.profiles import load_profile

SCHEMA = "edgekit.board-estimate/1"

_PIPE_WIDTH = 120
_NUMBERS = ("latency_ms", "energy_j", "energy_above_idle_j")


def run(options: argparse.Namespace) -> int:
    """`edgekit estimate MODEL.tflite --board PROFILE…`."""
    for flag, given in (
        ("--out", options.out),
        ("--arithmetic", options.arithmetic),
        ("--multiplier-energy", options.multiplier_energy),
    ):
        if given:
            raise RunError(f"{flag} is for an NPU: name one with --npu instead of --board.")
    threads = 1 if options.threads is None else options.threads
    if threads < 1:
        raise RunError(f"--threads {threads}: give a whole number from 1 on.")
    file = Path(options.model)
    if not file.is_file():
        raise RunError(f"There is no file {file}; give a .tflite file.")
    profiles = [load_profile(named) for named in dict.fromkeys(options.board)]
    found = [estimate(file, profile, threads) for profile in profiles]
    if options.json:
        boards = [_json(one) for one in found]
        print(json.dumps({"schema": SCHEMA, "boards": boards}, indent=1))
    else:
        _print(found)
    return 0 if all(one.latency_ms.value is not None for one in found) else 1


def _json(one: BoardEstimate) -> dict[str, Any]:
    numbers = {name: getattr(one, name).to_json() for name in _NUMBERS}
    return {**asdict(one), **numbers}


def _print(found: list[BoardEstimate]) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(width=_PIPE_WIDTH, highlight=False)
    first = found[0]
    threads = "1 thread" if first.threads == 1 else f"{first.threads} threads"
    macs = "MACs not counted" if first.macs is None else f"{count_text(first.macs)} MACs"
    console.print(f"{first.model}: {macs}, {threads}", markup=False)
    table = Table(box=None, pad_edge=False)
    for heading in ("board", "beyond the cache", "time", "", "energy", "", "above idle", ""):
        left = heading in ("board", "")
        table.add_column(heading, justify="left" if left else "right", overflow="fold")
    reasons: dict[str, None] = {}
    for one in found:
        beyond = MISSING if one.dram_bytes is None else bytes_text(one.dram_bytes)
        cells = [beyond]
        for name in _NUMBERS:
            number: Number = getattr(one, name)
            column = name.replace("_above_idle", "")
            known = number.value is not None
            cells += [
                number_text(column, number),
                f"({interval_text(column, number)})" if known else "",
            ]
            reasons[f"{one.board}: {number.reason}"] = None
        table.add_row(Text(one.board), *cells)
    console.print(table)
    for reason in reasons:
        console.print(reason, markup=False, soft_wrap=True)
    console.print("Forms, coefficients and their errors: docs/board-estimates.md")
