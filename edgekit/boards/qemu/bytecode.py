"""Python's bytecode for a system that is not run here: without it each boot would compile anew."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_SAY_VERSION = "import sys; print(*sys.version_info[:2])"


def compile_all(folders: Sequence[Path], root: Path, python: tuple[int, int]) -> bool:
    """Compiles all modules below the folders, with a Python of that version, and says whether.

    `root` is what the paths in tracebacks leave out. Without such a Python here the boards do
    without: they boot more slowly.
    """
    interpreter = _interpreter(python)
    if interpreter is None:
        return False
    # Checked by no date: the files' dates change on the way into an archive.
    options = ["-q", "-q", "-j", str(os.cpu_count() or 1), "--invalidation-mode", "unchecked-hash"]
    command = [interpreter, "-I", "-m", "compileall", *options, "-s", str(root), "-p", "/"]
    # Some packages bring files for tests that no Python compiles.
    line = [*command, *map(str, folders)]
    subprocess.run(line, check=False, capture_output=True, close_fds=False)
    return True


def _interpreter(python: tuple[int, int]) -> str | None:
    if sys.version_info[:2] == python:
        return sys.executable
    name = f"python{python[0]}.{python[1]}"
    for candidate in (f"/usr/bin/{name}", shutil.which(name)):
        if candidate and _version(candidate) == python:
            return candidate
    return None


def _version(interpreter: str) -> tuple[int, ...]:
    try:
        done = subprocess.run(
            [interpreter, "-c", _SAY_VERSION], capture_output=True, text=True, check=False
        )
        return tuple(int(part) for part in done.stdout.split())
    except (OSError, ValueError):
        return ()
