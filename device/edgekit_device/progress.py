"""What a run tells while it runs: events, for a person or for a program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Event:
    """One step: `model` is the file's name, `round` counts from 1; None where it has no meaning.

    Of `emulate` the rounds are inferences.
    """

    event: Literal[
        "waiting",
        "meter",
        "idle",
        "load",
        "golden",
        "warm-up",
        "round",
        "emulate",
        "error",
        "done",
    ]
    model: str | None = None
    round: int | None = None
    rounds: int | None = None
    message: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Give the event without the fields that have no meaning for it."""
        return {key: value for key, value in vars(self).items() if value is not None}

    def __str__(self) -> str:
        """Give one line for a person."""
        name = "inference" if self.event == "emulate" else "round"
        what = self.event if self.round is None else f"{name} {self.round} of {self.rounds}"
        line = what if self.model is None else f"{self.model}: {what}"
        return line if self.message is None else f"{line}: {self.message}"


Progress = Callable[[Event], None]


def silent(event: Event) -> None:
    """Tell nobody."""
