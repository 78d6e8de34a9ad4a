"""Builds the NEPU delegate's library from the sources in this package, here or for a board."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import edgekit_device
from edgekit_device.errors import DelegateUnavailableError

TARGETS = ("aarch64", "x86_64")

# The oldest C library of a board's system: Raspberry Pi OS bullseye has 2.31, wheels want 2.17.
_ZIG_TARGETS = {target: f"{target}-linux-gnu.2.17" for target in TARGETS}
_FLAGS = (
    *("-std=c++17", "-O3", "-DNDEBUG", "-fPIC", "-shared", "-s"),
    # Contracted multiplications and additions would round differently from the runtime's.
    *("-fvisibility=hidden", "-ffp-contract=off", "-Wl,--no-undefined"),
)


def build_delegate(target: str | None = None, out: Path | None = None) -> Path:
    """Build the library for `target` (default: this machine) and give its path.

    Without `out`, this machine's library goes into the package, where it is found; another
    machine's into the working directory.

    Raises:
        DelegateUnavailableError: no compiler for the target, or it fails.
    """
    here = platform.machine()
    wanted = target or here
    if wanted not in TARGETS:
        raise DelegateUnavailableError(
            f"the delegate can be built for {' and '.join(TARGETS)}. Received: {wanted!r}"
        )
    package = Path(edgekit_device.__path__[0])
    if out is None:
        name = "libedgekit_nepu.so"
        out = package / "_native" / name if wanted == here else Path(f"{wanted}-{name}")
    sources = sorted(str(file) for file in (package / "native").glob("*.cpp"))
    exports = f"-Wl,--version-script={package / 'native' / 'exports.map'}"
    _write(out, [*compiler(wanted, "C++"), *_FLAGS, exports, *sources, "-o"])
    return out


def compiler(target: str, language: str) -> list[str]:
    """Give the command of a compiler of "C" or "C++" for the target.

    The system's own comes first, then Debian's cross compiler, then ziglang from PyPI.

    Raises:
        DelegateUnavailableError: there is none; the message says what to install.
    """
    variable, names, driver = {
        "C": ("CC", ("cc", "gcc", "clang"), "gcc"),
        "C++": ("CXX", ("c++", "g++", "clang++"), "g++"),
    }[language]
    native = target == platform.machine()
    candidates = [f"{target}-linux-gnu-{driver}"]
    if native:
        chosen = os.environ.get(variable)
        candidates = [chosen] if chosen else [*names, *candidates]
    for candidate in candidates:
        if shutil.which(candidate):
            return [candidate]
    if find_spec("ziglang") is not None:
        zig = {"C": "cc", "C++": "c++"}[language]
        return [sys.executable, "-m", "ziglang", zig, "-target", _ZIG_TARGETS[target]]
    package = "g++" if native else f"g++-{target.replace('_', '-')}-linux-gnu"
    raise DelegateUnavailableError(
        f"no {language} compiler for {target} is installed (looked for {', '.join(candidates)} and "
        f"ziglang): apt-get install {package}, or pip install ziglang"
    )


def _write(out: Path, command: Sequence[str]) -> None:
    """Run the command with a file to write behind it, which then takes its place as `out`."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent) as folder:
            made = Path(folder) / out.name
            done = subprocess.run(
                [*command, str(made)], capture_output=True, text=True, check=False
            )
            if done.returncode != 0:
                raise DelegateUnavailableError(
                    f"the compiler {command[0]} failed:\n{done.stderr.strip()[-2000:]}"
                )
            os.replace(made, out)
    except OSError as error:
        raise DelegateUnavailableError(
            f"the delegate cannot be written to {out}: {error}; name another file with --out, and "
            "in the variable EDGEKIT_NEPU_LIBRARY"
        ) from error
