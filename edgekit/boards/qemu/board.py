"""An emulated board: the one that is up, or one that boots for a single connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgekit.boards.channel import Channel, Ended, UnreachableError
from edgekit.boards.qemu import standing
from edgekit.boards.qemu.emulator import OwnEmulator
from edgekit.boards.qemu.image import build_image
from edgekit.boards.qemu.machine import Machine, parse_machine
from edgekit.boards.qemu.meeting import BOOT_S, GoneError, SilenceError, meet
from edgekit.errors import BoardError
from edgekit.progress import Listener, Step


@dataclass(frozen=True)
class QemuBoard:
    """A board that QEMU emulates, after the board profile of its name."""

    machine: Machine

    pauses_s: ClassVar[tuple[float, ...]] = (0.5,)
    # Its own emulator ends with us, and one that is up serves the next client.
    keep_s: ClassVar[float] = 0.0

    def __str__(self) -> str:
        return str(self.machine)

    def open(self, progress: Listener) -> Channel:
        """Reaches the board that is up, else boots one that ends with the channel.

        Raises:
            BoardError: the board is in use, or cannot be booted; it says why.
            UnreachableError: it ends meanwhile; another try boots another one.
            DiskError: the image cannot be built because the disk is full.
        """
        if standing.is_up(self.machine.name):
            return self._join()
        image = build_image(progress)
        progress(Step("boot", None, str(self)))
        return self._meet(_Own(OwnEmulator(self.machine, image)))

    def explain(self, ended: Ended, *, greeted: bool) -> BoardError:
        """Why a channel ended before its time."""
        text = "\n".join(ended.words)
        if "unable to find CPU model" in text:
            return BoardError(
                f"The QEMU of this machine knows no {self.machine.cpu}, which {self} has: install "
                "a newer one."
            )
        last = f" ({ended.words[-1]})" if ended.words else ""
        if not greeted and ended.code is not None and ended.code > 0:
            return BoardError(f"QEMU cannot emulate {self}: it ends with code {ended.code}{last}.")
        return UnreachableError(f"The emulator of {self} has ended{last}.")

    def _join(self) -> Channel:
        try:
            port = standing.Port(self.machine.name)
        except OSError as error:
            raise UnreachableError(f"{self} is going down.") from error
        return self._meet(_Joined(self.machine.name, port))

    def _meet(self, channel: _Own | _Joined) -> Channel:
        try:
            meet(channel.socket, BOOT_S, channel.ended)
        except GoneError as error:
            raise self.explain(channel.close(), greeted=False) from error
        except SilenceError as error:
            channel.close()
            raise BoardError(
                f"{self} does not answer within {BOOT_S:.0f} s; end it with edgekit boards down "
                f"{self}, and try again when this machine is less busy."
            ) from error
        except BaseException:
            channel.close()
            raise
        return channel


def qemu_board(text: str) -> QemuBoard:
    """Reads `qemu:PROFILE`.

    Raises:
        BoardError: there is no such board profile.
    """
    return QemuBoard(parse_machine(text))


class _Own:
    """The channel to a board that ends with it."""

    def __init__(self, emulator: OwnEmulator) -> None:
        self._emulator, self.socket = emulator, emulator.socket
        self.reader = self.writer = self.socket.fileno()
        self._ended: Ended | None = None

    def ended(self) -> bool:
        return self._emulator.ended()

    def close(self) -> Ended:
        """Ends the emulator."""
        if self._ended is None:
            self._ended = Ended(*self._emulator.close())
        return self._ended


class _Joined:
    """The channel to a board that is up."""

    def __init__(self, name: str, port: standing.Port) -> None:
        self._name, self._port, self.socket = name, port, port.socket
        self.reader = self.writer = self.socket.fileno()
        self._ended: Ended | None = None

    def ended(self) -> bool:
        return not standing.is_up(self._name)

    def close(self) -> Ended:
        """Gives the board back, for the next client."""
        if self._ended is None:
            self._port.close()
            self._ended = Ended(standing.console(self._name))
        return self._ended
