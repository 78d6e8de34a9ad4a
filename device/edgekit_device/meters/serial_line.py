"""A meter that sends lines over a serial device: each is timed when it arrives."""

from __future__ import annotations

import os
import select
import termios
import time

from edgekit_device.errors import MeterError
from edgekit_device.meters.meter import WIRED_INTO, Reading
from edgekit_device.meters.quantities import line_w

DEFAULT_BAUD = 115200

_WAIT_S = 0.1
_LONGEST_LINE = 1 << 12


class SerialLine:
    """The lines that come from now on: watts, or volts and amperes, with or without units."""

    counts = False
    scope = WIRED_INTO

    def __init__(self, device: str, baud: int | None) -> None:
        """Open the device at this speed, eight bits, no parity, one stop bit.

        Raises:
            MeterError: it is not there, no serial device, or does not know this speed.
        """
        self.name = f"serial {device}"
        self._rest, self._odd = b"", ""
        baud = DEFAULT_BAUD if baud is None else baud
        speed = getattr(termios, f"B{baud}", None)
        if speed is None:
            raise MeterError(
                f"meter serial: {baud} is no speed of serial devices; usual ones are 9600 and "
                f"{DEFAULT_BAUD} baud"
            )
        try:
            self._file = os.open(device, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise MeterError(
                f"meter serial: {device} cannot be opened: {error.strerror}. It is a device of the "
                "machine that the agent runs on, mostly for members of the group dialout"
            ) from error
        try:
            _make_raw(self._file, speed)
        except termios.error as error:
            self.close()
            raise MeterError(f"meter serial: {device} is no serial device: {error}") from error
        # The first line may have begun before we listened.
        self._skipping = True

    def read(self) -> list[Reading]:
        """Wait for lines; what is no value is left out."""
        ready, _, _ = select.select([self._file], [], [], _WAIT_S)
        if not ready:
            return []
        try:
            content = os.read(self._file, 1 << 16)
        except BlockingIOError:
            return []
        except OSError as error:
            raise MeterError(f"{self.name} is gone: {error.strerror}") from error
        now_s = time.monotonic()
        if not content:
            raise MeterError(f"{self.name} is gone: the device gives no more")
        *lines, self._rest = (self._rest + content).replace(b"\r", b"\n").split(b"\n")
        self._rest = self._rest[-_LONGEST_LINE:]
        if self._skipping and lines:
            self._skipping, lines = False, lines[1:]
        readings = []
        for line in lines:
            text = line.decode("ascii", errors="replace").strip()
            watts = line_w(text)
            if watts is not None:
                readings.append(Reading(now_s, watts))
            elif text and not self._odd:
                self._odd = text[:60]
        return readings

    def shift_s(self) -> float:
        """Give 0: the times are this machine's."""
        return 0.0

    def remarks(self) -> tuple[str, ...]:
        """Quote the first line that was not understood."""
        if not self._odd:
            return ()
        return (
            f"{self.name} also sent lines that are neither watts nor volts and amperes, such as "
            f"{self._odd!r}",
        )

    def close(self) -> None:
        """Close the device."""
        os.close(self._file)


def _make_raw(file: int, speed: int) -> None:
    """Set the line to bytes as they come: no echo, no editing, no flow control."""
    flags = termios.tcgetattr(file)
    flags[0] = termios.IGNBRK | termios.IGNPAR
    flags[1] = 0
    flags[2] = termios.CS8 | termios.CREAD | termios.CLOCAL
    flags[3] = 0
    flags[4] = flags[5] = speed
    flags[6][termios.VMIN], flags[6][termios.VTIME] = 1, 0
    termios.tcsetattr(file, termios.TCSANOW, flags)
