"""Boards by their names: what the user writes, and what is remembered under a word."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

from edgekit.boards.channel import Board
from edgekit.boards.local import local_board
from edgekit.boards.profile_file import toml_text
from edgekit.boards.qemu import KIND, qemu_board
from edgekit.boards.ssh import AGENT_PYTHON, SshBoard, ssh_board
from edgekit.disk import write_whole
from edgekit.errors import BoardError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SCHEMA = "edgekit.boards/1"

_KEYS = {"url", "python", "profile"}
_KINDS = ("local", KIND)


def parse_board(text: str) -> Board:
    """Reads `local`, `local:PYTHON`, `qemu:PROFILE`, `ssh://user@host[:port]`, or a name.

    Raises:
        BoardError: no board of that form or name.
    """
    kind, _, _ = text.partition(":")
    if kind == "local":
        return local_board(text)
    if kind == KIND:
        return qemu_board(text)
    if text.startswith("ssh://"):
        return ssh_board(text)
    remembered = boards()
    if text in remembered:
        return remembered[text]
    names = f" (remembered: {', '.join(remembered)})" if remembered else ""
    raise BoardError(
        f"{text!r} is no board{names}; give local, local:PYTHON with the interpreter of an "
        "environment that has edgekit-device, qemu:pi4, ssh://user@host, or a name that was given "
        "with edgekit boards add NAME ssh://user@host."
    )


def boards_file() -> Path:
    """Where boards are remembered: in the user's configuration folder."""
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(config) / "edgekit" / "boards.toml"


def profile_file(board: Board) -> Path:
    """Where the board's own profile is kept, which edgekit boards calibrate writes."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", str(board)).strip("-.")
    return boards_file().parent / "profiles" / f"{name}.toml"


def boards() -> dict[str, SshBoard]:
    """The boards that are remembered, by name.

    Raises:
        BoardError: the file cannot be read or breaks a rule of its schema.
    """
    file = boards_file()
    try:
        data = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _unusable(file, f"it cannot be read: {error}") from error
    entries = data.get("boards", {})
    if data.get("schema") != SCHEMA or data.keys() - {"schema", "boards"}:
        raise _unusable(file, f"it needs schema = {SCHEMA!r} and tables [boards.NAME]")
    if not isinstance(entries, dict):
        raise _unusable(file, "boards must be tables [boards.NAME]")
    return {name: _board(file, name, entry) for name, entry in entries.items()}


def remember(board: SshBoard, name: str) -> SshBoard:
    """Remembers the board under the name, in place of another one of that name.

    One of the same url leaves it its profile, if that is still there.

    Raises:
        BoardError: the name is none, or the file cannot be read or written.
    """
    check_name(name)
    known = boards()
    named = replace(board, name=name)
    earlier = known.get(name)
    kept = earlier.profile if earlier is not None and earlier.url == named.url else None
    gone = kept is not None and kept.endswith(".toml") and not Path(kept).exists()
    if named.profile is None and not gone:
        named = replace(named, profile=kept)
    _write({**known, name: named})
    return named


def forget(name: str) -> SshBoard:
    """Forgets the board of that name; what is installed there stays.

    Raises:
        BoardError: there is none.
    """
    found = boards()
    if name not in found:
        known = ", ".join(found) or "none"
        raise BoardError(f"no board is remembered as {name!r}; there are: {known}.")
    board = found.pop(name)
    _write(found)
    return board


def check_name(name: str) -> None:
    """Raises BoardError for what cannot be a board's name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name) or name in _KINDS:
        raise BoardError(
            f"{name!r} cannot be a board's name: give letters, digits, -, _ and . (and not "
            f"{' or '.join(_KINDS)})."
        )


def _board(file: Path, name: str, entry: object) -> SshBoard:
    texts = isinstance(entry, dict) and all(isinstance(value, str) for value in entry.values())
    if not isinstance(entry, dict) or not texts or entry.keys() - _KEYS or "url" not in entry:
        raise _unusable(file, f"boards.{name} needs url and may have python and profile, all texts")
    board = ssh_board(entry["url"], name, entry.get("python", AGENT_PYTHON))
    return replace(board, profile=entry.get("profile"))


def _write(found: dict[str, SshBoard]) -> None:
    file = boards_file()
    # JSON's strings are TOML's, as long as they are ASCII.
    lines = [f"schema = {json.dumps(SCHEMA)}"]
    for name, board in found.items():
        lines += ["", f'[boards."{name}"]', f"url = {json.dumps(board.url)}"]
        if board.python != AGENT_PYTHON:
            lines.append(f"python = {json.dumps(board.python)}")
        if board.profile is not None:
            lines.append(f"profile = {toml_text(board.profile)}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, "\n".join(lines) + "\n")
    except OSError as error:
        raise BoardError(
            f"{file} cannot be written ({error.strerror}); make its folder writable."
        ) from error


def _unusable(file: Path, rule: str) -> BoardError:
    return BoardError(f"{file}: {rule}. Mend it, or remove it and add the boards again.")
