"""External meters: a file that grows, and a serial device that sends lines (a pty here)."""

import math
import os
import termios
import time
import tty
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit_device.errors import MeterError
from edgekit_device.meters.csv_file import Columns, CsvFile, columns_of
from edgekit_device.meters.meter import Meter, Reading
from edgekit_device.meters.quantities import line_w
from edgekit_device.meters.recording import recorded
from edgekit_device.meters.serial_line import SerialLine


def until(meter: Meter, count: int) -> list[Reading]:
    """So many readings of a meter that has got them, or fewer if it has not."""
    found: list[Reading] = []
    until_s = time.monotonic() + 10
    while len(found) < count and time.monotonic() < until_s:
        found += meter.read()
    return found


@pytest.fixture
def csv(tmp_path: Path) -> Iterator[Any]:
    """Open a file with this first line; `add` appends to it."""
    opened = []

    def start(header: str, offset_s: float | None = None) -> Any:
        path = tmp_path / "power.csv"
        path.write_text(header)
        meter = CsvFile(str(path), offset_s)
        opened.append(meter)

        def add(*lines: str) -> None:
            with path.open("a") as file:
                file.write("".join(line + "\n" for line in lines))

        return meter, add

    yield start
    for meter in opened:
        meter.close()


@pytest.mark.parametrize(
    ("first", "row", "watts"),
    [
        ("time,W", "{t},4.5", 4.5),
        ("timestamp;voltage [V];current [mA]", "{t};5,0;900", 4.5),
        ("Power (mW)\tepoch", "4500\t{t}", 4.5),
        ("t_ms,a,v", "{ms},0.9,5", 4.5),
        ("Timestamp(ms),current (uA),V", "{ms},900000,5", 4.5),
        ("timestamp_us,power (\u00b5W)", "{us},4500000", 4.5),
        ("t,power factor,apparent power (VA),power (W, of 100 ms)", "{t},0.6,7.5,4.5", 4.5),
        ("date,power", "{iso},4.5", 4.5),
        ("date,power", "{zulu},4.5", 4.5),
        ("1700000000.0,3.0", "{t},4.5", 4.5),
        ("1700000000.0,5.0,0.1", "{t},5,0.9", 4.5),
    ],
)
def test_rows_are_watts_at_this_machines_time(csv: Any, first: str, row: str, watts: float) -> None:
    meter, add = csv(f"{first}\n")
    now = time.time()
    here, utc = datetime.fromtimestamp(now), datetime.fromtimestamp(now, timezone.utc)
    zulu = utc.isoformat().replace("+00:00", "Z")
    cells = {
        "t": f"{now:.6f}",
        "ms": f"{now * 1e3:.3f}",
        "us": f"{now * 1e6:.0f}",
        "iso": here.isoformat(),
        "zulu": zulu,
    }
    add(row.format(**cells))
    (reading,) = until(meter, 1)
    assert reading.value == pytest.approx(watts)
    assert reading.t_s == pytest.approx(time.monotonic() - (time.time() - now), abs=0.05)


def test_old_rows_half_rows_and_nonsense_are_left_out(csv: Any) -> None:
    meter, add = csv(f"time,W\n{time.time()},1\n{time.time()},2")
    add("2", "", "# a remark", "x,y", f"{time.time()},nan", f"{time.time()}", f"{time.time()},3")
    # The row that was half there when we came is whole: it has 22 W.
    assert [reading.value for reading in until(meter, 2)] == [22, 3]


def test_a_clock_of_its_own_is_found_and_said(csv: Any) -> None:
    meter, add = csv("seconds since start (t),W\n")
    for number in range(3):
        add(f"{100 + 0.1 * number},5")
        assert until(meter, 1)
        time.sleep(0.1)
    expected = time.monotonic() - 100.3
    # Time of the file 0 is when the third row came, less 100.2 s.
    assert meter.shift_s() + time.monotonic() - time.time() == pytest.approx(expected, abs=5)
    assert "does not count from 1970" in meter.remarks()[0]


def test_a_clock_that_is_off_is_found_and_said(csv: Any) -> None:
    meter, add = csv("time,W\n")
    for _ in range(5):
        add(f"{time.time() + 3600},5")
        assert until(meter, 1)
    assert meter.shift_s() == pytest.approx(-3600, abs=5)
    assert "goes by another clock: its times were moved by -3" in meter.remarks()[0]


def test_an_offset_that_is_stated_holds(csv: Any) -> None:
    meter, add = csv("time,W\n", 50.0)
    now_s = time.monotonic()
    add(f"{time.time() - 50},5")
    (reading,) = until(meter, 1)
    assert reading.t_s == pytest.approx(now_s, abs=5)
    assert (meter.shift_s(), meter.remarks()) == (0.0, ())


def test_a_program_that_writes_in_blocks_keeps_the_clock(csv: Any) -> None:
    meter, add = csv("time,W\n")
    # The last row of one block at least is read at once, however busy the machine is.
    for _ in range(5):
        now = time.time()
        add(*(f"{now - 4 + 0.1 * number},5" for number in range(41)))
        assert len(until(meter, 41)) == 41
    assert (meter.shift_s(), meter.remarks()) == (0.0, ())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "needs a first line"),
        ("time,W", "needs a first line"),
        ("a,b\n", "needs a first line"),
        ("time,V\n", "needs a first line"),
        ("W\n", "needs a first line"),
        ("\x00\xff\n", "needs a first line"),
        ("x" * 100_000, "needs a first line"),
    ],
)
def test_a_file_that_is_not_understood_is_refused(csv: Any, content: str, says: str) -> None:
    with pytest.raises(MeterError, match=says):
        csv(content)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.csv", tmp_path):
        with pytest.raises(MeterError, match=f"meter csv: {path}"):
            CsvFile(str(path), None)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (fifo, Path("/dev/null")):
        with pytest.raises(MeterError, match=r"is no regular file; .*serial:"):
            CsvFile(str(path), None)


