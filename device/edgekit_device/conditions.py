"""Under which conditions a model ran: temperature, throttling, clock and governor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Moment:
    """The board at one moment, `t_s` seconds after the first round began; None: it does not tell.

    `throttled` names what holds the clock down at this moment, such as "under-voltage".
    """

    t_s: float
    temperature_c: float | None
    clock_hz: float | None
    governor: str | None
    throttled: tuple[str, ...] | None


@dataclass(frozen=True)
class Conditions:
    """Moments before, during and after a model's runs; `throttled` says whether any slowed it."""

    throttled: Literal["no", "yes", "unknown"]
    reason: str | None
    moments: tuple[Moment, ...]
