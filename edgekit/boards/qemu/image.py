"""The image that all emulated boards start from, made where it is not there yet.

It has three layers, each under a key of what it is made from: the disk (packages and runtimes)
takes a download, the NEPU delegate a compilation, the archive with the agent only a moment. So a
change of the agent costs neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edgekit.boards.qemu.agent import archive_key, make_archive
from edgekit.boards.qemu.cache import building, cache_folder, keeping, layer
from edgekit.boards.qemu.delegate import delegate_key, make_delegate
from edgekit.boards.qemu.host import QEMU, check_programs
from edgekit.boards.qemu.system import disk_key, make_disk
from edgekit.progress import Listener, Step
from edgekit_device.errors import DelegateUnavailableError


@dataclass(frozen=True)
class Image:
    """What an emulator starts from: a kernel, the archive that it unpacks first, and a disk."""

    kernel: Path
    archive: Path
    disk: Path


def build_image(progress: Listener) -> Image:
    """The image, built where it is not there yet; two that want it at once build it once.

    Raises:
        BoardError: a program is missing, or a package cannot be fetched.
        DiskError: the disk is full, or the cache folder cannot be written.
    """
    cache, key = cache_folder(), disk_key()
    with keeping(cache):
        there = (cache / "disks" / key).is_dir()
    check_programs(QEMU, *(() if there else ("apt-get", "dpkg-deb", "mke2fs")))
    with building(cache, progress):
        disk = layer(cache / "disks", key, partial(make_disk, progress=progress))
        delegate = _delegate(cache / "delegates", progress)
        make = partial(make_archive, disk=disk, delegate=delegate)
        archive = layer(cache / "agents", archive_key(disk, delegate), make)
    return Image(disk / "kernel", archive / "archive", disk / "disk")


def _delegate(folder: Path, progress: Listener) -> Path | None:
    """The folder of the NEPU delegate; None without a compiler that works: only --npu needs it."""
    key = delegate_key()
    if key is None:
        return None
    if not (folder / key).is_dir():
        progress(Step("build", None, "compiling the NEPU delegate for emulated boards"))
    try:
        return layer(folder, key, make_delegate)
    except DelegateUnavailableError as error:
        last = str(error).splitlines()[-1]
        progress(Step("build", None, f"emulated boards do without the NEPU delegate: {last}"))
        return None