def test_a_file_that_is_written_anew_is_an_error(csv: Any, tmp_path: Path) -> None:
    meter, add = csv("time,W\n")
    add(f"{time.time()},3")
    assert until(meter, 1)
    (tmp_path / "power.csv").write_text("time,W\n")
    with pytest.raises(MeterError, match="was cut"):
        meter.read()


def test_a_file_that_does_not_grow_is_an_error_before_the_run(csv: Any) -> None:
    meter, _ = csv(f"time,W\n{time.time()},3\n")
    with pytest.raises(MeterError, match="gives no readings within 3 s"), recorded(meter):
        pass
    # It is closed by then.
    meter.close = lambda: None


@pytest.mark.parametrize(
    ("text", "watts"),
    [
        ("4.5", 4.5),
        ("+4.5e0", 4.5),
        ("5.0, 0.9", 4.5),
        ("5.0\t0.9", 4.5),
        ("4500 mW", 4.5),
        ("U=5.00V I=900mA", 4.5),
        ("5V 900mA 4.4W", 4.4),
        ("P: 4.5 W", 4.5),
        ("U: 5.00 I: 0.90", 4.5),
        ("0.0045 kW", 4.5),
        ("900000 uA 5 V", 4.5),
        ("4500000 \u00b5W", 4.5),
        ("T=25.3 C P=4.5 watts", 4.5),
        # Degrees, volt-amperes and percents are no watts.
        ("25.3 °C", None),
        ("T=25.3 C, 60 %", None),
        ("12 VA", None),
        ("3,1 W", None),
        ("U 5.0 I 0.9", None),
        ("hello", None),
        ("", None),
        ("1 2 3", None),
        ("5.0 V", None),
        ("nan", None),
        ("1e999", None),
    ],
)
def test_a_line_tells_watts_or_nothing(text: str, watts: float | None) -> None:
    assert line_w(text) == (None if watts is None else pytest.approx(watts))


@pytest.fixture
def wire() -> Iterator[tuple[int, str]]:
    """A serial line: the end that the meter writes to, and the device's name."""
    meter, device = os.openpty()
    tty.setraw(meter)
    yield meter, os.ttyname(device)
    os.close(meter)
    os.close(device)


def test_serial_lines_are_timed_when_they_arrive(wire: tuple[int, str]) -> None:
    writer, device = wire
    meter = SerialLine(device, 9600)
    os.write(writer, b"9\r\n3.0\r\n")
    # What came first may be the end of a line.
    assert [reading.value for reading in until(meter, 1)] == [3.0]
    os.write(writer, b"ready.\n5.0 V;0.")
    before_s = time.monotonic()
    os.write(writer, b"5 A\n")
    (reading,) = until(meter, 1)
    assert reading.value == pytest.approx(2.5)
    assert before_s <= reading.t_s <= time.monotonic()
    assert "'ready.'" in meter.remarks()[0]
    meter.close()


def test_the_speed_is_set(wire: tuple[int, str]) -> None:
    writer, device = wire
    meter = SerialLine(device, 19200)
    assert termios.tcgetattr(writer)[4:6] == [termios.B19200] * 2
    meter.close()


def test_a_device_that_goes_away_is_an_error() -> None:
    writer, device = os.openpty()
    meter = SerialLine(os.ttyname(device), None)
    os.close(writer)
    os.close(device)
    with pytest.raises(MeterError, match="is gone"):
        until(meter, 1)
    meter.close()


def test_a_line_of_nonsense_is_quoted_before_the_run(wire: tuple[int, str]) -> None:
    writer, device = wire
    meter = SerialLine(device, None)
    os.write(writer, b"\nHello, I am no meter.\n")
    with pytest.raises(MeterError, match=r"no readings .*'Hello, I am no meter.'"), recorded(meter):
        pass


def test_what_is_no_serial_device_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MeterError, match="cannot be opened"):
        SerialLine(str(tmp_path / "missing"), None)
    for path in (str(tmp_path / "file"), "/dev/null"):
        with pytest.raises(MeterError, match="is no serial device"):
            SerialLine(path, None)
    with pytest.raises(MeterError, match="12345 is no speed"):
        SerialLine("/dev/null", 12345)


@given(st.text(max_size=200))
def test_any_text_is_watts_or_nothing(text: str) -> None:
    for delimiter in ",;\t":
        columns = Columns({"t": (0, 1.0), "W": (1, 1.0)}, delimiter)
        for row in (text, f"1{delimiter}{text}", f"{text}{delimiter}1"):
            assert all(map(math.isfinite, columns.read(row) or ()))
    watts = line_w(text)
    assert watts is None or math.isfinite(watts)


def test_columns_are_found_in_any_order() -> None:
    columns = columns_of("current_ma, voltage, note, time", "x")
    assert columns.read("500, 5, ok, 10") == (10.0, pytest.approx(2.5))
    assert columns.read("500, 5, ok") is None
