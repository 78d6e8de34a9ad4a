"""A file that an external meter's program appends to: rows of a time and watts, or V and A."""

from __future__ import annotations

import csv
import math
import os
import stat
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from edgekit_device.errors import MeterError
from edgekit_device.meters.meter import WIRED_INTO, Reading
from edgekit_device.meters.quantities import number, product_w, quantity

_POLL_S = 0.05
_LONGEST_LINE = 1 << 14

# Rows come after what they tell of, by no more than two readings of the slowest meter that is
# accepted (20 in 10 s), plus how often we look. Beyond that, the file goes by another clock.
_EARLIEST_S, _LATEST_S = -0.1, 1.1

# No clock is a year off, but a logger may count from its own start.
_OTHER_COUNT_S = 365 * 86400.0


@dataclass(frozen=True)
class Columns:
    """Where a row has its time and its watts, or volts and amperes; scales turn them into s, W…"""

    places: dict[str, tuple[int, float]]
    delimiter: str

    def read(self, line: str) -> tuple[float, float] | None:
        """Give the time in seconds as the file tells it, and watts; None for what is no row."""
        cells = _cells(line, self.delimiter)
        time_s = self._cell(cells, "t")
        watts = product_w(*(self._cell(cells, symbol) for symbol in "WVA"))
        return None if time_s is None or watts is None else (time_s, watts)

    def _cell(self, cells: list[str], symbol: str) -> float | None:
        place, scale = self.places.get(symbol, (len(cells), 1.0))
        if place >= len(cells):
            return None
        value = number(cells[place])
        if value is None and symbol == "t":
            return _iso_s(cells[place])
        return None if value is None else value * scale


def columns_of(first: str, file: str) -> Columns:
    """Understand the first line of a file: names of columns, or numbers in the usual order.

    Raises:
        MeterError: there is no column of times, or none of watts.
    """
    delimiter = max(";\t,", key=first.count)
    cells = _cells(first, delimiter)
    places: dict[str, tuple[int, float]] = {}
    known = {2: "tW", 3: "tVA"}.get(len(cells), "")
    if known and all(number(cell) is not None for cell in cells[1:]):
        places = {symbol: (place, 1.0) for place, symbol in enumerate(known)}
    for place, cell in enumerate(cells if not places else ()):
        found = quantity(cell)
        if found is not None and found[0] not in places:
            places[found[0]] = (place, found[1])
    if "t" not in places or not ("W" in places or {"V", "A"} <= places.keys()):
        raise MeterError(
            f"meter csv: {file} needs a first line that names a column of times (time) and one of "
            f"watts (W), or of volts (V) and amperes (A). Received: {first[:80]!r}"
        )
    return Columns(places, delimiter)


class CsvFile:
    """The rows that a file gets from now on.

    Times are seconds since 1970 or ISO 8601 (without a zone: this machine's). They are taken to be
    of this machine's clock, or of one that is `offset_s` behind it. Without an offset, and where
    rows come before their time or long after it, the offset is found: the row that came soonest
    after what it tells of came at once.
    """

    counts = False
    scope = WIRED_INTO

    def __init__(self, path: str, offset_s: float | None) -> None:
        """Open the file and understand its first line.

        Raises:
            MeterError: it is not there, is no file, or its first line is not understood.
        """
        self.name = f"csv {Path(path).name}"
        self._offset_s, self._soonest_s = offset_s, math.inf
        self._rest = b""
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise MeterError(
                f"meter csv: {path} cannot be read: {error.strerror}. It is a file of the machine "
                "that the agent runs on; start the meter's program first"
            ) from error
        try:
            self._columns = self._begin(path)
        except BaseException:
            self.close()
            raise

    def read(self) -> list[Reading]:
        """Look for new rows."""
        time.sleep(_POLL_S)
        try:
            if os.fstat(self._file).st_size < os.lseek(self._file, 0, os.SEEK_CUR):
                raise MeterError(f"{self.name} was cut or written anew while it was read")
            *lines, self._rest = (self._rest + os.read(self._file, 1 << 20)).split(b"\n")
        except OSError as error:
            raise MeterError(f"{self.name} cannot be read any more: {error.strerror}") from error
        self._rest = self._rest[-_LONGEST_LINE:]
        now_s, to_monotonic_s = time.monotonic(), time.monotonic() - time.time()
        readings = []
        for line in lines:
            row = self._columns.read(line.decode("utf-8", errors="replace"))
            if row is not None:
                t_s = row[0] + (self._offset_s or 0.0) + to_monotonic_s
                self._soonest_s = min(self._soonest_s, now_s - t_s)
                readings.append(Reading(t_s, row[1]))
        return readings

    def shift_s(self) -> float:
        """Give how far the file's clock is behind this machine's, if it is another one."""
        if self._offset_s is not None or _EARLIEST_S <= self._soonest_s <= _LATEST_S:
            return 0.0
        return self._soonest_s if math.isfinite(self._soonest_s) else 0.0

    def remarks(self) -> tuple[str, ...]:
        """Say by how much the times were moved."""
        shift_s = self.shift_s()
        if not shift_s:
            return ()
        if abs(shift_s) < _OTHER_COUNT_S:
            moved = f"goes by another clock: its times were moved by {shift_s:+.2f} s"
        else:
            moved = "does not count from 1970: its times were taken to begin where they fit"
        return (f"{self.name} {moved}, so that no row comes before what it tells of",)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _begin(self, path: str) -> Columns:
        if not stat.S_ISREG(os.fstat(self._file).st_mode):
            raise MeterError(
                f"meter csv: {path} is no regular file; for a device use serial:{path}"
            )
        head = os.read(self._file, _LONGEST_LINE)
        first, newline, _ = head.partition(b"\n")
        text = first.decode("utf-8-sig", errors="replace").strip()
        columns = columns_of(text if newline else "", path)
        # What is there already is over; a line that is just being written is not.
        end = os.lseek(self._file, -min(_LONGEST_LINE, os.fstat(self._file).st_size), os.SEEK_END)
        tail = os.read(self._file, _LONGEST_LINE)
        os.lseek(self._file, end + tail.rfind(b"\n") + 1, os.SEEK_SET)
        return columns


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        cells = next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []
    # Where columns are apart by semicolons, numbers may have a decimal comma.
    comma = delimiter == ";"
    return [(cell.replace(",", ".") if comma else cell).strip() for cell in cells]


def _iso_s(cell: str) -> float | None:
    # Python 3.10 does not know the Z of UTC.
    text = cell[:-1] + "+00:00" if cell.endswith(("Z", "z")) else cell
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
