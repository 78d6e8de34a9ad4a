"""The files that clients put on a board, kept by content so that none travels twice."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgekit_device.errors import RequestError
from edgekit_device.golden import file_sha256

DEFAULT_BYTES = 2 * 10**9
"""How much the depot keeps unless it is told otherwise; also the size of the largest file."""

_UNUSED_S, _UNFINISHED_S = 30 * 86400.0, 86400.0
_SPARE_BYTES = 16 * 10**6


class Depot:
    """Files by their SHA-256 in one folder, which several agents may share.

    `files/` holds whole files, their last use as the time of modification; `incoming/` what is on
    its way. The oldest go when a new file needs their place, or when nobody has used them for 30
    days.
    """

    def __init__(self, folder: Path, most_bytes: int = DEFAULT_BYTES) -> None:
        """Know the folder; nothing is made before the first file comes."""
        self._folder, self.most_bytes = folder, most_bytes
        self._files, self._incoming = folder / "files", folder / "incoming"

    def put(self, sha256: str, size: int, offset: int, data: bytes) -> int:
        """Add a piece of a file and give how many of its `size` bytes are here.

        A piece that does not begin where the file here ends is left out, so that a client goes on
        from the answer, whatever became of its earlier lines.

        Raises:
            RequestError: the hash is none or not that of the whole file, the size is beyond the
                limit or not that of the pieces, or the disk is full.
        """
        self._check(sha256, size)
        whole, partial = self._files / sha256, self._incoming / sha256
        with refused_by_the_disk(self._folder), self._alone():
            if whole.exists():
                return self._known(whole, size)
            have = partial.stat().st_size if partial.exists() else 0
            if have > size:
                partial.unlink()
                have = 0
            if have + len(data) > size:
                raise RequestError(
                    "wrong-size",
                    f"the file has {size} bytes, but {have} are here and {len(data)} more came",
                )
            if offset == have and (data or not size):
                self._append(partial, data, size - have)
                have += len(data)
                if have == size:
                    self._finish(partial, whole)
        return have

    def place(self, sha256: str, target: Path) -> None:
        """Give a whole file a second name; its content is checked on the way.

        Raises:
            RequestError: it is not here ("missing-file"), or was damaged and is so no more.
        """
        if not is_sha256(sha256):
            raise _no_hash(sha256)
        whole = self._files / sha256
        with refused_by_the_disk(self._folder), self._alone():
            if whole.exists() and file_sha256(whole) != sha256:
                whole.unlink()
            if not whole.exists():
                raise RequestError("missing-file", f"there is no file {sha256} here: put it first")
            os.utime(whole)
            try:
                os.link(whole, target)
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
                    raise
                shutil.copyfile(whole, target)

    def sweep(self) -> None:
        """Remove what nobody has used or finished for long."""
        now_s = time.time()
        with refused_by_the_disk(self._folder), self._alone():
            for folder, age_s in ((self._files, _UNUSED_S), (self._incoming, _UNFINISHED_S)):
                for file in folder.iterdir():
                    if now_s - file.stat().st_mtime > age_s:
                        file.unlink()

    def free_bytes(self) -> int:
        """Give what the disk has left, with what the depot could give up."""
        there = self._folder
        with refused_by_the_disk(self._folder):
            while not there.exists():
                there = there.parent
            if self._files.exists():
                with self._alone():
                    kept = sum(file.stat().st_size for file in _listed(self._files))
            else:
                kept = 0
            return shutil.disk_usage(there).free + kept

    def _check(self, sha256: str, size: int) -> None:
        if not is_sha256(sha256):
            raise _no_hash(sha256)
        if size < 0:
            raise RequestError(
                "bad-request", f"put.bytes: a size is not negative. Received: {size}"
            )
        if size > self.most_bytes:
            raise RequestError(
                "too-large",
                f"this board keeps {self.most_bytes} bytes, the file has {size}: start its agent "
                "with a larger --store-limit",
            )

    def _known(self, whole: Path, size: int) -> int:
        there = whole.stat().st_size
        if there != size:
            raise RequestError(
                "wrong-size", f"the file {whole.name} has {there} bytes. Received: {size}"
            )
        os.utime(whole)
        return there

    def _append(self, partial: Path, data: bytes, coming: int) -> None:
        self._make_room(coming, partial)
        with partial.open("ab", buffering=0) as file:
            begin = file.tell()
            try:
                if file.write(data) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                os.ftruncate(file.fileno(), begin)
                raise

    def _finish(self, partial: Path, whole: Path) -> None:
        if file_sha256(partial) != whole.name:
            partial.unlink()
            raise RequestError(
                "wrong-hash",
                f"what came has not the SHA-256 {whole.name}: it was removed, send it again",
            )
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.rename(whole)

    def _make_room(self, coming: int, partial: Path) -> None:
        there = {file: file.stat() for file in (*_listed(self._files), *_listed(self._incoming))}
        total = sum(stat.st_size for stat in there.values())
        for file in sorted(there, key=lambda file: there[file].st_mtime):
            short = shutil.disk_usage(self._folder).free < coming + _SPARE_BYTES
            if total + coming <= self.most_bytes and not short:
                return
            if file != partial:
                file.unlink()
                total -= there[file].st_size
        free = shutil.disk_usage(self._folder).free
        if free < coming + _SPARE_BYTES:
            raise RequestError(
                "disk-full",
                f"the disk of {self._folder} has {free} bytes left, {coming} are to come: free "
                "some space on the board",
            )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        # A model may be a secret to others who use the board.
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self._files, self._incoming):
            folder.mkdir(exist_ok=True)
        with (self._folder / "lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


@contextmanager
def refused_by_the_disk(folder: Path) -> Iterator[None]:
    """Turn what the disk refuses inside into an answer ("disk-full", "disk")."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        way_out = "free some space on the board" if full else "make it writable, or name --store"
        raise RequestError(
            "disk-full" if full else "disk",
            f"the agent's folder {folder} takes no more ({error.strerror or error}): {way_out}",
        ) from error


def is_sha256(text: str) -> bool:
    """Say whether the text is a SHA-256 as it is written here."""
    return re.fullmatch(r"[0-9a-f]{64}", text) is not None


def _no_hash(text: str) -> RequestError:
    return RequestError(
        "bad-request",
        f"a sha256 is written in 64 small hexadecimal digits. Received: {text[:80]!r}",
    )


def _listed(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.exists() else []
