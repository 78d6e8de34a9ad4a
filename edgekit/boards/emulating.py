"""Files in an NPU's arithmetic on a board: the delegate runs there."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from uuid import uuid4

from edgekit.boards.channel import Board, Stop
from edgekit.boards.errand import Errand
from edgekit.boards.sending import pack_emulation
from edgekit.npu.target import Npu
from edgekit.progress import Listener, silent
from edgekit_device.emulation import Emulation


def emulate_on(
    board: Board,
    files: Sequence[Path],
    npu: Npu,
    *,
    runtime: str = "auto",
    progress: Listener = silent,
) -> list[Emulation]:
    """The emulations of the files, in order, on their golden samples (else a random one).

    Raises:
        BoardError: the board cannot be reached, has no delegate, or cannot run a file so.
    """
    shipment = pack_emulation(uuid4().hex, files, npu, runtime, board.keep_s)
    with closing(Stop()) as stop:
        found = Errand(board, shipment, progress, stop).run()
    return [Emulation.from_json(document) for document in found]
