"""A board profile: what is published about a board, validated once when it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgekit_device.errors import BoardProfileError
from edgekit_device.table import Table

SCHEMA = "edgekit.board/1"


@dataclass(frozen=True)
class Power:
    """One power model of the whole board: watts at idle and with all cores busy.

    `laboratory` names whose it is, where one has published several; None: nobody else's.
    `clock_hz` is the clock that `full_load_w` holds at, None: the model knows no clock. Of what the
    load adds, `cubic_w` grows with the cube of the clock, the rest with the clock itself. `low` and
    `high` are the model's own error, as factors; None: it is not known.
    """

    idle_w: float
    full_load_w: float
    source: str
    laboratory: str | None = None
    clock_hz: float | None = None
    cubic_w: float = 0.0
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class LatencyModel:
    """How long an inference takes: docs/board-estimates.md.

    seconds = `macs_factor` MACs / (peak clock threads) + `traffic_factor` bytes / bandwidth. What
    is measured lies between `low` and `high` times that.
    """

    macs_factor: float
    traffic_factor: float
    low: float
    high: float
    source: str


@dataclass(frozen=True)
class Cpu:
    """The board's cores; peaks are multiply-accumulates per cycle of one core."""

    core: str
    peak_macs_per_cycle_fp32: float | None
    peak_macs_per_cycle_int8: float | None
    l2_bytes: float | None
    memory_bandwidth_bytes_per_s: tuple[float, ...]


@dataclass(frozen=True)
class BoardProfile:
    """What is published about a board; `memory_bytes` are the sizes that it is sold with.

    `sources` says for every number (`cpu.l2_bytes` is the key of a nested one) where it is from.
    """

    name: str
    description: str
    architecture: str
    device_tree_models: tuple[str, ...]
    cores: int
    clock_hz: float
    memory_bytes: tuple[float, ...]
    cpu: Cpu
    power: tuple[Power, ...]
    sources: Mapping[str, str]
    latency: LatencyModel | None = None


def parse_board(data: Mapping[str, Any], file: str) -> BoardProfile:
    """Build a profile from a parsed TOML file.

    Raises:
        BoardProfileError: names the file, the key, the value and the rule that it breaks.
    """
    table = Table(file, "", data, BoardProfileError)
    if table.take("schema") != SCHEMA:
        raise table.broken("schema", data.get("schema"), f"must be {SCHEMA!r}")
    cpu = table.table("cpu")
    profile = BoardProfile(
        name=table.text("name"),
        description=table.text("description"),
        architecture=table.text("architecture"),
        device_tree_models=table.texts("device_tree_models"),
        cores=table.whole("cores", 1, 1024),
        clock_hz=table.number("clock_hz", 1e6, 1e11),
        memory_bytes=table.numbers("memory_bytes", 1e6, 1e13),
        cpu=Cpu(
            core=cpu.text("core"),
            peak_macs_per_cycle_fp32=cpu.optional("peak_macs_per_cycle_fp32", 0.01, 1e4),
            peak_macs_per_cycle_int8=cpu.optional("peak_macs_per_cycle_int8", 0.01, 1e4),
            l2_bytes=cpu.optional("l2_bytes", 1e3, 1e9),
            memory_bandwidth_bytes_per_s=cpu.numbers("memory_bandwidth_bytes_per_s", 1e6, 1e13),
        ),
        power=tuple(_power(entry) for entry in table.tables("power")),
        sources=_sources(table.table("sources"), data),
        latency=_latency(table.table("latency")) if table.has("latency") else None,
    )
    cpu.nothing_left()
    table.nothing_left()
    return profile


def _power(entry: Table) -> Power:
    idle_w = entry.number("idle_w", 0, 1e4)
    full_load_w = entry.number("full_load_w", idle_w, 1e4)
    clock_hz = entry.optional("clock_hz", 1e6, 1e11)
    # Without a clock, nothing can grow with it.
    most_cubic_w = 0 if clock_hz is None else full_load_w - idle_w
    power = Power(
        idle_w=idle_w,
        full_load_w=full_load_w,
        source=entry.text("source"),
        laboratory=entry.optional_text("laboratory"),
        clock_hz=clock_hz,
        cubic_w=entry.optional("cubic_w", 0, most_cubic_w) or 0.0,
        low=entry.optional("low", 0, 1),
        high=entry.optional("high", 1, 1e3),
    )
    entry.nothing_left()
    return power


def _latency(table: Table) -> LatencyModel:
    model = LatencyModel(
        macs_factor=table.number("macs_factor", 0, 1e6),
        traffic_factor=table.number("traffic_factor", 0, 1e6),
        low=table.number("low", 0, 1),
        high=table.number("high", 1, 1e3),
        source=table.text("source"),
    )
    table.nothing_left()
    return model


def _sources(table: Table, data: Mapping[str, Any]) -> dict[str, str]:
    """Require a source for every number of the profile, and for nothing else."""
    nested = {f"cpu.{key}": value for key, value in data["cpu"].items()}
    numbers = {
        key
        for key, value in {**data, **nested}.items()
        if not isinstance(value, str | dict) and key not in ("power", "device_tree_models")
    }
    sources = {key: table.text(key) for key in sorted(numbers)}
    table.nothing_left()
    return sources
