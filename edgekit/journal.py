"""One run in a folder at a time, and a note of it that outlives a kill."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from edgekit.disk import leftovers, remove, storing, write_whole
from edgekit.errors import DiskError, EdgeKitError, RunError
from edgekit.progress import FOUND, Listener, Step
from edgekit.store import MEASURED, STAGES
from edgekit_converters.errors import ConverterError

_MOST = 1 << 16


@dataclass(frozen=True)
class Entry:
    """Who works in a run folder, and since when."""

    pid: int
    host: str
    started: str
    command: str


@contextmanager
def alone(run: Path, command: str) -> Iterator[Entry]:
    """Keeps every other run out of the folder; the kernel ends it with the process.

    Raises:
        RunError: another run is at work there, or the file system has no locks.
    """
    entry = Entry(
        os.getpid(),
        socket.gethostname(),
        datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command,
    )
    with storing(run, "its lock"):
        handle = os.open(run / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _lock(handle, run)
        with storing(run, "its lock"):
            os.ftruncate(handle, 0)
            os.pwrite(handle, json.dumps(asdict(entry)).encode(), 0)
        yield entry
    finally:
        os.close(handle)


@contextmanager
def under_way(run: Path, kind: str, entry: Entry, progress: Listener) -> Iterator[bool]:
    """Notes that a run of this kind is under way until it ends, well or with a user's error.

    Gives whether the one before it was interrupted: killed, stopped, or out of disk. What that one
    has left unfinished is removed, and what was found is told. Call it inside `alone`.
    """
    journal = run / f".{kind}.json"
    with storing(run, "its journal"):
        interrupted = journal.exists()
        _clean_up(run, journal, progress)
        if not interrupted and kind == "compare":
            # Measurements of a comparison that came to its end.
            remove(run / MEASURED)
        write_whole(journal, json.dumps(asdict(entry)) + "\n")
    try:
        yield interrupted
    except DiskError:
        raise
    except (EdgeKitError, ConverterError):
        journal.unlink(missing_ok=True)
        raise
    with storing(run, "its journal"):
        journal.unlink(missing_ok=True)
        if kind == "compare":
            remove(run / MEASURED)


def _lock(handle: int, run: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        other = _read(os.pread(handle, _MOST, 0))
        who = "another edgekit"
        if other is not None and _alive(other):
            who = f"the process {other.pid} on {other.host} since {other.started}"
            who += f" ({other.command})" if other.command else ""
        raise RunError(
            f"{run} is in use by {who}; wait for its end, or name another folder with --out."
        ) from error
    except OSError as error:
        raise RunError(
            f"{run} is on a file system without file locks ({error.strerror}), so nothing keeps "
            "two runs apart there; name a folder on a local disk with --out."
        ) from error


def _alive(other: Entry) -> bool:
    """False if the entry is that of an earlier holder who has ended."""
    if other.host != socket.gethostname():
        return True
    try:
        os.kill(other.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _read(content: bytes) -> Entry | None:
    try:
        return Entry(**json.loads(content))
    except (ValueError, TypeError):
        return None


def _clean_up(run: Path, journal: Path, progress: Listener) -> None:
    """Removes what is unfinished and tells of it."""
    earlier = _read(journal.read_bytes()) if journal.exists() else None
    begun = leftovers(run / STAGES)
    folders = (run, run / MEASURED, run / "files", run / "optimized")
    for path in (*begun, *(path for folder in folders for path in leftovers(folder))):
        remove(path)
    if not journal.exists() and not begun:
        return
    who = "an earlier run" if earlier is None else f"the run that began at {earlier.started}"
    kept = sum(not path.name.startswith(".") for path in (run / STAGES).iterdir())
    again = ", the unfinished one starts over" if begun else ""
    stages = "1 finished stage is" if kept == 1 else f"{kept} finished stages are"
    progress(Step(FOUND, 1.0, f"{who} was interrupted; {stages} kept{again}"))
