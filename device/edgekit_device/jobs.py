"""Jobs of a board: each a folder, so that an agent finds the ends of what another one began."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from edgekit_device.arithmetic import table_file
from edgekit_device.depot import Depot, refused_by_the_disk
from edgekit_device.errors import RequestError
from edgekit_device.messages import Job, NamedFile, Profile, line

END, REQUEST, WORDS = "end.json", "request.json", "words"
"""The files of a job: the message that ends it, what it was asked, and its standard error."""

CANCELLED = 143
"""The exit code of a job that was cancelled before it could write its end."""

_LOCK = "lock"
_KEPT_S, _BEGUN_S = 14 * 86400.0, 60.0
_MOST_KEPT = 100
_PATIENCE_S = 10.0
_LAST_WORDS = 2000


class Jobs:
    """The jobs in one folder. Who runs one holds its lock, whose file names the process.

    Ends are kept until they are forgotten, for at most 14 days, and the last 100.
    """

    def __init__(self, folder: Path) -> None:
        """Know the folder; it is made with the first job."""
        self._folder = folder

    def start(self, request: Job, depot: Depot) -> subprocess.Popen[bytes]:
        """Begin a job in a process of its own, whose standard output tells its progress.

        Raises:
            RequestError: there is such a job ("job-exists"), a name is none, a file is missing, the
                disk is full, or no process can be started ("start").
        """
        folder = self._folder / _checked(request.job)
        with refused_by_the_disk(self._folder):
            self._folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.mkdir(exist_ok=True)
            try:
                folder.mkdir()
            except FileExistsError as error:
                raise RequestError(
                    "job-exists",
                    f"there is a job {request.job} already: ask for its result, or forget it",
                ) from error
        lock = -1
        try:
            with refused_by_the_disk(self._folder):
                lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
                fcntl.flock(lock, fcntl.LOCK_EX)
                (folder / REQUEST).write_bytes(line(_furnish(folder, request, depot)))
            return _run(folder, lock)
        except RequestError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            if lock >= 0:
                os.close(lock)

    def state(self, job: str) -> Literal["unknown", "running", "ended"]:
        """Say how far a job is; one that was killed with its agent is unknown."""
        folder = self._folder / _checked(job)
        # In this order: a job writes its end before it lets go of its lock.
        running = _holder(folder) is not None
        if (folder / END).exists():
            return "ended"
        return "running" if running else "unknown"

    def end(self, job: str) -> bytes:
        """Give the message that ended a job.

        Raises:
            RequestError: there is none.
        """
        try:
            return (self._folder / _checked(job) / END).read_bytes()
        except FileNotFoundError as error:
            raise unknown_job(job) from error

    def last_words(self, job: str) -> str:
        """Give the last line of what a job has said beside its messages."""
        try:
            words = (self._folder / _checked(job) / WORDS).read_bytes()[-_LAST_WORDS:]
        except OSError:
            return ""
        lines = words.decode("utf-8", errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def stop(self, job: str) -> None:
        """Have a job end if it runs; it writes its end itself."""
        pid = _holder(self._folder / _checked(job))
        if pid:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                # It ended in between.
                return

    def forget(self, job: str) -> None:
        """Remove what is kept of a job; one that runs is ended first."""
        folder = self._folder / _checked(job)
        until_s = time.monotonic() + _PATIENCE_S
        self.stop(job)
        while (pid := _holder(folder)) is not None:
            if pid and time.monotonic() > until_s:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        shutil.rmtree(folder, ignore_errors=True)

    def drop(self, job: str) -> None:
        """Remove a job that has died without an end, so that it is unknown in every way."""
        folder = self._folder / _checked(job)
        if _holder(folder) is None and not (folder / END).exists():
            shutil.rmtree(folder, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what killed agents left behind, and ends that nobody fetches."""
        ends = []
        for folder in self._folder.iterdir() if self._folder.exists() else ():
            try:
                ended, age_s = (folder / END).exists(), time.time() - folder.stat().st_mtime
            except FileNotFoundError:
                # Another agent was faster.
                continue
            # A new folder may belong to an agent that is about to lock it.
            if age_s > (_KEPT_S if ended else _BEGUN_S) and _holder(folder) is None:
                shutil.rmtree(folder, ignore_errors=True)
            elif ended:
                ends.append((age_s, folder))
        for _, folder in sorted(ends)[_MOST_KEPT:]:
            shutil.rmtree(folder, ignore_errors=True)


def unknown_job(job: str) -> RequestError:
    """Say that there is nothing of such a job."""
    return RequestError(
        "unknown-job", f"there is no job {job} on this board, nor its end: start it"
    )


def model_paths(folder: Path, request: Job) -> list[Path]:
    """Give where a job's models lie: each in a folder of its own, since names may be the same."""
    return [folder / str(index) / model.file.name for index, model in enumerate(request.models)]


def _furnish(folder: Path, request: Job, depot: Depot) -> Job:
    """Put the files where the job finds them; gives the request with their paths."""
    for path, model in zip(model_paths(folder, request), request.models, strict=True):
        _place(path.parent, (model.file, *model.beside), depot)
    if isinstance(request, Profile):
        if request.board_profile is None:
            return request
        _place(folder / "board", [request.board_profile], depot)
        board = str(folder / "board" / request.board_profile.name)
        return replace(request, settings=replace(request.settings, profile=board))
    if (table_file(request.arithmetic.multiplier) is None) is not (request.table is None):
        rule = "is needed" if request.table is None else "belongs to a multiplier table(FILE) alone"
        raise RequestError(
            "bad-request",
            f"emulate.table: the file of the multiplier's table {rule}. Received with the "
            f"multiplier {request.arithmetic.multiplier!r}",
        )
    if request.table is None:
        return request
    _place(folder / "npu", [request.table], depot)
    multiplier = f"table({folder / 'npu' / request.table.name})"
    return replace(request, arithmetic=replace(request.arithmetic, multiplier=multiplier))


def _place(folder: Path, files: Sequence[NamedFile], depot: Depot) -> None:
    names = [file.name for file in files]
    for name in names:
        if not _is_name(name):
            raise RequestError(
                "bad-request",
                "a file's name has 1 to 200 bytes, no slash and no control character, and does not "
                f"begin with a dot. Received: {name[:80]!r}",
            )
    if len(set(names)) != len(names):
        raise RequestError("bad-request", f"files of one model need names of their own: {names}")
    folder.mkdir()
    for file in files:
        if file.sha256 is not None:
            depot.place(file.sha256, folder / file.name)


def _is_name(name: str) -> bool:
    try:
        size = len(name.encode("utf-8"))
    except UnicodeEncodeError:
        return False
    return 1 <= size <= 200 and name.isprintable() and "/" not in name and name[0] != "."


def _run(folder: Path, lock: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "edgekit_device.job", str(folder), str(os.getpid())]
    try:
        with (folder / WORDS).open("wb") as words:
            # The lock is the child's from now on: held as long as it lives.
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=words,
                pass_fds=[lock],
            )
    except OSError as error:
        raise RequestError("start", f"no process can be started for the job: {error}") from error
    os.write(lock, str(process.pid).encode())
    return process


def _holder(folder: Path) -> int | None:
    """The process that runs the job; 0 for one that is just being started, None for none."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        return int(os.read(lock, 20) or b"0")
    finally:
        os.close(lock)


def _checked(job: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", job):
        raise RequestError(
            "bad-request",
            f"a job is named by 1 to 64 letters, digits, - and _. Received: {job[:80]!r}",
        )
    return job
