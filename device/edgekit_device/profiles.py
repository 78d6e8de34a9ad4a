"""Which board profile holds for this machine: the named one, or the one that is recognised."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

from edgekit_device.board import BoardProfile, parse_board
from edgekit_device.emulated import Emulated, read_emulated
from edgekit_device.errors import BoardProfileError
from edgekit_device.machine import device_tree_model

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


_COMPATIBLE = Path("proc/device-tree/compatible")

# What a chip is called in the device tree, and the board with that chip that is best known. The
# firmware's own trees call the 3B's chip and the Zero 2 W's bcm2837, Linux' older ones bcm2710.
_NEAREST = {
    "brcm,bcm2710": "pi3b+",
    "brcm,bcm2837": "pi3b+",
    "brcm,bcm2711": "pi4",
    "brcm,bcm2712": "pi5",
}

# A board with the same chip has another clock and other memory (3A+, Compute Module 3: 1.2 to
# 1.4 GHz; Pi 400, 4B: 1.5 to 1.8), so by a fifth; and it draws what is soldered around the chip:
# of the 3B+ and the 3B, published idle power differs by a factor of 1.9, at full load by 1.16.
_WIDER_LATENCY = 1.25
_WIDER_POWER = 1.5


_WAY_OUT = "give a board profile with --profile NAME or --profile FILE.toml"


@dataclass(frozen=True)
class Board:
    """The profile that holds for this machine, or the reason why none does.

    `note` says that the profile is another board's, taken because it has the same chip.
    """

    profile: BoardProfile | None
    reason: str | None
    note: str | None = None


def shipped_profiles() -> dict[str, BoardProfile]:
    """Load every profile that comes with the agent, by name."""
    folder = files("edgekit_device") / "profiles" / "boards"
    entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    texts = {entry.name: entry.read_text("utf-8") for entry in entries if entry.is_file()}
    loaded = [_parse(text, file) for file, text in texts.items() if file.endswith(".toml")]
    return {profile.name: profile for profile in loaded}


def load_profile(named: str) -> BoardProfile:
    """Load a shipped profile by its name, or one from a `.toml` file.

    Raises:
        BoardProfileError: there is no such profile or file, or it breaks a rule of the schema.
    """
    if named.endswith(".toml"):
        try:
            return _parse(Path(named).read_text("utf-8"), named)
        except OSError as error:
            raise BoardProfileError(
                f"the profile {named} cannot be read: {error.strerror}"
            ) from error
        except UnicodeDecodeError as error:
            raise BoardProfileError(f"the profile {named} cannot be read: {error}") from error
    shipped = shipped_profiles()
    if named not in shipped:
        raise BoardProfileError(
            f"there is no board profile {named!r}: name one of {', '.join(shipped)}, "
            "or a file that ends in .toml"
        )
    return shipped[named]


def recognise(model: str) -> BoardProfile | None:
    """Find the shipped profile whose device-tree model begins `model`; the longest one wins.

    "Raspberry Pi 3 Model B" also begins the 3B+'s "Raspberry Pi 3 Model B Plus Rev 1.3".
    """
    best: tuple[int, BoardProfile] | None = None
    for profile in shipped_profiles().values():
        for prefix in profile.device_tree_models:
            whole_words = model == prefix or model.startswith(f"{prefix} ")
            if whole_words and (best is None or len(prefix) > best[0]):
                best = (len(prefix), profile)
    return best[1] if best else None


def nearest(model: str, compatible: Sequence[str]) -> BoardProfile | None:
    """Find the shipped profile of the Raspberry Pi that has this one's chip, or None.

    `model` and `compatible` are those of the device tree. No other maker's board is taken for a Pi:
    it may clock, cool and feed the same chip in another way.
    """
    if not model.startswith("Raspberry Pi "):
        return None
    found = next((_NEAREST[name] for name in compatible if name in _NEAREST), None)
    return None if found is None else shipped_profiles()[found]


def widened(profile: BoardProfile) -> BoardProfile:
    """Give the profile with the wider intervals that it has for another board of its chip."""
    latency = profile.latency
    if latency is not None:
        latency = replace(
            latency, low=latency.low / _WIDER_LATENCY, high=latency.high * _WIDER_LATENCY
        )
    powers = tuple(
        replace(
            power,
            low=(1.0 if power.low is None else power.low) / _WIDER_POWER,
            high=(1.0 if power.high is None else power.high) * _WIDER_POWER,
        )
        for power in profile.power
    )
    return replace(profile, latency=latency, power=powers)


def board_here(named: str | None, root: Path) -> Board:
    """Give the profile named, or recognised from `root`, if it is of this architecture.

    A Raspberry Pi that no profile is of gets the `nearest` one, `widened`, with a note.
    """
    emulated = read_emulated(root)
    if emulated is not None:
        return _emulated_board(named, emulated)
    board = Board(load_profile(named), None) if named is not None else _recognised(root)
    profile = board.profile
    if profile is None or profile.architecture == platform.machine():
        return board
    return Board(
        None,
        f"the board profile {profile.name} is of an {profile.architecture} board, this machine "
        f"is {platform.machine()}: the board's power model says nothing about it",
    )


def _emulated_board(named: str | None, emulated: Emulated) -> Board:
    own = load_profile(emulated.profile)
    profile = own if named is None else load_profile(named)
    if profile.cpu.core != own.cpu.core:
        return Board(
            None,
            f"the board profile {profile.name} is of a {profile.cpu.core}, this board emulates a "
            f"{own.cpu.core}, whose instructions are others",
        )
    return Board(profile, None)


def _recognised(root: Path) -> Board:
    model = device_tree_model(root)
    if model is None:
        return Board(None, f"this machine names no board: {_WAY_OUT}")
    profile = recognise(model)
    if profile is not None:
        return Board(profile, None)
    profile = nearest(model, _compatible(root))
    if profile is None:
        return Board(None, f"there is no profile for {model!r}: {_WAY_OUT}")
    note = (
        f"there is no profile for {model!r}: that of the {profile.description}, which has the same "
        f"chip, is used, and its power's interval stretched by {_WIDER_POWER:g} both ways; a "
        "profile of its own comes from edgekit boards calibrate"
    )
    return Board(widened(profile), None, note)


def _compatible(root: Path) -> tuple[str, ...]:
    path = root / _COMPATIBLE
    if not path.exists():
        return ()
    names = path.read_bytes().decode("utf-8", errors="replace").split("\0")
    return tuple(name for name in names if name)


def _parse(text: str, file: str) -> BoardProfile:
    try:
        return parse_board(tomllib.loads(text), file)
    except tomllib.TOMLDecodeError as error:
        raise BoardProfileError(f"{file}: it is not TOML: {error}") from error
