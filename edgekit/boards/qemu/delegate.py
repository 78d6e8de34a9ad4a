"""The NEPU delegate's library for emulated boards, cross-compiled where there is a compiler."""

from __future__ import annotations

import hashlib
from pathlib import Path

import edgekit_device
from edgekit.store import content_key
from edgekit_device.build_delegate import build_delegate, compiler
from edgekit_device.delegate import LIBRARY
from edgekit_device.errors import DelegateUnavailableError

_TARGET = "aarch64"
_SOURCES = Path(edgekit_device.__path__[0]) / "native"


def delegate_key() -> str | None:
    """A key of the library's sources and compiler; None where it cannot be built."""
    try:
        command = compiler(_TARGET, "C++")
    except DelegateUnavailableError:
        return None
    digest = hashlib.sha256()
    for file in sorted(_SOURCES.iterdir()):
        digest.update(f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return content_key({"compiler": command, "sources": digest.hexdigest()})


def make_delegate(folder: Path) -> None:
    """Builds the library into the folder.

    Raises:
        DelegateUnavailableError: the compiler fails.
    """
    build_delegate(_TARGET, folder / LIBRARY)
