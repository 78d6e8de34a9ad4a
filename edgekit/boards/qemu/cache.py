"""Where emulated boards keep what they are made of: $XDG_CACHE_HOME/edgekit/qemu."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edgekit.boards.qemu.host import disk_full
from edgekit.errors import DiskError
from edgekit.progress import Listener, Step

_FULL = (errno.ENOSPC, errno.EDQUOT)
_CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EEXIST, errno.ENOTDIR)
_KEPT = 2


def cache_folder() -> Path:
    """The folder of all that belongs to emulated boards; it may be removed as a whole."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache).absolute() / "edgekit" / "qemu"


@contextmanager
def building(folder: Path, progress: Listener) -> Iterator[None]:
    """Holds the folder alone for building; whoever comes second waits.

    Raises:
        DiskError: the disk is full, or the folder cannot be written.
    """
    with keeping(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        # Programs that outlive us, if we are killed, hold it until they have ended: they write too.
        os.set_inheritable(lock, True)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress(Step("wait", None, "another edgekit builds the image of emulated boards"))
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


@contextmanager
def keeping(folder: Path) -> Iterator[None]:
    """What the disk refuses inside becomes a sentence.

    Raises:
        DiskError: the disk is full, or the folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise disk_full(folder) from error
        if error.errno not in _CLOSED:
            raise
        raise DiskError(
            f"{folder}, where emulated boards are kept, cannot be written ({error.strerror}): make "
            "it writable, or name another folder in XDG_CACHE_HOME."
        ) from error


def layer(folder: Path, key: str, make: Callable[[Path], None]) -> Path:
    """The folder of that key: found whole, or made aside and then put in its place.

    To be called under `building`: what a killed process left is removed. The last few used stay.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    whole, partial = folder / key, folder / ".partial"
    if not whole.is_dir():
        folder.mkdir(exist_ok=True)
        if partial.exists():
            shutil.rmtree(partial)
        partial.mkdir()
        try:
            make(partial)
            for file in partial.iterdir():
                _to_disk(file)
            partial.rename(whole)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    os.utime(whole)
    others = [path for path in folder.iterdir() if path.is_dir() and path != partial]
    for old in sorted(others, key=lambda path: path.stat().st_mtime)[:-_KEPT]:
        # An emulator that runs on it holds its files open. Killed in between, half of it would be
        # taken for whole under its own name.
        old.rename(partial)
        shutil.rmtree(partial)
    return whole


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
