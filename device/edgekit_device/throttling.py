"""What a Raspberry Pi's firmware says holds its clock down."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from edgekit_device.vcgencmd import answer

# The folder is called soc:firmware, or on a Pi 5 soc@107c000000:firmware.
FIRMWARE = "sys/devices/platform/soc*/soc*:firmware/get_throttled"

# Bits of get_throttled (Raspberry Pi documentation, vcgencmd); 16 bits higher: since the start.
NAMES = ("under-voltage", "frequency capped", "throttled", "soft temperature limit")
_SINCE_START = 16


def flags(printed: str) -> int | None:
    """Read `throttled=0x50005`, or the file's 50005; None for anything else."""
    found = re.fullmatch(r"(?:throttled=)?(?:0x)?([0-9a-fA-F]{1,8})", printed.strip())
    return None if found is None else int(found[1], 16)


def held_now(value: int) -> tuple[str, ...]:
    """Name what holds the clock down at this moment."""
    return tuple(name for bit, name in enumerate(NAMES) if value >> bit & 1)


def held_since_start(value: int) -> tuple[str, ...]:
    """Name what has held the clock down since the board was started."""
    return held_now(value >> _SINCE_START)


def read_flags(root: Path) -> int | None:
    """Ask the firmware, by its file or else by vcgencmd; None on other machines."""
    for file in root.glob(FIRMWARE):
        try:
            return flags(file.read_text(encoding="ascii", errors="replace"))
        except OSError:
            break
    command = shutil.which("vcgencmd")
    if command is None:
        return None
    try:
        return flags(answer(command, "get_throttled"))
    except OSError:
        return None
