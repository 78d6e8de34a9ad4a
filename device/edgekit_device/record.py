"""The record: what one profiling run of one model measured, as a versioned JSON document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from edgekit_device.codec import decode, encode
from edgekit_device.conditions import Conditions
from edgekit_device.errors import RecordError, UsageError
from edgekit_device.latency import Latency
from edgekit_device.metered import Metered
from edgekit_device.number import Number
from edgekit_device.settings import Plan

SCHEMA = "edgekit.record/2"


@dataclass(frozen=True)
class Agent:
    """Which agent wrote the record."""

    version: str
    python: str


@dataclass(frozen=True)
class Machine:
    """Where the model ran; `board` is the name of the board profile that was applied.

    `emulator` says what emulates the machine; None: it is a real one.
    """

    board: str | None
    model: str
    architecture: str
    cores: int
    memory_bytes: int
    os: str
    kernel: str
    cpu_frequency_hz: Number
    emulator: str | None = None


@dataclass(frozen=True)
class Runtime:
    """The TFLite runtime that ran the model."""

    name: str
    version: str


@dataclass(frozen=True)
class Model:
    """The file, by its name alone; size and hash are None where it could not be read."""

    file: str
    sha256: str | None
    bytes: int | None


@dataclass(frozen=True)
class Failure:
    """Why there are no numbers: a word for programs and a paragraph for people."""

    kind: str
    message: str


@dataclass(frozen=True)
class Golden:
    """Whether the runtime gave the answers that the exporter stored beside the model.

    Error and tolerance are those of the output that came closest to its tolerance or went
    furthest beyond it, in real units, for a quantised output in quantisation steps.
    """

    status: Literal["passed", "failed", "absent"]
    largest_error: float | None = None
    tolerance: float | None = None
    samples: int | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Idle:
    """The machine before the first model was loaded: CPU utilisation 0..1 of all cores."""

    cpu_utilisation: Number
    seconds: float


@dataclass(frozen=True)
class Sample:
    """The child process at one moment, in seconds after the start of the first round."""

    t_s: float
    cpu_cores: float
    rss_bytes: int


@dataclass(frozen=True)
class Record:
    """What one profiling run measured.

    `batch` is the number of samples in one inference: the first dimension of the first input; None
    if the file could not be loaded. Latency, throughput and energy are those of one inference
    (invoke), that is of the whole batch: a sample's throughput is `batch` times that of the record.

    `cpu_cores` is CPU time over wall time of the process that runs the model, `cpu_utilisation`
    the same as a share (0..1) of the whole machine, and `machine_cpu_utilisation` what all
    processes together used meanwhile. `energy_j` is the whole board's during one inference (or, of
    a meter, of what its scope is), idle power included; `energy_above_idle_j` is what the model
    adds to idle: of a meter its power less the idle board's, else what its own CPU share adds.
    `baseline_rss_bytes` is the process with the runtime imported, before the model is loaded;
    `peak_rss_bytes` its high-water mark. `throughput_per_s` is inferences (not samples) per second
    of the time inside inferences. `instructions` are those of one inference, counted by an emulated
    board: the least of its runs. `affinity` are the cores that the model was kept on, None: any.
    `round_medians_ms` of a sustained run are those of its fifths.
    """

    created: str
    agent: Agent
    machine: Machine
    runtime: Runtime
    threads: int
    affinity: tuple[int, ...] | None
    model: Model
    batch: int | None
    status: Literal["ok", "error"]
    error: Failure | None
    golden: Golden
    settings: Plan
    idle: Idle
    load_ms: Number
    warmup_ms: tuple[float, ...]
    runs: int
    latency_ms: Latency
    throughput_per_s: Number
    cpu_utilisation: Number
    cpu_cores: Number
    machine_cpu_utilisation: Number
    peak_rss_bytes: Number
    baseline_rss_bytes: Number
    energy_j: Number
    energy_above_idle_j: Number
    instructions: Number
    metered: Metered | None
    conditions: Conditions
    samples: tuple[Sample, ...]
    round_medians_ms: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Give plain JSON data that begins with the schema."""
        return {"schema": SCHEMA, **encode(self)}

    @classmethod
    def from_json(cls, data: object) -> Record:
        """Read what `to_json` gave.

        Raises:
            RecordError: another schema, or a key or value that does not fit this one.
        """
        if not isinstance(data, dict):
            raise RecordError(f"record: a JSON object is needed. Received: {type(data).__name__}")
        if data.get("schema") != SCHEMA:
            raise RecordError(
                f"record: the schema must be {SCHEMA!r}. Received: {data.get('schema')!r}. "
                "Read it with the EdgeKit version that wrote it, or profile the model again."
            )
        try:
            return decode(cls, {key: data[key] for key in data if key != "schema"}, "record")
        except UsageError as error:
            raise RecordError(f"record.settings: {error}") from error
