"""The kernel of emulated boards: its file, and those of its modules that a board needs."""

from __future__ import annotations

import lzma
import re
from pathlib import Path

from edgekit.errors import BoardError

_NEEDED = ("virtio_mmio", "virtio_blk", "virtio_console")
_DEPENDS = re.compile(rb"(?:^|\0)depends=([^\0]*)\0")


def kernel_file(root: Path) -> Path:
    """The kernel in an unpacked package.

    Raises:
        BoardError: there is not just one.
    """
    found = sorted((root / "boot").glob("vmlinuz-*"))
    if len(found) != 1:
        raise BoardError(f"The kernel's package has {len(found)} kernels; one was expected.")
    return found[0]


def modules(root: Path) -> dict[str, bytes]:
    """The modules that find a disk and a serial port, in the order in which they are loaded.

    What is built into the kernel is left out.

    Raises:
        BoardError: the kernel has no such module.
    """
    files = {_name(file): file for file in root.glob("**/lib/modules/*/kernel/**/*.ko*")}
    built_in = {
        _name(Path(line))
        for listing in root.glob("**/lib/modules/*/modules.builtin")
        for line in listing.read_text().splitlines()
    }
    found: dict[str, bytes] = {}

    def load(name: str) -> None:
        if name in found or name in built_in:
            return
        if name not in files:
            raise BoardError(f"The kernel of emulated boards lacks the module {name}.")
        content = _content(files[name])
        for needed in _DEPENDS.findall(content)[:1]:
            for other in needed.decode().split(","):
                if other:
                    load(other.replace("-", "_"))
        found[name] = content

    for name in _NEEDED:
        load(name)
    return found


def _name(file: Path) -> str:
    return file.name.partition(".")[0].replace("-", "_")


def _content(file: Path) -> bytes:
    content = file.read_bytes()
    return lzma.decompress(content) if file.suffix == ".xz" else content
