"""QEMU as an emulated board: its command, and the two ways to start it."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import edgekit_device.lifeline
from edgekit.boards.qemu.host import QEMU, program, run
from edgekit.boards.qemu.image import Image
from edgekit.boards.qemu.machine import Machine
from edgekit.errors import BoardError

_LAST_WORDS = 4000
_MIB = 1 << 20


def command(machine: Machine, image: Image, agent: str, console: str) -> list[str]:
    """The command of an emulator; `agent` and `console` are the ends of two serial ports here.

    Its clock is a count of instructions while any core works (shift=0: 1 ns each), and goes with
    this machine's clock while none does: with sleep=off an idle board would keep a core of this
    machine busy, and hours would pass on it in a moment. Nothing that it writes is kept.

    Raises:
        BoardError: QEMU is not installed, or does not tell its version.
    """
    emulator = f"QEMU {version()}, {machine.cpu}, -icount shift=0"
    told = {"profile": machine.name, "model": machine.model, "emulator": emulator}
    words = "".join(f' edgekit.{key}="{value}"' for key, value in told.items())
    return [
        program(QEMU),
        *("-nodefaults", "-no-reboot", "-display", "none", "-nic", "none"),
        *("-M", "virt", "-cpu", machine.cpu, "-smp", str(machine.cores)),
        *("-m", str(machine.memory_bytes // _MIB), "-icount", "shift=0,sleep=on"),
        *("-kernel", str(image.kernel), "-initrd", str(image.archive)),
        *("-append", f"console=ttyAMA0 quiet panic=-1 mitigations=off{words}"),
        *("-drive", f"if=none,id=disk,format=raw,snapshot=on,file={_escaped(image.disk)}"),
        *("-device", "virtio-blk-device,drive=disk"),
        *("-device", "virtio-serial-device"),
        *("-chardev", f"socket,id=agent,{agent}"),
        *("-device", "virtserialport,chardev=agent,name=edgekit"),
        *("-chardev", f"{console},id=console", "-serial", "chardev:console"),
    ]


def version() -> str:
    """QEMU's version, such as 7.2.22.

    Raises:
        BoardError: it is not installed, or does not tell.
    """
    told = run(QEMU, ["--version"])
    found = re.search(r"version (\d+(?:\.\d+)+)", told)
    if found is None:
        raise BoardError(f"{QEMU} does not tell its version: {told.strip()[:200]!r}")
    return found[1]


class OwnEmulator:
    """An emulator of this process alone, which ends with it, however that ends.

    `socket` is the other end of the agent's port. Nothing of it has a name in a file system.
    """

    def __init__(self, machine: Machine, image: Image) -> None:
        """Starts it.

        Raises:
            BoardError: QEMU cannot be started.
        """
        self.socket, theirs = socket.socketpair()
        # A file, not a pipe: nobody reads it before the end.
        self._words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as QEMU
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: list[OSError] = []
        with theirs:
            try:
                line = command(machine, image, f"fd={theirs.fileno()}", "stdio,signal=off")
            except BoardError:
                self.socket.close()
                self._words.close()
                raise
            own = [sys.executable, "-I", "-S", edgekit_device.lifeline.__file__, str(os.getpid())]
            self._starting = threading.Event()
            # For the kernel, the parent that must live is the thread that starts a process.
            self._thread = threading.Thread(
                target=self._live, args=([*own, *line], theirs.fileno()), daemon=True
            )
            self._thread.start()
            self._starting.wait()
        for error in self._errors:
            self.close()
            raise BoardError(f"{QEMU} cannot be started ({error.strerror}).") from error

    def close(self) -> tuple[tuple[str, ...], int | None]:
        """Ends it; gives what it and its board's console said last, and its exit code."""
        self.socket.close()
        if self._process is not None:
            self._process.kill()
        self._thread.join()
        if self._words.closed:
            return (), None
        with self._words:
            said = last_words(self._words)
        return said, None if self._process is None else self._process.returncode

    def ended(self) -> bool:
        """Whether it has ended of itself."""
        return not self._thread.is_alive()

    def _live(self, line: Sequence[str], descriptor: int) -> None:
        try:
            with subprocess.Popen(
                line,
                stdin=subprocess.DEVNULL,
                stdout=self._words,
                stderr=self._words,
                pass_fds=[descriptor],
                start_new_session=True,
            ) as self._process:
                self._starting.set()
        except OSError as error:
            self._errors.append(error)
            self._starting.set()


def start_detached(machine: Machine, image: Image, folder: Path, lock: int) -> None:
    """Starts an emulator that lives on, with its files in the folder: agent, console and pid.

    It holds the file descriptor `lock` as long as it lives.

    Raises:
        BoardError: QEMU cannot be started.
    """
    # Relative paths: those of sockets may have no more than 107 bytes.
    line = command(machine, image, "path=agent,server=on,wait=off", "file,path=console")
    run(
        line[0],
        [*line[1:], "-daemonize", "-pidfile", "pid"],
        cwd=folder,
        pass_fds=[lock],
    )


def last_words(file: IO[bytes]) -> tuple[str, ...]:
    """The last lines of what was said."""
    file.seek(max(0, file.seek(0, os.SEEK_END) - _LAST_WORDS))
    text = file.read().decode("utf-8", errors="replace")
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _escaped(path: Path) -> str:
    # A comma ends an option of QEMU's; a doubled one is a comma.
    return str(path).replace(",", ",,")
