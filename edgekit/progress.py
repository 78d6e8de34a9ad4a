"""What a long command tells while it works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One piece of news: what is being done, how far it is (0..1, None if open), a detail.

    `lane` names the board where several things go on side by side.
    """

    task: str
    fraction: float | None = None
    detail: str = ""
    lane: str = ""


Listener = Callable[[Step], None]


def silent(step: Step) -> None:
    """Listens to nothing."""


FOUND = "found"
"""The task of a step that tells what an earlier run left behind."""
