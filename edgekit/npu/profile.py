"""An NPU profile: what is known or assumed about an accelerator, validated when it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from edgekit.npu.precision import Precision, read_precision
from edgekit_device.errors import NpuProfileError
from edgekit_device.npus import npu_data
from edgekit_device.table import Table

SCHEMA = "edgekit.npu/1"
DATAFLOWS = ("WS", "OS", "IS", "RS")
_SKIPPING = ("none", "gate", "skip")
_SCALING = ("none", "serial")
_ENERGY_J = (0.0, 1e-6)


@dataclass(frozen=True)
class Memory:
    """One memory; energies are per byte moved, `bytes` is None where it has no end that matters.

    `bandwidth_bytes_per_s` is that of the one instance: a buffer's is that of one core. Each
    transfer of a tile takes `latency_s` besides (DRAM and shared memory only).
    """

    bytes: int | None
    bandwidth_bytes_per_s: float | None
    read_j_per_byte: float
    write_j_per_byte: float
    latency_s: float = 0.0


@dataclass(frozen=True)
class Array:
    """The processing elements (PEs) of one core: one multiply-accumulate a cycle each.

    `multiply_j` and `add_j` are those of one operation at the native bit widths. With
    `zero_skipping` "gate" a skipped product saves energy, with "skip" it saves `skip_efficiency`
    of its cycle too. With `bit_scaling` "serial" a product of activations of b bits takes
    b / `activation_bits` of a cycle. `network_j_per_byte` is spent on the way from the buffer.
    """

    rows: int
    columns: int
    dataflows: tuple[str, ...]
    weight_bits: int
    activation_bits: int
    accumulator_bits: int
    zero_skipping: str
    skip_efficiency: float
    bit_scaling: str
    multiply_j: float
    add_j: float
    network_j_per_byte: float
    operators: tuple[str, ...]

    @property
    def elements(self) -> int:
        """How many PEs a core has."""
        return self.rows * self.columns


@dataclass(frozen=True)
class Vector:
    """The unit of one core for what is no matrix product; `operation_j` is one operation's."""

    operations_per_cycle: int
    multiply_accumulates: bool
    operation_j: float
    operators: tuple[str, ...]


@dataclass(frozen=True)
class Registers:
    """The memories of one PE, by what they hold."""

    weights: Memory
    inputs: Memory
    outputs: Memory


@dataclass(frozen=True)
class ErrorRatios:
    """Between which factors of the model's value the truth is expected (see validation)."""

    latency: tuple[float, float]
    energy: tuple[float, float]


@dataclass(frozen=True)
class NpuProfile:
    """An accelerator: `cores` arrays with a buffer each, a shared memory or none, a DRAM.

    `keeps_weights`: weights that fit stay in the shared memory from one inference to the next.
    `precision` is the [arithmetic] table's, at the array's own widths where that says none.
    `multipliers` are energies of approximate multipliers relative to the exact one, by name.
    `sources` says where every number is from; a key may stand for all numbers of its table.
    """

    name: str
    description: str
    cores: int
    clock_hz: float
    static_w: float
    array: Array
    vector: Vector | None
    registers: Registers
    buffer: Memory
    double_buffered: bool
    shared: Memory | None
    keeps_weights: bool
    dram: Memory
    multipliers: Mapping[str, float]
    error: ErrorRatios
    precision: Precision
    sources: Mapping[str, str]

    @property
    def peak_macs_per_s(self) -> float:
        """Multiply-accumulates per second with every PE busy."""
        return self.cores * self.array.elements * self.clock_hz


def load_npu(named: str) -> NpuProfile:
    """Load a shipped profile by its name, or one from a `.toml` file.

    Raises:
        NpuProfileError: there is no such profile or file, or it breaks a rule of the schema.
    """
    data, file = npu_data(named)
    return parse_npu(data, file)


def parse_npu(data: Mapping[str, Any], file: str) -> NpuProfile:
    """Build a profile from a parsed TOML file.

    Raises:
        NpuProfileError: names the file, the key, the value and the rule that it breaks.
    """
    table = Table(file, "", data, NpuProfileError)
    if table.take("schema") != SCHEMA:
        raise table.broken("schema", data.get("schema"), f"must be {SCHEMA!r}")
    registers, error = table.table("registers"), table.table("error")
    shared = table.table("shared") if table.has("shared") else None
    buffer, array = table.table("buffer"), _array(table.table("array"))
    native = Precision(array.weight_bits, array.activation_bits, array.accumulator_bits)
    profile = NpuProfile(
        name=table.text("name"),
        description=table.text("description"),
        cores=table.whole("cores", 1, 64),
        clock_hz=table.number("clock_hz", 1e6, 1e11),
        static_w=table.number("static_w", 0, 1e4),
        array=array,
        vector=_vector(table.table("vector")) if table.has("vector") else None,
        registers=Registers(
            weights=_closed(registers.table("weights"), least=1),
            inputs=_closed(registers.table("inputs"), least=1),
            outputs=_closed(registers.table("outputs"), least=1),
        ),
        double_buffered=buffer.flag("double_buffered"),
        buffer=_closed(buffer, least=256),
        keeps_weights=shared is not None and shared.flag("keeps_weights"),
        shared=None if shared is None else _closed(shared, least=256, outside=True),
        dram=_closed(table.table("dram"), least=None, outside=True),
        multipliers=_multipliers(table),
        error=ErrorRatios(_ratios(error, "latency"), _ratios(error, "energy")),
        precision=read_precision(
            table.table("arithmetic") if table.has("arithmetic") else None, native
        ),
        sources=_sources(table.table("sources"), data),
    )
    registers.nothing_left()
    error.nothing_left()
    table.nothing_left()
    return profile


