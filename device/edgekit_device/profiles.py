"""Which board profile holds for this machine: the named one, or the one that is recognised."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Board:
    """The profile that holds for this machine, or the reason why none does."""

    profile: BoardProfile | None
    reason: str | None


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
        except (OSError, UnicodeDecodeError) as error:
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


def board_here(named: str | None, root: Path) -> Board:
    """Give the profile named, or recognised from `root`, if it is of this architecture."""
    emulated = read_emulated(root)
    if emulated is not None:
        return _emulated_board(named, emulated)
    profile = load_profile(named) if named is not None else _recognised(root)
    if isinstance(profile, str):
        return Board(None, profile)
    architecture = platform.machine()
    if profile.architecture != architecture:
        return Board(
            None,
            f"the board profile {profile.name} is of an {profile.architecture} board, this machine "
            f"is {architecture}: the board's power model says nothing about it",
        )
    return Board(profile, None)


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


def _recognised(root: Path) -> BoardProfile | str:
    model = device_tree_model(root)
    profile = recognise(model) if model is not None else None
    if profile is not None:
        return profile
    what = "this machine names no board" if model is None else f"there is no profile for {model!r}"
    return f"{what}: give a board profile with --profile NAME or --profile FILE.toml"


def _parse(text: str, file: str) -> BoardProfile:
    try:
        return parse_board(tomllib.loads(text), file)
    except tomllib.TOMLDecodeError as error:
        raise BoardProfileError(f"{file}: it is not TOML: {error}") from error
