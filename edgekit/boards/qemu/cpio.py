"""An archive as the Linux kernel unpacks it into its first file system (cpio, "newc")."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

_FIELDS = 14
_END = "TRAILER!!!"


def archive(files: Mapping[str, bytes | Path]) -> bytes:
    """The files under their paths in the archive, with the folders that they need.

    A file is its content (a program that all may run), or a path here, whose permissions are kept;
    the owner is root. The format: Documentation/driver-api/early-userspace/buffer-format.rst of the
    kernel.
    """
    folders = {
        str(parent)
        for name in files
        for parent in PurePosixPath(name).parents
        if str(parent) != "."
    }
    entries = [(name, stat.S_IFDIR | 0o755, b"") for name in sorted(folders)]
    for name, source in sorted(files.items()):
        if isinstance(source, Path):
            mode = stat.S_IFREG | stat.S_IMODE(source.stat().st_mode)
            entries.append((name, mode, source.read_bytes()))
        else:
            entries.append((name, stat.S_IFREG | 0o755, source))
    packed = [_entry(number + 1, *entry) for number, entry in enumerate(entries)]
    return b"".join([*packed, _entry(0, _END, 0, b"")])


def _entry(inode: int, name: str, mode: int, content: bytes) -> bytes:
    words = [0] * (_FIELDS - 1)
    words[0], words[1], words[4], words[6] = inode, mode, 1, len(content)
    words[11] = len(name.encode()) + 1
    head = "070701" + "".join(f"{word:08x}" for word in words)
    return _padded(head.encode() + name.encode() + b"\0") + _padded(content)


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 4)