def _array(table: Table) -> Array:
    flows = table.texts("dataflows")
    if not flows or not set(flows) <= set(DATAFLOWS) or len(set(flows)) != len(flows):
        raise table.broken("dataflows", list(flows), f"must be some of {', '.join(DATAFLOWS)}")
    if "RS" in flows and len(flows) > 1:
        raise table.broken("dataflows", list(flows), "RS (row stationary) must stand alone")
    skipping = table.choice("zero_skipping", _SKIPPING)
    array = Array(
        rows=table.whole("rows", 1, 4096),
        columns=table.whole("columns", 1, 4096),
        dataflows=flows,
        weight_bits=table.whole("weight_bits", 1, 32),
        activation_bits=table.whole("activation_bits", 1, 32),
        accumulator_bits=table.whole("accumulator_bits", 8, 64),
        zero_skipping=skipping,
        skip_efficiency=table.number("skip_efficiency", 0, 1) if skipping == "skip" else 0.0,
        bit_scaling=table.choice("bit_scaling", _SCALING),
        multiply_j=table.number("multiply_j", *_ENERGY_J),
        add_j=table.number("add_j", *_ENERGY_J),
        network_j_per_byte=table.number("network_j_per_byte", *_ENERGY_J),
        operators=table.texts("operators"),
    )
    table.nothing_left()
    return array


def _vector(table: Table) -> Vector:
    vector = Vector(
        operations_per_cycle=table.whole("operations_per_cycle", 1, 65536),
        multiply_accumulates=table.flag("multiply_accumulates"),
        operation_j=table.number("operation_j", *_ENERGY_J),
        operators=table.texts("operators"),
    )
    table.nothing_left()
    return vector


def _closed(table: Table, *, least: int | None, outside: bool = False) -> Memory:
    memory = Memory(
        bytes=None if least is None else table.whole("bytes", least, 10**12),
        bandwidth_bytes_per_s=table.optional("bandwidth_bytes_per_s", 1e3, 1e16),
        read_j_per_byte=table.number("read_j_per_byte", *_ENERGY_J),
        write_j_per_byte=table.number("write_j_per_byte", *_ENERGY_J),
        latency_s=(table.optional("latency_s", 0, 1) or 0.0) if outside else 0.0,
    )
    table.nothing_left()
    return memory


def _multipliers(table: Table) -> dict[str, float]:
    if not table.has("multipliers"):
        return {}
    entries = table.table("multipliers")
    found = {name: entries.number(name, 0, 100) for name in entries.keys_left()}
    entries.nothing_left()
    return found


def _ratios(table: Table, key: Literal["latency", "energy"]) -> tuple[float, float]:
    ratios = table.numbers(key, 0.001, 1000)
    if len(ratios) != 2 or not ratios[0] <= 1 <= ratios[1]:
        raise table.broken(key, list(ratios), "must be two factors, one up to and one from 1")
    return ratios[0], ratios[1]


def _sources(table: Table, data: Mapping[str, Any]) -> dict[str, str]:
    """Require a source for every number, under its own key or that of a table it stands in."""
    needed = _numbers("", data)
    given = {key: table.text(key) for key in table.keys_left()}
    used = set()
    for key in needed:
        owners = [key, *_tables_of(key)]
        found = [owner for owner in owners if owner in given]
        if not found:
            raise table.broken(key, None, "is missing: say where the number is from")
        used.update(found[:1])
    for key in given.keys() - used:
        raise table.broken(key, given[key], "is not the key of a number or of a table of numbers")
    return given


def _numbers(prefix: str, data: Mapping[str, Any]) -> list[str]:
    """The dotted key of every number; the arithmetic is a choice, of which there is no source."""
    found = []
    for key, value in data.items():
        if isinstance(value, Mapping):
            if prefix or key not in ("arithmetic", "sources"):
                found += _numbers(f"{prefix}{key}.", value)
        elif isinstance(value, list):
            found += [f"{prefix}{key}"] if value and not isinstance(value[0], str) else []
        elif not isinstance(value, str | bool):
            found.append(f"{prefix}{key}")
    return found


def _tables_of(key: str) -> list[str]:
    parts = key.split(".")
    return [".".join(parts[:end]) for end in range(len(parts) - 1, 0, -1)]
