"""The disk of emulated boards: Debian for arm64 with Python and both TFLite runtimes."""

from __future__ import annotations

import json
import os
import re
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edgekit.boards.qemu import kernel
from edgekit.boards.qemu.bytecode import compile_all
from edgekit.boards.qemu.cache import cache_folder
from edgekit.boards.qemu.debian import Apt, sources_key, unpack
from edgekit.boards.qemu.host import NO_SPACE, FailedError, disk_full, run
from edgekit.boards.wheels import install_wheels
from edgekit.errors import BoardError
from edgekit.progress import Listener, Step
from edgekit.store import content_key

SITE = "usr/lib/edgekit"
"""Where the boards' Python packages lie, below the root."""

# The wheels' C++ libraries are named because no package knows that they are needed.
_SYSTEM = ("base-files", "python3", "python3-minimal", "libstdc++6", "libgomp1", "busybox-static")
_KERNEL = "linux-image-cloud-arm64"
# What the boards get in the very versions of this environment.
_SAME = ("ai-edge-litert", "psutil", "memory-profiler")
# The old runtime has no wheels for a newer Python, and its numpy is the old one.
_OLD_RUNTIME, _ITS_LAST_PYTHON = ("tflite-runtime==2.14.0", "numpy<2"), (3, 11)
# To be raised when this file makes something else of the same packages.
_RECIPE = 1
_NEEDED_BYTES = 900 * 10**6
_ROOM_BYTES = 512 * 10**6
_DEBIAN, _PYTHON = "arm64", "aarch64"


def disk_key() -> str:
    """A key of what the disk is made from, as far as it is known before anything is fetched."""
    return content_key(
        {
            "recipe": _RECIPE,
            "system": [*_SYSTEM, _KERNEL],
            "sources": sources_key(),
            "wheels": [*_OLD_RUNTIME, *_same_versions()],
        }
    )


def make_disk(folder: Path, progress: Listener) -> None:
    """Makes `disk`, `kernel`, `busybox`, `modules` and `facts.json` in the folder.

    Raises:
        BoardError: a program is missing, or a package cannot be fetched.
        DiskError: the disk is full.
    """
    if shutil.disk_usage(folder).free < _NEEDED_BYTES:
        raise disk_full(folder)
    progress(Step("build", 0.0, "fetching Debian's packages for emulated boards (40 MB)"))
    apt = Apt(cache_folder() / "apt", _DEBIAN)
    apt.update()
    system = apt.plan(_SYSTEM)
    (linux,) = [one for one in apt.plan([_KERNEL]) if re.match(r"linux-image-\d", one.name)]
    *packages, linux_file = apt.fetch([*system, linux])
    progress(Step("build", 0.3, "unpacking them"))
    root, kernel_root = folder / "root", folder / "kernel-package"
    for place, files in ((root, packages), (kernel_root, [linux_file])):
        place.mkdir()
        for file in files:
            unpack(file, place)
    python = _python(root)
    progress(Step("build", 0.5, "fetching the TFLite runtimes for emulated boards (60 MB)"))
    _install_runtimes(python, root / SITE)
    progress(Step("build", 0.7, "compiling Python's modules"))
    compile_all([root / "usr/lib" / f"python{python[0]}.{python[1]}", root / SITE], root, python)
    progress(Step("build", 0.9, "writing the disk"))
    _lay_out(root)
    _write_disk(root, folder / "disk")
    shutil.copyfile(kernel.kernel_file(kernel_root), folder / "kernel")
    shutil.copyfile(root / "bin/busybox", folder / "busybox")
    modules = folder / "modules"
    modules.mkdir()
    found = kernel.modules(kernel_root)
    for name, content in found.items():
        (modules / f"{name}.ko").write_bytes(content)
    facts = {"python": python, "modules": [f"{name}.ko" for name in found]}
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    shutil.rmtree(root)
    shutil.rmtree(kernel_root)
    progress(Step("build", 1.0, "the emulated boards' disk is ready"))


def _install_runtimes(python: tuple[int, int], folder: Path) -> None:
    old = _OLD_RUNTIME if python <= _ITS_LAST_PYTHON else ()
    try:
        install_wheels([*old, *_same_versions(), "numpy"], _PYTHON, python, folder)
    except BoardError as error:
        if NO_SPACE in str(error):
            raise disk_full(folder) from error
        raise BoardError(
            f"The runtimes of emulated boards (Python {python[0]}.{python[1]}, {_PYTHON}) cannot "
            f"be fetched: is there a network? {error}"
        ) from error


def _same_versions() -> list[str]:
    try:
        return [f"{name}=={version(name)}" for name in _SAME]
    except PackageNotFoundError as error:
        raise BoardError(
            f"This environment lacks {error.name}, which emulated boards get in its version here; "
            "install edgekit-device[litert]."
        ) from error


def _python(root: Path) -> tuple[int, int]:
    link = root / "usr/bin/python3"
    found = re.fullmatch(r"python(\d+)\.(\d+)", os.readlink(link)) if link.is_symlink() else None
    if found is None:
        raise BoardError("Debian's package python3 brings no interpreter of a known name.")
    return int(found[1]), int(found[2])


def _lay_out(root: Path) -> None:
    """What the packages' scripts would have done, as far as a board needs it."""
    for name in ("dev", "proc", "sys", "root", "tmp", "opt", "var/tmp", "var/lib"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n", encoding="ascii")
    (root / "etc/group").write_text("root:x:0:\n", encoding="ascii")
    for name in ("usr/share/doc", "usr/share/man", "usr/share/locale"):
        shutil.rmtree(root / name, ignore_errors=True)


def _write_disk(root: Path, disk: Path) -> None:
    used = sum(file.lstat().st_blocks * 512 for file in root.rglob("*"))
    blocks_k = (used + used // 20 + _ROOM_BYTES) // 1024
    options = ["-q", "-F", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-E", "root_owner=0:0"]
    try:
        run("mke2fs", [*options, "-d", root, disk, f"{blocks_k}k"], cwd=disk.parent)
    except FailedError as error:
        raise BoardError(f"The disk of emulated boards cannot be written: {error}") from error
