"""The Raspberry Pi 5's power controller, by way of `vcgencmd pmic_read_adc`."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from edgekit_device.errors import MeterError
from edgekit_device.meters.meter import Polled
from edgekit_device.vcgencmd import answer

# The controller renews its readings about 21 times a second: asking more often gives them twice.
_INTERVAL_S = 1 / 21

_LINE = re.compile(r"\s*(\w+)_([AV]) (?:current|volt)\(\d+\)=(-?\d+\.?\d*)[AV]\s*")

_SCOPE = (
    "the rails behind the Pi 5's power controller (cores, memory, 3.3 V and 1.8 V), not its own "
    "losses, nor what runs at 5 V: USB, HAT, fan"
)


def rails_w(printed: str) -> dict[str, float]:
    """Give watts per rail; a rail with volts alone (the 5 V input, the clock's battery) has none.

    Raises:
        ValueError: no rail has both.
    """
    found = {"A": dict[str, float](), "V": dict[str, float]()}
    for line in printed.splitlines():
        if match := _LINE.fullmatch(line):
            found[match[2]][match[1]] = float(match[3])
    watts = {
        rail: amperes * found["V"][rail]
        for rail, amperes in found["A"].items()
        if rail in found["V"]
    }
    if not watts:
        raise ValueError(f"no rail with volts and amperes in {printed[:80]!r}")
    return watts


def has_pmic(root: Path) -> bool:
    """Say whether the device tree names a Pi 5's chip; `root` is where `/proc` is found."""
    try:
        return b"brcm,bcm2712" in (root / "proc/device-tree/compatible").read_bytes().split(b"\0")
    except OSError:
        return False


def pmic_meter() -> Polled:
    """Make a meter of the sum over the rails.

    Raises:
        MeterError: there is no vcgencmd, or no such controller.
    """
    command = shutil.which("vcgencmd")
    if command is None:
        raise MeterError(
            "meter pmic: there is no command vcgencmd here: it is part of Raspberry Pi OS, and "
            "only a Pi 5 has the power controller"
        )

    def watts() -> float:
        return sum(rails_w(answer(command, "pmic_read_adc")).values())

    try:
        watts()
    except (OSError, ValueError) as error:
        raise MeterError(
            f"meter pmic: vcgencmd pmic_read_adc gives no readings: {error}. Only a Pi 5 has the "
            "power controller, and only members of the group video may ask it"
        ) from error
    return Polled("Pi 5 PMIC", _SCOPE, _INTERVAL_S, watts)
