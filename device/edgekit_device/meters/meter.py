"""What every power meter is to the rest of the agent: something that gives readings with times."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from edgekit_device.errors import MeterError

WIRED_INTO = "the supply that the meter is wired into"
"""The scope of a meter whose wiring is not known to the agent."""

# A sensor on a bus may fail to answer now and then; one that fails this often in a row is gone.
_MOST_FAILURES = 10


class Reading(NamedTuple):
    """`time.monotonic()` seconds, and watts or, of a meter that counts, joules so far."""

    t_s: float
    value: float


class Meter(Protocol):
    """A power meter that is open; units are converted where it reads, once.

    `name` says which one, `scope` what it sees; `counts` says that its values are joules so far.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def scope(self) -> str: ...  # noqa: D102
    @property
    def counts(self) -> bool: ...  # noqa: D102

    def read(self) -> list[Reading]:
        """Wait a fraction of a second at most, and give the readings that came.

        Raises:
            MeterError: the meter gives no more readings.
        """

    def shift_s(self) -> float:
        """Give the seconds to add to all times read so far, as far as known by now."""

    def remarks(self) -> tuple[str, ...]:
        """Give sentences about the readings so far that a reader of the numbers has to know."""

    def close(self) -> None:
        """Let go of files and devices."""


@dataclass
class Polled:
    """A meter that gives its value whenever it is asked, here every `interval_s`."""

    name: str
    scope: str
    interval_s: float
    value: Callable[[], float]
    counts: bool = False
    _next_s: float = field(default=0.0, init=False)
    _failures: int = field(default=0, init=False)

    def read(self) -> list[Reading]:
        """Wait for the next tick and read; a single failure leaves a gap."""
        now_s = time.monotonic()
        # A late tick does not make the following ones come faster.
        self._next_s = max(self._next_s + self.interval_s, now_s)
        time.sleep(self._next_s - now_s)
        begin_s = time.monotonic()
        try:
            value = self.value()
        except (OSError, ValueError) as error:
            self._failures += 1
            if self._failures == _MOST_FAILURES:
                raise MeterError(f"{self.name} cannot be read any more: {error}") from error
            return []
        self._failures = 0
        return [Reading((begin_s + time.monotonic()) / 2, value)]

    def shift_s(self) -> float:
        """Give 0: the times are this machine's."""
        return 0.0

    def remarks(self) -> tuple[str, ...]:
        """Give nothing: the values are the meter's."""
        return ()

    def close(self) -> None:
        """Do nothing: files are opened for each reading."""
