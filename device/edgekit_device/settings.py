"""What a profiling run is asked to do, checked once."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

from edgekit_device.errors import UsageError
from edgekit_device.meters.named import parse_meter

# Beyond them, a wait is longer than the system's clocks count, and a share of it no float.
_MOST_SECONDS, _MOST_TIMES = 10**7, 10**12

RUNTIME_CHOICES = ("auto", "litert", "tflite-runtime")


@dataclass(frozen=True)
class Plan:
    """How long and how often: at least `runs` inferences and at least `seconds`, over all rounds.

    `warmup` runs come first and are reported apart. A `sample_interval_s` of 0 switches the
    sampling of memory and CPU off, `idle_seconds` of 0 the idle baseline.
    """

    runs: int = 50
    seconds: float = 10.0
    warmup: int = 3
    rounds: int = 5
    sample_interval_s: float = 0.1
    idle_seconds: float = 2.0

    def __post_init__(self) -> None:
        """Refuse a plan that cannot be carried out."""
        for name, least in (("runs", 1), ("warmup", 0), ("rounds", 1)):
            _check(name, getattr(self, name), least, whole=True)
        for name in ("seconds", "sample_interval_s", "idle_seconds"):
            _check(name, getattr(self, name), 0, whole=False)

    @property
    def runs_per_round(self) -> int:
        """The least number of runs in one round's share, at least one."""
        return math.ceil(self.runs / self.rounds)

    @property
    def seconds_per_round(self) -> float:
        """The least duration of one round's share."""
        return self.seconds / self.rounds


@dataclass(frozen=True)
class Settings(Plan):
    """A plan, the runtime and its threads, and where the energy comes from.

    `affinity` are the numbers of the cores that the model is kept on; None: any. `meter` is
    "auto" (a power meter if there is one, else the board profile's power model), "model" (the power
    model) or a meter's name. `duration_s` asks for a sustained run: each model runs that long, one
    after another, instead of the plan's runs and seconds in rounds; None: by the plan.

    `profile` is the name of a shipped board profile or the path of a TOML file; None recognises
    the board. `timeout_s` is how long one answer of the child process may take at least before
    it counts as hung (20 times the expected duration, if that is longer).
    """

    runtime: str = "auto"
    threads: int = 1
    affinity: tuple[int, ...] | None = None
    meter: str = "auto"
    duration_s: float | None = None
    profile: str | None = None
    timeout_s: float = 120.0

    def __post_init__(self) -> None:
        """Refuse settings that cannot be obeyed."""
        super().__post_init__()
        _check("threads", self.threads, 1, whole=True)
        _check("timeout_s", self.timeout_s, 0, whole=False)
        if self.duration_s is not None:
            _check("duration_s", self.duration_s, 1, whole=False)
        for core in self.affinity or ():
            _check("affinity", core, 0, whole=True)
        if self.affinity is not None and not self.affinity:
            raise UsageError("affinity: must be at least one core, or None for any. Received: ()")
        parse_meter(self.meter)
        check_runtime(self.runtime)

    @property
    def plan(self) -> Plan:
        """The part that belongs into a record; of a sustained run: one round of its duration."""
        plan = Plan(**{field.name: getattr(self, field.name) for field in fields(Plan)})
        if self.duration_s is None:
            return plan
        return replace(plan, runs=1, seconds=self.duration_s, rounds=1)


def check_runtime(name: str) -> None:
    """Raise UsageError for what names no runtime."""
    if name not in RUNTIME_CHOICES:
        choices = ", ".join(RUNTIME_CHOICES)
        raise UsageError(f"runtime: must be one of {choices}. Received: {name!r}")


def _check(name: str, value: object, least: int, *, whole: bool) -> None:
    kinds = int if whole else (int, float)
    right_type = isinstance(value, kinds) and not isinstance(value, bool)
    # A whole number may be too large to ask whether it is finite.
    finite = right_type and (whole or math.isfinite(value))  # type: ignore[arg-type]
    if not finite or value < least:  # type: ignore[operator]
        what = "a whole number" if whole else "a finite number"
        raise UsageError(f"{name}: must be {what} of at least {least}. Received: {value!r}")
    most = _MOST_TIMES if whole else _MOST_SECONDS
    if value > most:  # type: ignore[operator]
        raise UsageError(f"{name}: must be at most {most:,}. Received: {value!r}")
