"""`edgekit boards up`: an emulated board that stays up after the command."""

from __future__ import annotations

from edgekit.boards.channel import Ended
from edgekit.boards.checking import check_agent
from edgekit.boards.connection import Connection
from edgekit.boards.qemu import standing
from edgekit.boards.qemu.board import QemuBoard
from edgekit.boards.qemu.host import FailedError
from edgekit.boards.qemu.image import build_image
from edgekit.progress import Listener, Step
from edgekit_device.messages import Welcome


def raise_board(board: QemuBoard, progress: Listener) -> tuple[Welcome, bool]:
    """Boots the board to stay up; gives its agent's hello, and whether it was not up already.

    A board that runs another agent than this edgekit would boot is booted anew.

    Raises:
        BusyError: it is up, with a client.
        BoardError: it cannot be booted.
        DiskError: the image cannot be built because the disk is full.
    """
    name, image = board.machine.name, build_image(progress)
    if standing.is_up(name) and standing.image_of(name) == str(image.archive):
        return _greet(board, progress), False
    # One with a client is left alone: this raises.
    if standing.is_up(name):
        standing.Port(name).close()
        standing.take_down(name)
    progress(Step("boot", None, str(board)))
    try:
        standing.boot(board.machine, image)
    except FailedError as error:
        raise board.explain(Ended((str(error),), error.code), greeted=False) from error
    try:
        return _greet(board, progress), True
    except BaseException:
        standing.take_down(name)
        raise


def _greet(board: QemuBoard, progress: Listener) -> Welcome:
    with Connection(board, progress=progress) as connection:
        check_agent(board, connection.welcome, "auto")
        return connection.welcome
