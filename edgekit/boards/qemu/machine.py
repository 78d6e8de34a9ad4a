"""Which machine an emulated board is: a board profile's cores and memory, as QEMU knows them."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.errors import BoardError
from edgekit_device.board import BoardProfile
from edgekit_device.profiles import shipped_profiles

KIND = "qemu"

_ARCHITECTURE = "aarch64"


@dataclass(frozen=True)
class Machine:
    """An emulated board: its profile's name, what people call it, and its cores as QEMU's."""

    name: str
    model: str
    cpu: str
    cores: int
    memory_bytes: int

    def __str__(self) -> str:
        return f"{KIND}:{self.name}"


def machines() -> dict[str, Machine]:
    """The boards that can be emulated, by the names of their profiles."""
    profiles = shipped_profiles().items()
    return {name: _machine(one) for name, one in profiles if one.architecture == _ARCHITECTURE}


def parse_machine(text: str) -> Machine:
    """Reads `qemu:PROFILE`.

    Raises:
        BoardError: there is no such profile.
    """
    _, _, name = text.partition(":")
    known = machines()
    if name not in known:
        raise BoardError(
            f"{text!r} is no emulated board: give one of "
            f"{', '.join(str(machine) for machine in known.values())}."
        )
    return known[name]


def _machine(profile: BoardProfile) -> Machine:
    # The smallest that is sold: what fits there fits the others.
    memory_bytes = int(min(profile.memory_bytes))
    return Machine(
        profile.name, profile.description, profile.cpu.core.lower(), profile.cores, memory_bytes
    )
