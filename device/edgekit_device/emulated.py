"""A machine that is emulated: what it says of itself, and what can be asked of it.

Its clock is a count of instructions, one a nanosecond, while it works. So its time is nobody's time
and is never given as such; what it counts repeats within a few parts in ten thousand.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from edgekit_device.errors import BoardProfileError, UsageError
from edgekit_device.number import Number
from edgekit_device.record import Idle
from edgekit_device.settings import Settings

DESCRIPTION = Path("etc/edgekit-board.json")
"""Where, below the root, an emulated board says what it is."""

NO_TIME = (
    "the clock of an emulated board counts instructions, it does not tell time; edgekit estimates "
    "it from the board's profile"
)
"""Why numbers that a clock would give are unavailable on an emulated board."""

NOT_WATCHED = Idle(Number.unavailable("an emulated board is not watched before its runs"), 0)
"""What is said of an emulated board before the first model."""

_MOST_RUNS = 5
_KEYS = {"profile", "model", "emulator"}


@dataclass(frozen=True)
class Emulated:
    """The board profile that is emulated, what people call the board, and what emulates it."""

    profile: str
    model: str
    emulator: str


def read_emulated(root: Path) -> Emulated | None:
    """Read what an emulated board says of itself; None on a real one.

    Raises:
        BoardProfileError: it says it in another form.
    """
    file = root / DESCRIPTION
    try:
        told = json.loads(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BoardProfileError(f"{file}: it cannot be read: {error}") from error
    texts = isinstance(told, dict) and all(isinstance(value, str) for value in told.values())
    if not isinstance(told, dict) or not texts or told.keys() != _KEYS:
        raise BoardProfileError(
            f"{file}: it needs the texts {', '.join(sorted(_KEYS))}. Found: {told!r}"
        )
    return Emulated(**told)


def emulated_settings(settings: Settings) -> Settings:
    """Give what is carried out on an emulated board: few runs, and nothing that takes time.

    More runs would say the same again, and a second there takes several here. One round: nothing
    drifts, and between rounds the agent works on another core, which the first run would count.

    Raises:
        UsageError: more than one thread, whose waiting for each other would count as work.
    """
    if settings.threads != 1:
        raise UsageError(
            "threads: must be 1 on an emulated board, where cores take turns: threads that wait "
            "for each other would count as work. "
            f"Received: {settings.threads}. Give --threads 1, or measure on a real board"
        )
    return replace(
        settings,
        runs=min(settings.runs, _MOST_RUNS),
        rounds=1,
        seconds=0.0,
        duration_s=None,
        idle_seconds=0.0,
        sample_interval_s=0.0,
    )
