"""What a power meter said about one model: energy windows, and the idle board around them."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit_device.number import Number


@dataclass(frozen=True)
class Window:
    """One stretch of back-to-back inferences that was metered: a model's share of a round.

    `cpu_utilisation` is that of the whole machine, 0..1, and `clock_hz` the mean of its cores'
    clock meanwhile; None where the machine does not tell. `samples` are readings of the meter,
    `longest_gap_s` the longest time between two of them.
    """

    seconds: float
    runs: int
    mean_w: float
    cpu_utilisation: float | None
    clock_hz: float | None
    samples: int
    longest_gap_s: float


@dataclass(frozen=True)
class Metered:
    """The energy windows of one model.

    `meter` says which meter, `scope` what it sees: the whole board, or a part such as the CPU
    package. `flags` say what makes the windows doubtful (drift, throttling), each a sentence.
    """

    meter: str
    scope: str
    idle_before_w: Number
    idle_after_w: Number
    sample_rate_hz: float
    jitter_s: float
    windows: tuple[Window, ...]
    flags: tuple[str, ...]
