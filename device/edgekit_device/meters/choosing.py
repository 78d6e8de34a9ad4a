"""Which meter a run uses: the named one, or the first of this machine that can be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgekit_device.errors import MeterError
from edgekit_device.meters.csv_file import CsvFile
from edgekit_device.meters.meter import Meter
from edgekit_device.meters.named import MeterName, parse_meter
from edgekit_device.meters.pmic import has_pmic, pmic_meter
from edgekit_device.meters.rapl import rapl_meter, rapl_packages
from edgekit_device.meters.sensors import hwmon_sensors, iio_sensors, sensor_meter
from edgekit_device.meters.serial_line import SerialLine

# The order of "auto": what sees most of the board first. RAPL sees the processor alone.
_OWN = ("pmic", "hwmon", "iio", "rapl")


@dataclass(frozen=True)
class Chosen:
    """An open meter, or None; `note` is what keeps this machine's own meter from being used."""

    meter: Meter | None
    note: str | None = None


def choose_meter(named: str, root: Path, emulator: str | None = None) -> Chosen:
    """Open the meter that `settings.meter` names; `root` is where `/sys` is found.

    Raises:
        UsageError: it is no meter's name.
        MeterError: a meter that was named is not there or cannot be read.
    """
    name = parse_meter(named)
    if name.kind == "model":
        return Chosen(None)
    if emulator is not None:
        if name.kind != "auto":
            raise MeterError(
                f"meter {name.kind}: an emulated board ({emulator}) draws no power that could be "
                "measured: leave the meter out"
            )
        return Chosen(None)
    if name.kind == "auto":
        return _first(root)
    return Chosen(_open(name, root))


def meters_here(root: Path) -> tuple[str, ...]:
    """Name the meters of this machine, and those that are there but cannot be read."""
    found = []
    for kind in _OWN:
        try:
            meter = _open(MeterName(kind), root)
        except MeterError as error:
            if _is_there(kind, root):
                found.append(str(error))
        else:
            found.append(f"{meter.name}: {meter.scope}")
            meter.close()
    return tuple(found)


def _first(root: Path) -> Chosen:
    note = None
    for kind in _OWN:
        try:
            return Chosen(_open(MeterName(kind), root))
        except MeterError as error:
            if note is None and _is_there(kind, root):
                note = str(error)
    return Chosen(None, note)


def _open(name: MeterName, root: Path) -> Meter:
    target, option = name.target or "", name.option
    ways: dict[str, Callable[[], Meter]] = {
        "pmic": pmic_meter,
        "hwmon": lambda: sensor_meter("hwmon", hwmon_sensors(root), name.target),
        "iio": lambda: sensor_meter("iio", iio_sensors(root), name.target),
        "rapl": lambda: rapl_meter(root),
        "csv": lambda: CsvFile(target, option),
        "serial": lambda: SerialLine(target, None if option is None else int(option)),
    }
    return ways[name.kind]()


def _is_there(kind: str, root: Path) -> bool:
    found: dict[str, Callable[[], object]] = {
        "pmic": lambda: has_pmic(root),
        "hwmon": lambda: hwmon_sensors(root),
        "iio": lambda: iio_sensors(root),
        "rapl": lambda: rapl_packages(root),
    }
    return bool(found[kind]())
