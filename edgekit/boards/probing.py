"""What a machine behind ssh is: its architecture, its Pythons, its disk."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgekit.boards.ssh import SshBoard
from edgekit.errors import BoardError
from edgekit_device.throttling import flags, held_now

ARCHITECTURES = ("aarch64", "x86_64")
OLDEST, NEWEST = (3, 10), (3, 13)
"""The Pythons that the agent and its runtimes are made for."""

_NEEDED_BYTES = 400 * 10**6
_MARK = "edgekit:"

# For any POSIX shell; a Python 2 named python3 would not matter, one without venv does.
_SCRIPT = r"""
echo "edgekit:system=$(uname -s)"
echo "edgekit:architecture=$(uname -m)"
echo "edgekit:home=$HOME"
mkdir -p "$HOME/.local/share/edgekit" 2>/dev/null
[ -w "$HOME/.local/share/edgekit" ] && echo "edgekit:writable=yes"
echo "edgekit:disk=$(df -Pk "$HOME" 2>/dev/null | tail -n 1)"
firmware='/sys/devices/platform/soc*/soc*:firmware/get_throttled'
held=$(cat $firmware 2>/dev/null || vcgencmd get_throttled 2>/dev/null </dev/null)
echo "edgekit:throttled=$held"
ldd --version 2>&1 | grep -qi musl && echo "edgekit:libc=musl"
for python in python3 python3.13 python3.12 python3.11 python3.10; do
  command -v $python >/dev/null 2>&1 && echo "edgekit:python=$python $($python -c '
import struct, sys
try:
    import ensurepip, venv
    venv = 1
except ImportError:
    venv = 0
print("%d.%d.%d %d %d" % (sys.version_info[:3] + (struct.calcsize("P") * 8, venv)))
' 2>/dev/null </dev/null)"
done
true
"""


@dataclass(frozen=True)
class Python:
    """An interpreter on a board."""

    command: str
    version: tuple[int, int, int]
    bits: int
    has_venv: bool

    def __str__(self) -> str:
        return f"{self.command} {'.'.join(map(str, self.version))}"


@dataclass(frozen=True)
class Machine:
    """What was found on a board; `free_bytes` is None where its df does not tell.

    `throttled` names what holds its clock down at this moment, where it tells.
    """

    system: str
    architecture: str
    musl: bool
    writable: bool
    home: str
    free_bytes: int | None
    pythons: tuple[Python, ...]
    throttled: tuple[str, ...] = ()


def probe(board: SshBoard) -> Machine:
    """Looks at the machine; nothing is installed.

    Raises:
        BoardError: it cannot be reached, or has no POSIX shell.
    """
    # Read from its input, it need not pass through whatever shell the login has.
    return read_probe(board.run("sh -s", _SCRIPT.encode()), str(board))


def read_probe(printed: str, board: str) -> Machine:
    """Reads what the probing script printed, whatever a login shell said around it.

    Raises:
        BoardError: it did not run there.
    """
    marked = [line for line in printed.splitlines() if line.startswith(_MARK)]
    pairs = [line.removeprefix(_MARK).partition("=") for line in marked]
    facts = {key: value.strip() for key, _, value in pairs}
    if "architecture" not in facts:
        raise BoardError(f"{board} has no POSIX shell that commands can be given to.")
    disk = re.findall(r"(\d+)\s+\d+%", facts.get("disk", ""))
    pythons = [_python(value) for key, _, value in pairs if key == "python"]
    return Machine(
        system=facts.get("system", ""),
        architecture=facts["architecture"],
        musl=facts.get("libc") == "musl",
        writable=facts.get("writable") == "yes",
        home=facts.get("home", ""),
        free_bytes=int(disk[0]) * 1024 if disk else None,
        pythons=tuple(python for python in pythons if python is not None),
        throttled=held_now(flags(facts.get("throttled", "")) or 0),
    )


def suitable_python(machine: Machine, board: str) -> Python:
    """The interpreter for the agent's environment.

    Raises:
        BoardError: the machine cannot carry an agent, in words and with the way out.
    """
    if machine.system != "Linux":
        raise BoardError(f"{board} runs {machine.system or 'no Linux'}; the agent needs Linux.")
    if machine.architecture not in ARCHITECTURES:
        raise BoardError(
            f"{board} is a machine of architecture {machine.architecture}; the runtimes exist for "
            f"{' and '.join(ARCHITECTURES)}. Install a 64-bit system there."
        )
    if machine.musl:
        raise BoardError(
            f"{board} has the C library musl, for which there is no TFLite runtime; install a "
            "system with glibc, such as Raspberry Pi OS or Debian."
        )
    fitting = [found for found in machine.pythons if OLDEST <= found.version[:2] <= NEWEST]
    wide = [found for found in fitting if found.bits == 64]
    for python in wide:
        if python.has_venv:
            return python
    span = f"{OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}"
    if not machine.pythons:
        raise BoardError(
            f"{board} has no Python: install one of {span}, on Debian with sudo apt-get install "
            "python3 python3-venv."
        )
    there = ", ".join(dict.fromkeys(map(str, machine.pythons)))
    if not fitting:
        raise BoardError(
            f"{board} has {there}; the agent needs Python {span}: install one, or a newer system."
        )
    if not wide:
        raise BoardError(
            f"{board} has a 32-bit system ({there}); the runtimes exist for 64 bits alone: install "
            "the 64-bit Raspberry Pi OS."
        )
    raise BoardError(
        f"{board} has {there} without its venv module; on Debian: sudo apt-get install "
        "python3-venv."
    )


def check_disk(machine: Machine, board: str) -> None:
    """Raises BoardError where the agent's environment would find no place."""
    if not machine.writable:
        raise BoardError(
            f"{board}: {machine.home}/.local/share/edgekit cannot be written; the agent's "
            "environment is made there. Is its disk full, or mounted read-only?"
        )
    if machine.free_bytes is not None and machine.free_bytes < _NEEDED_BYTES:
        raise BoardError(
            f"The disk of {board} is full: {machine.free_bytes / 1e6:.0f} MB are free in "
            f"{machine.home}, the agent's environment needs about {_NEEDED_BYTES / 1e6:.0f} MB."
        )


def _python(text: str) -> Python | None:
    found = re.fullmatch(r"(\S+) (\d+)\.(\d+)\.(\d+) (\d+) ([01])", text.strip())
    if found is None:
        return None
    version = (int(found[2]), int(found[3]), int(found[4]))
    return Python(found[1], version, int(found[5]), found[6] == "1")
