"""Current sensors of Texas Instruments' INA family behind Linux' hwmon and IIO."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edgekit_device.errors import MeterError
from edgekit_device.meters.meter import WIRED_INTO, Polled

HWMON, IIO = "sys/class/hwmon", "sys/bus/iio/devices"

# INA219 to INA260; in0 and voltage0 are the shunt's voltage, channel 1 the supply's.
_FAMILY = "ina2"

# 50 readings a second: an INA averages over 0.5 to 70 ms, and one reading costs a bus transfer of
# some 0.1 ms.
_INTERVAL_S = 0.02


@dataclass(frozen=True)
class Sensor:
    """A sensor that was found: its chip, where it sits on the bus, and how to read its watts.

    `shunt_ohm` is the resistor that Linux takes it to have, which all its watts go by.
    """

    chip: str
    place: str
    watts: Callable[[], float]
    shunt_ohm: float | None

    def __str__(self) -> str:
        return f"{self.chip} at {self.place}"


def hwmon_sensors(root: Path) -> list[Sensor]:
    """Find the INA sensors of hwmon; `power1_input` is in µW, `in1_input` mV, `curr1_input` mA."""
    found = []
    for folder in _folders(root / HWMON, "hwmon*"):
        power, volts, amperes = (
            folder / f"{channel}_input" for channel in ("power1", "in1", "curr1")
        )
        if power.exists():
            found.append(_sensor(folder, partial(_scaled, power, 1e-6)))
        elif volts.exists() and amperes.exists():
            found.append(_sensor(folder, partial(_product_w, (volts, 1e-3), (amperes, 1e-3))))
    return found


def iio_sensors(root: Path) -> list[Sensor]:
    """Find the INA sensors of IIO, whose raw x scale are mW, mV and mA."""
    found = []
    for folder in _folders(root / IIO, "iio:device*"):
        try:
            power, volts, amperes = (
                _channel(folder, kind) for kind in ("power", "voltage1", "current")
            )
        except (OSError, ValueError):
            continue
        if power is not None:
            found.append(_sensor(folder, partial(_scaled, *power)))
        elif volts is not None and amperes is not None:
            found.append(_sensor(folder, partial(_product_w, volts, amperes)))
    return found


def sensor_meter(kind: str, found: list[Sensor], named: str | None) -> Polled:
    """Make a meter of the sensor that is named by its chip or its place, or of the only one.

    Raises:
        MeterError: there is none, or several fit, or it cannot be read.
    """
    where = f"/{HWMON if kind == 'hwmon' else IIO}"
    if not found:
        raise MeterError(
            f"meter {kind}: there is no INA current sensor under {where}: have the kernel know "
            "it (echo ina219 0x40 | sudo tee /sys/bus/i2c/devices/i2c-1/new_device), or name "
            "another meter"
        )
    there = ", ".join(map(str, found))
    fitting = [one for one in found if named in (None, one.chip, one.place)]
    if len(fitting) != 1:
        what = "several sensors" if fitting else f"no sensor {named!r}"
        raise MeterError(
            f"meter {kind}: there are {what} under {where} ({there}): name one by its chip or "
            f"place, such as {kind}:{found[0].place}"
        )
    (sensor,) = fitting
    try:
        sensor.watts()
    except (OSError, ValueError) as error:
        raise MeterError(f"meter {kind}: {sensor} cannot be read: {error}") from error
    # Most boards have another shunt than the 10 mOhm that Linux takes unless it is told.
    shunt = "" if sensor.shunt_ohm is None else f", by a shunt of {sensor.shunt_ohm * 1e3:g} mOhm"
    return Polled(f"{kind} {sensor}", f"{WIRED_INTO}{shunt}", _INTERVAL_S, sensor.watts)


def _folders(parent: Path, pattern: str) -> list[Path]:
    """The folders of the family's chips; their numbers change from boot to boot."""
    found = []
    for folder in sorted(parent.glob(pattern)):
        try:
            chip = _text(folder / "name")
        except OSError:
            continue
        if chip.startswith(_FAMILY):
            found.append(folder)
    return found


def _sensor(folder: Path, watts: Callable[[], float]) -> Sensor:
    device = folder / "device"
    # The bus address, 1-0040, which stays; a hwmon's folder has a link to it, IIO's is one.
    linked = device.resolve() if device.exists() else folder.resolve().parent
    place = linked.name if "-" in linked.name else folder.name
    return Sensor(_text(folder / "name"), place, watts, _shunt_ohm(folder))


def _shunt_ohm(folder: Path) -> float | None:
    """Give the shunt, which hwmon tells in µOhm and IIO in Ohm; None: it is a part of the chip."""
    for name, scale in (("shunt_resistor", 1e-6), ("in_shunt_resistor", 1.0)):
        try:
            return _scaled(folder / name, scale)
        except (OSError, ValueError):
            continue
    return None


def _channel(folder: Path, kind: str) -> tuple[Path, float] | None:
    """Give a channel's raw file and what one step of it is worth in W, V or A."""
    for raw in sorted(folder.glob(f"in_{kind}*_raw")):
        scale = raw.with_name(raw.name.removesuffix("raw") + "scale")
        if scale.exists():
            return raw, float(_text(scale)) * 1e-3
    return None


def _product_w(volts: tuple[Path, float], amperes: tuple[Path, float]) -> float:
    return _scaled(*volts) * _scaled(*amperes)


def _scaled(file: Path, scale: float) -> float:
    return float(_text(file)) * scale


def _text(file: Path) -> str:
    return file.read_text(encoding="ascii", errors="replace").strip()
