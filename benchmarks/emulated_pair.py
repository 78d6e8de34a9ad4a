"""The LCRM paper's AlexNet pair on emulated boards: instructions, estimated latency and energy.

The paper measured 0.331 s against 0.123 s on a Raspberry Pi 4 (-62.84 %). Instructions say which
work is left, not how long it takes: kernels that wait for memory do so at few instructions.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import results
from alexnet_pair import export_pair

from edgekit.boards import ProfileSettings, parse_board, profile_on
from edgekit_device import Number, Record

PAPER_PERCENT = -62.84


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--board", nargs="+", default=["qemu:pi4"])
    options = parser.parse_args()
    table = [
        ["board", "scheme", "", "parent", "LCRM", "change %", "paper (Pi 4) %"],
    ]
    facts: dict[str, Any] = {"paper_percent": PAPER_PERCENT}
    with tempfile.TemporaryDirectory() as folder:
        files = export_pair(Path(folder))
        files = {name: file for name, file in files.items() if name.startswith(("parent", "lcrm"))}
        for board in options.board:
            # Counts repeat: more runs would say the same.
            settings = ProfileSettings(runs=1, rounds=1, warmup=1)
            told = profile_on(parse_board(board), list(files.values()), settings)
            records = {
                name: Record.from_json(record) for name, record in zip(files, told, strict=True)
            }
            facts[board] = dict(zip(files, told, strict=True))
            for scheme in ("float32", "int8"):
                pair = [records[f"{model}-{scheme}"] for model in ("parent", "lcrm")]
                table += [
                    [board, scheme, *compared("instructions", [r.instructions for r in pair], 1e6)],
                    [board, scheme, *compared("ms", [r.latency_ms.p50 for r in pair], 1.0)],
                    [board, scheme, *compared("mJ", [r.energy_j for r in pair], 1e-3)],
                ]
    results.write("emulated_pair", facts, table)


def compared(what: str, pair: list[Number], unit: float) -> list[str]:
    """Parent, LCRM, the change, and the paper's."""
    named = f"million {what}" if unit > 1 else f"{what}, {pair[0].how}"
    before, after = (number.value for number in pair)
    if before is None or after is None:
        return [what, "-", "-", "-", str(pair[0].reason or pair[1].reason)]
    paper = f"{PAPER_PERCENT}" if what == "ms" else "-"
    change = 100 * (after / before - 1)
    return [named, *(shown(number, unit) for number in pair), f"{change:.1f}", paper]


def shown(number: Number, unit: float) -> str:
    text = f"{(number.value or 0) / unit:.4g}"
    if number.low is None or number.high is None:
        return text
    return f"{text} ({number.low / unit:.3g} to {number.high / unit:.3g})"


if __name__ == "__main__":
    main()
