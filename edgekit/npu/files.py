"""An estimate as JSON, as CSV, and as a folder with its pictures."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgekit.disk import storing, write_whole
from edgekit.npu.cost import MEMORIES, PARTS
from edgekit.npu.estimating import Estimate
from edgekit.npu.profile import NpuProfile
from edgekit_device.number import Number

SCHEMA = "edgekit.estimate/1"


def estimate_json(estimate: Estimate) -> dict[str, Any]:
    """All of an estimate; bytes are [read, written], what is not known is null or has a reason."""
    return {"schema": SCHEMA, **_plain(asdict(estimate, dict_factory=_numbers))}


def layers_csv(estimate: Estimate) -> str:
    """One line per operator; what is not estimated has its reason and no number."""
    out = io.StringIO(newline="")
    names = [
        *("node", "operator", "name", "unit", "dataflow", "mapping", "cores", "macs"),
        *("skipped_macs", "operations", "compute_cycles", "fill_cycles", "cycles"),
        *("utilisation", "bound_by"),
    ]
    header = [*names, "latency_ms", "latency_ms_low", "latency_ms_high"]
    header += ["energy_j", "energy_j_low", "energy_j_high", *(f"{part}_j" for part in PARTS)]
    header += [f"{memory}_{way}_bytes" for memory in MEMORIES for way in ("read", "written")]
    writer = csv.writer(out)
    writer.writerow([*header, "not_estimated"])
    lines: dict[int, list[object]] = {}
    for layer in estimate.layers:
        line: list[object] = [getattr(layer, name) for name in names]
        for number in (layer.latency_ms, layer.energy_j):
            line += [number.value, number.low, number.high]
        line += [layer.energy_parts_j[part] for part in PARTS]
        line += [value for memory in MEMORIES for value in layer.bytes.get(memory, (0.0, 0.0))]
        lines[layer.node] = [*line, ""]
    for left in estimate.not_estimated:
        blank = [""] * (len(header) - 3)
        lines[left.node] = [left.node, left.operator, left.name, *blank, left.reason]
    writer.writerows(lines[node] for node in sorted(lines))
    return out.getvalue()


def write_estimate(estimate: Estimate, profile: NpuProfile, folder: Path) -> tuple[Path, ...]:
    """Write estimate.json, layers.csv and the pictures; give their paths.

    Raises:
        DiskError: the folder cannot be written.
    """
    # matplotlib is waited for by those only who want its pictures.
    from edgekit.npu.plots import plots

    texts = {
        "estimate.json": json.dumps(estimate_json(estimate), indent=1) + "\n",
        "layers.csv": layers_csv(estimate),
        **{f"{name}.svg": text for name, text in plots(estimate, profile).items()},
    }
    with storing(folder, "the estimate"):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_whole(folder / name, text)
    return tuple(folder / name for name in texts)


def _numbers(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A Number's fields without those that are None, any other's as they are."""
    found = dict(pairs)
    if set(found) == {"how", "value", "low", "high", "reason"}:
        return Number(**found).to_json()
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
