"""How a client and an emulated board find each other: guest/supervisor.py is the other side."""

from __future__ import annotations

import secrets
import select
import socket
import time
from collections.abc import Callable

from edgekit.errors import BoardError

BOOT_S = 300.0
"""How long a board may take to boot: ten times what it takes on a busy machine."""

_MARK = b"\x1e"
_POLL_S = 0.5
_MOST = 1 << 16


class SilenceError(BoardError):
    """A board whose port is there, but which nobody answers from."""


class GoneError(BoardError):
    """A board whose emulator has ended."""


def meet(port: socket.socket, wait_s: float, ended: Callable[[], bool]) -> None:
    """Has the board start an agent for us alone; what an earlier one still says is passed over.

    `ended` tells whether the emulator is gone.

    Raises:
        SilenceError: the board does not answer in time.
        GoneError: its emulator ends.
    """
    mark = _MARK + secrets.token_hex(8).encode() + b"\n"
    until_s = time.monotonic() + wait_s
    try:
        port.sendall(mark)
        said = b""
        # The agent says nothing unasked: what comes last is the mark.
        while not said.endswith(mark):
            if ended():
                raise GoneError("the board has ended")
            if time.monotonic() > until_s:
                raise SilenceError("the board does not answer")
            if select.select([port], [], [], _POLL_S)[0]:
                piece = port.recv(_MOST)
                if not piece:
                    raise GoneError("the board has ended")
                said = (said + piece)[-_MOST:]
    except ConnectionError as error:
        raise GoneError("the board has ended") from error
