"""A meter read by a thread of the agent, from before the first model until after the last one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from edgekit_device.errors import MeterError
from edgekit_device.meters.meter import Meter, Reading
from edgekit_device.meters.trace import Trace

# A meter that gives 20 readings in 10 s gives the first within this time, if it measures at all.
_FIRST_S = 3.0

# How long the last readings of a program that writes in blocks are waited for.
_LAST_S = 5.0


class Recording:
    """What a meter has told so far."""

    def __init__(self, meter: Meter) -> None:
        """Know the meter; `recorded` reads it."""
        self.meter = meter
        self._readings: list[Reading] = []
        self._problem: str | None = None
        self._stop = threading.Event()
        self._news = threading.Condition()

    def trace(self) -> Trace:
        """Give the readings in order, with times of this machine."""
        with self._news:
            return Trace.of(self._readings, self.meter.shift_s(), counts=self.meter.counts)

    def remarks(self) -> tuple[str, ...]:
        """Say what a reader of the numbers has to know, such as that the meter was lost."""
        lost = () if self._problem is None else (self._problem,)
        return (*lost, *self.meter.remarks())

    def wait_until(self, t_s: float) -> None:
        """Wait for a reading of that moment or later, within reason."""
        with self._news:
            self._news.wait_for(lambda: self._problem is not None or self._reaches(t_s), _LAST_S)

    def first(self) -> None:
        """Wait for the first reading.

        Raises:
            MeterError: none comes.
        """
        with self._news:
            self._news.wait_for(lambda: self._problem is not None or self._readings, _FIRST_S)
        if self._problem is not None:
            raise MeterError(self._problem)
        if not self._readings:
            heard = " ".join(self.meter.remarks())
            raise MeterError(
                f"{self.meter.name} gives no readings within {_FIRST_S:g} s: does the meter "
                f"measure, and is its program running?{' ' if heard else ''}{heard}"
            )

    def take(self) -> None:
        """Read until told to stop or the meter is lost; the body of the thread."""
        while not self._stop.is_set():
            try:
                readings = self.meter.read()
            except MeterError as error:
                with self._news:
                    self._problem = str(error)
                    self._news.notify_all()
                return
            if readings:
                with self._news:
                    self._readings += readings
                    self._news.notify_all()

    def stop(self) -> None:
        """Have the thread end."""
        self._stop.set()

    def _reaches(self, t_s: float) -> bool:
        last = self._readings[-1].t_s if self._readings else -1.0
        return last + self.meter.shift_s() >= t_s


@contextmanager
def recorded(meter: Meter) -> Iterator[Recording]:
    """Read the meter while the block runs, and close it.

    Raises:
        MeterError: it gives no readings.
    """
    recording = Recording(meter)
    thread = threading.Thread(target=recording.take, daemon=True)
    thread.start()
    try:
        recording.first()
        yield recording
    finally:
        recording.stop()
        thread.join()
        meter.close()
