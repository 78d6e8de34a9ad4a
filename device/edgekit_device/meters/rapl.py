"""RAPL: the energy counters of Intel's and AMD's processor packages."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edgekit_device.errors import MeterError
from edgekit_device.meters.meter import Polled

POWERCAP = "sys/class/powercap"

# The counters move every millisecond and wrap after some minutes at full load.
_INTERVAL_S = 0.1


def unwrapped_uj(before_uj: int, now_uj: int, range_uj: int) -> int:
    """Give what a counter that starts again after `range_uj` has counted between two readings.

    A counter that went round twice in between cannot be told from one that did once.
    """
    return now_uj - before_uj if now_uj >= before_uj else now_uj - before_uj + range_uj


def rapl_packages(root: Path) -> list[Path]:
    """Find the packages' domains; their subdomains (cores, memory) are parts of them.

    `psys`, the platform, holds the packages once more where it exists.
    """
    found = []
    for domain in sorted((root / POWERCAP).glob("intel-rapl:*")):
        try:
            name = (domain / "name").read_text().strip()
        except OSError:
            continue
        if domain.name.count(":") == 1 and name.startswith("package"):
            found.append(domain)
    return found


def rapl_meter(root: Path) -> Polled:
    """Make a meter of the sum of all packages' counters.

    Raises:
        MeterError: there is none, or only root may read it.
    """
    packages = rapl_packages(root)
    if not packages:
        raise MeterError(
            f"meter rapl: there is no processor package under /{POWERCAP}/intel-rapl:*: this "
            "machine has no such counters, or keeps them from its containers"
        )
    try:
        counters = [_Counter(package) for package in packages]
    except PermissionError as error:
        raise MeterError(
            f"meter rapl: only root may read {packages[0].name}/energy_uj here: run the agent as "
            "root, or let others read: sudo chmod -R a+r /sys/class/powercap/*/energy_uj"
        ) from error
    except (OSError, ValueError) as error:
        raise MeterError(f"meter rapl: {packages[0].name} cannot be read: {error}") from error
    many = f"{len(packages)} processor packages" if len(packages) > 1 else "the processor package"
    scope = f"{many} (cores, caches, memory controller), not the rest of the machine"
    name = f"RAPL {', '.join((package / 'name').read_text().strip() for package in packages)}"
    return Polled(
        name,
        scope,
        _INTERVAL_S,
        lambda: sum(counter.read_uj() for counter in counters) * 1e-6,
        counts=True,
    )


@dataclass
class _Counter:
    """One package's counter since it was first read."""

    domain: Path
    _range_uj: int = field(init=False)
    _last_uj: int = field(init=False)
    _counted_uj: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._range_uj = int((self.domain / "max_energy_range_uj").read_text())
        self._last_uj = int((self.domain / "energy_uj").read_text())

    def read_uj(self) -> int:
        now_uj = int((self.domain / "energy_uj").read_text())
        self._counted_uj += unwrapped_uj(self._last_uj, now_uj, self._range_uj)
        self._last_uj = now_uj
        return self._counted_uj
