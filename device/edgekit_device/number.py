"""A number that says how it came about; what is not known is never 0."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal, get_args

from edgekit_device.errors import RecordError

How = Literal["measured", "emulated", "estimated", "counted", "unavailable"]


@dataclass(frozen=True)
class Number:
    """A finite value, with an interval where there is one, or the reason why there is none.

    Build it with the constructors below; the unit stands in the name of the field that holds it.
    """

    how: How
    value: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str | None = None

    def __post_init__(self) -> None:
        """Refuse what would let an unknown or impossible number pass for a known one."""
        broken = _broken_rule(self)
        if broken is not None:
            raise RecordError(f"Number: {broken}. Received: {self!r}")

    @classmethod
    def measured(
        cls,
        value: float,
        low: float | None = None,
        high: float | None = None,
        reason: str | None = None,
    ) -> Number:
        """Read from a clock, a counter or a sensor; `reason` says what a reader has to know."""
        return cls("measured", value, low, high, reason)

    @classmethod
    def counted(cls, value: float) -> Number:
        """Counted exactly, such as MACs or bytes."""
        return cls("counted", value)

    @classmethod
    def emulated(cls, value: float) -> Number:
        """Measured on an emulated board, whose time is not the real board's."""
        return cls("emulated", value)

    @classmethod
    def estimated(cls, value: float, low: float, high: float, reason: str | None = None) -> Number:
        """Computed from a model of the machine; without an interval it would look measured."""
        return cls("estimated", value, low, high, reason)

    @classmethod
    def unavailable(cls, reason: str) -> Number:
        """Not known, and why."""
        return cls("unavailable", reason=reason)

    def to_json(self) -> dict[str, str | float]:
        """Give the JSON object, without the fields that are None."""
        pairs = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in pairs if value is not None}

    @classmethod
    def from_json(cls, data: object) -> Number:
        """Read what `to_json` gave; raise RecordError for anything else."""
        if not isinstance(data, dict):
            raise RecordError(f"Number: a JSON object is needed. Received: {data!r}")
        known = {field.name for field in fields(cls)}
        if not data.keys() <= known or "how" not in data:
            raise RecordError(f"Number: 'how' is needed, of {sorted(known)}. Received: {data!r}")
        if not isinstance(data.get("reason", ""), str):
            raise RecordError(f"Number: reason must be text. Received: {data!r}")
        return cls(**data)


def _broken_rule(number: Number) -> str | None:
    if number.how not in get_args(How):
        return f"how must be one of {', '.join(get_args(How))}"
    given = [part for part in (number.value, number.low, number.high) if part is not None]
    if number.how == "unavailable":
        right = number.reason and not given
        return None if right else "an unavailable number needs a reason and no value"
    if any(isinstance(part, bool) or not isinstance(part, int | float) for part in given):
        return "value, low and high must be numbers"
    if not all(math.isfinite(part) for part in given):
        return "value, low and high must be finite; an unknown number is unavailable with a reason"
    if number.value is None:
        return "a value is needed; an unknown number is unavailable with a reason"
    if (number.low is None) != (number.high is None):
        return "low and high belong together"
    if number.low is None or number.high is None:
        return "an estimate needs an interval" if number.how == "estimated" else None
    if not number.low <= number.value <= number.high:
        return "low <= value <= high must hold"
    return None
