"""Emulated boards that are up: each a folder that only its user can open, and a QEMU of its own.

QEMU holds the folder's lock as long as it lives, a client holds another one as long as it talks:
so neither the pid of a dead process nor a socket that nobody serves is taken for a board.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgekit.boards.qemu.cache import cache_folder, keeping
from edgekit.boards.qemu.emulator import last_words, start_detached
from edgekit.boards.qemu.image import Image
from edgekit.boards.qemu.machine import Machine
from edgekit.errors import BoardError

_LOCK, _CLIENT, _PID, _AGENT, _CONSOLE, _IMAGE = (
    "lock",
    "client",
    "pid",
    "agent",
    "console",
    "image",
)
_PATIENCE_S = 10.0
_LOOKS = 10


class BusyError(BoardError):
    """A board that is up, with another client."""


def boards_up() -> list[str]:
    """The names of the boards that are up."""
    folders = _home().iterdir() if _home().is_dir() else ()
    return sorted(folder.name for folder in folders if is_up(folder.name))


def is_up(name: str) -> bool:
    """Whether the board has been booted and its emulator lives."""
    return _is_held(_home() / name / _LOCK)


def image_of(name: str) -> str:
    """Which image a board that is up was booted from, by the name of its archive."""
    try:
        return (_home() / name / _IMAGE).read_text("utf-8")
    except FileNotFoundError:
        return ""


def boot(machine: Machine, image: Image) -> None:
    """Starts an emulator that lives until `take_down`; the board is not asked yet.

    Raises:
        BoardError: QEMU cannot be started, or the board is up already.
        DiskError: the folder cannot be written.
    """
    folder = _home() / machine.name
    with keeping(folder):
        for path in (_home(), folder):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.chmod(0o700)
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if not _hold(lock):
                raise BoardError(f"{machine} is being booted or up already.")
            for name in (_AGENT, _PID):
                (folder / name).unlink(missing_ok=True)
            (folder / _IMAGE).write_text(str(image.archive), encoding="utf-8")
            try:
                start_detached(machine, image, folder, lock)
            except BoardError:
                _remove(folder)
                raise
        finally:
            os.close(lock)


def take_down(name: str) -> bool:
    """Ends a board's emulator and removes its folder; says whether it was up.

    Raises:
        BoardError: the emulator cannot be ended.
    """
    folder, was_up = _home() / name, is_up(name)
    until_s = time.monotonic() + _PATIENCE_S
    while is_up(name):
        late = time.monotonic() > until_s
        pid = _number(folder / _PID)
        if pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
        if time.monotonic() > until_s + _PATIENCE_S:
            raise BoardError(
                f"The emulator of {name} does not end"
                + (f": end process {pid} by hand." if pid else ", and does not tell its number.")
            )
        time.sleep(0.05)
    _remove(folder)
    return was_up


def console(name: str) -> tuple[str, ...]:
    """What a board's console said last."""
    try:
        with (_home() / name / _CONSOLE).open("rb") as file:
            return last_words(file)
    except FileNotFoundError:
        return ()


@contextmanager
def _folder_of(name: str) -> Iterator[str]:
    """A path by which the folder is short enough for a socket's name."""
    descriptor = os.open(_home() / name, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


class Port:
    """The agent's port of a board that is up, for us alone until it is closed."""

    def __init__(self, name: str) -> None:
        """Opens it.

        Raises:
            BusyError: another client has it.
            OSError: the board is going down at this moment.
        """
        self._lock = os.open(_home() / name / _CLIENT, os.O_RDWR | os.O_CREAT, 0o600)
        self.socket = socket.socket(socket.AF_UNIX)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, str(os.getpid()).encode(), 0)
            with _folder_of(name) as folder:
                self.socket.connect(f"{folder}/{_AGENT}")
        except BlockingIOError as error:
            holder = os.pread(self._lock, 20, 0).decode("ascii", errors="replace")
            self.close()
            raise BusyError(
                f"qemu:{name} is in use by process {holder or '?'}, and an emulated board has one "
                "client at a time: wait for its end, or end it."
            ) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Gives it back; again: nothing."""
        self.socket.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    # The last one's removal leaves nothing.
    with suppress(OSError):
        _home().rmdir()


def _home() -> Path:
    return cache_folder() / "up"


def _hold(lock: int) -> bool:
    """Whether the lock is ours now: who only looks whether a board is up has it for a moment."""
    for _ in range(_LOOKS):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(0.05)
    return False


def _is_held(lock: Path) -> bool:
    try:
        descriptor = os.open(lock, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)


def _number(file: Path) -> int | None:
    try:
        found = re.fullmatch(r"\s*(\d+)\s*", file.read_text("ascii"))
    except (OSError, UnicodeDecodeError):
        return None
    return int(found[1]) if found else None
