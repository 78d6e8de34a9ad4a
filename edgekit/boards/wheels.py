"""The agent as wheels: built from the checkout it runs from here, with what it needs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import edgekit_device
from edgekit.errors import BoardError

_MANYLINUX = ("2_17", "2_27", "2_28", "2_34")


def checkout() -> Path | None:
    """The project of the agent that runs here, if it runs from one."""
    folder = Path(edgekit_device.__file__).parents[1]
    project = folder / "pyproject.toml"
    if project.is_file() and 'name = "edgekit-device"' in project.read_text("utf-8"):
        return folder
    return None


def build_wheel(project: Path, folder: Path) -> Path:
    """Builds the agent's wheel into the folder, for machines of any kind.

    The NEPU delegate is in it as source alone: edgekit-agent build-delegate builds it there.

    Raises:
        BoardError: it cannot be built.
    """
    # Without one of its own, the build needs nothing from the network.
    isolation = ["--no-build-isolation"] if find_spec("scikit_build_core") else []
    pure = ["--config-settings", "wheel.cmake=false"]
    _pip("wheel", "--no-deps", *isolation, *pure, "--wheel-dir", str(folder), str(project))
    (wheel,) = folder.glob("edgekit_device-*.whl")
    return wheel


def fetch_wheels(what: str, architecture: str, python: Sequence[int], folder: Path) -> None:
    """Fetches what the agent needs on a board without a network, as wheels for its Python.

    Raises:
        BoardError: there is no network here either, or no wheel for such a board.
    """
    options = _of_another(architecture, python)
    _pip("download", *options, "--dest", str(folder), "--find-links", str(folder), what)


def install_wheels(
    what: Sequence[str], architecture: str, python: Sequence[int], folder: Path
) -> None:
    """Unpacks packages and what they need, for a Python that is not run here, into the folder.

    Raises:
        BoardError: there is no network, or no wheel for such a Python.
    """
    options = _of_another(architecture, python)
    _pip("install", *options, "--no-compile", "--target", str(folder), *what)


def _of_another(architecture: str, python: Sequence[int]) -> list[str]:
    """pip's options that have it take wheels for another machine's Python."""
    platforms = [f"manylinux_{glibc}_{architecture}" for glibc in _MANYLINUX]
    platforms.append(f"manylinux2014_{architecture}")
    version = f"{python[0]}.{python[1]}"
    options = [part for name in platforms for part in ("--platform", name)]
    return [*options, "--python-version", version, "--only-binary", ":all:"]


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", *arguments, "--quiet", "--no-input"]
    # What is open to children is a lock: it is held as long as pip writes.
    done = subprocess.run(command, capture_output=True, text=True, check=False, close_fds=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "ERROR" in line]
        last = said[-1] if said else done.stderr.strip()[-300:]
        raise BoardError(f"pip {arguments[0]} fails here: {last.removeprefix('ERROR: ')}")
