"""What agent and child process say to each other: one JSON object a line, one answer per ask."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit_device.tally import Tally


@dataclass(frozen=True)
class Imported:
    """Answer to `import`: the memory of the process before any model is loaded."""

    baseline_rss_bytes: int


@dataclass(frozen=True)
class Loaded:
    """Answer to `load`: the duration, the tensors' names in the file's order, the batch size."""

    load_ms: float
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    batch: int


@dataclass(frozen=True)
class Difference:
    """How far one output is from the golden one; None and a reason where no number can say it."""

    output: str
    largest: float | None
    reason: str | None


@dataclass(frozen=True)
class Compared:
    """Answer to `golden`: one difference per output, for one sample."""

    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Ready:
    """Answer to `inputs`: they are set; which ones, for people."""

    inputs: str


@dataclass(frozen=True)
class WarmedUp:
    """Answer to `warm-up`: the latencies in the order of the runs."""

    latencies_ns: tuple[int, ...]


@dataclass(frozen=True)
class Share:
    """A stretch of inferences: latencies, CPU and wall time of the whole of it, peak memory so far.

    `begin_s` is when it began on `time.monotonic()`, which all processes of a machine share.
    """

    tally: Tally
    cpu_ns: int
    wall_ns: int
    peak_rss_bytes: int
    begin_s: float


@dataclass(frozen=True)
class Shares:
    """Answer to `run`: its parts, one directly after another."""

    parts: tuple[Share, ...]
