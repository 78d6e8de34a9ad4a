"""Memory of the own process, as the kernel accounts it."""

from __future__ import annotations

import resource
import sys
from pathlib import Path


def peak_rss_bytes(status: Path = Path("/proc/self/status")) -> int:
    """Give the high-water mark of the resident memory of this process.

    Linux' `ru_maxrss` survives exec: in a child it may be its large parent's. `VmHWM` does not.
    """
    return _status_bytes(status, "VmHWM") or _ru_maxrss_bytes()


def rss_bytes(status: Path = Path("/proc/self/status")) -> int:
    """Give the resident memory of this process now (its peak where there is no /proc)."""
    return _status_bytes(status, "VmRSS") or _ru_maxrss_bytes()


def _status_bytes(status: Path, key: str) -> int | None:
    if not status.exists():
        return None
    for line in status.read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    return None


def _ru_maxrss_bytes() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
