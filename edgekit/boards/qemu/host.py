"""Programs of this machine that emulated boards need, and what to say when one is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgekit.errors import BoardError, DiskError

QEMU = "qemu-system-aarch64"

# The Debian package that brings each program.
_PACKAGES = {
    QEMU: "qemu-system-arm",
    "mke2fs": "e2fsprogs",
    "dpkg-deb": "dpkg",
    "apt-get": "apt",
}
# mke2fs is an administrator's program, but works for everybody.
_MORE_FOLDERS = ("/usr/sbin", "/sbin")
NO_SPACE = "No space left on device"
"""What programs say when the disk is full."""


def check_programs(*names: str) -> None:
    """Raises BoardError that names all that is missing, with the command that installs it."""
    missing = [name for name in names if _find(name) is None]
    if not missing:
        return
    if "apt-get" in missing or "dpkg-deb" in missing:
        raise BoardError(
            f"Emulated boards need {' and '.join(missing)}, which this machine lacks: their system "
            "is put together from Debian's packages, so use a Debian machine or container."
        )
    packages = " ".join(dict.fromkeys(_PACKAGES[name] for name in missing))
    raise BoardError(
        f"Emulated boards need {' and '.join(missing)}, which this machine lacks; on Debian: "
        f"sudo apt-get install {packages}"
    )


def program(name: str) -> str:
    """The program's path.

    Raises:
        BoardError: it is not installed.
    """
    found = _find(name)
    if found is None:
        check_programs(name)
    return str(found)


def run(
    name: str,
    arguments: Sequence[str | Path],
    changed: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
) -> str:
    """What the program prints, in plain English.

    Raises:
        FailedError: it fails.
        DiskError: it fails because the disk is full.
        BoardError: it is not installed.
    """
    command = [name if "/" in name else program(name), *map(str, arguments)]
    environment = {**os.environ, "LC_ALL": "C.UTF-8", **(changed or {})}
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        env=environment,
        cwd=cwd,
        close_fds=bool(pass_fds),
        pass_fds=pass_fds,
    )
    said = done.stderr.decode("utf-8", errors="replace")
    if done.returncode and NO_SPACE in said:
        raise disk_full(cwd)
    if done.returncode:
        raise FailedError(name, done.returncode, said)
    return done.stdout.decode("utf-8", errors="replace")


def disk_full(folder: Path | None) -> DiskError:
    """What to say when the image of emulated boards finds no room."""
    where = f" of {folder}" if folder else ""
    return DiskError(
        f"The disk{where} is full: the image of emulated boards needs about 900 MB while it is "
        "built; free some space, or name another folder in XDG_CACHE_HOME, and try again."
    )


class FailedError(BoardError):
    """A program that failed; its exit code, and what it `said` to its standard error."""

    def __init__(self, name: str, code: int, said: str) -> None:
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        super().__init__(f"{name} fails here (code {code}): {lines[-1] if lines else 'in silence'}")
        self.code, self.said = code, said


def _find(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(_MORE_FOLDERS))
