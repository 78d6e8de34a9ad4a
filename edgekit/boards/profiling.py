"""Files profiled on a board."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from edgekit.boards.channel import Board, Stop
from edgekit.boards.errand import Errand
from edgekit.boards.sending import pack
from edgekit.progress import Listener, silent
from edgekit_device.settings import Settings

ProfileSettings = Settings
"""How long and with what a board's agent profiles."""


def profile_on(
    board: Board,
    files: Sequence[Path],
    settings: ProfileSettings | None = None,
    progress: Listener = silent,
    *,
    job: str | None = None,
    resumed: bool = False,
    stop: Stop | None = None,
) -> list[dict[str, Any]]:
    """The agent's records of the files, in order, profiled interleaved on one board.

    A file that fails there gives a record with status "error". A lost connection is made again; the
    job's end is fetched if it came meanwhile, else the job is begun again, three times at most.
    With `resumed`, so is the end of the `job` of that name which an earlier process began.

    Raises:
        BoardError: the board cannot be reached, its agent cannot be started or gives no records.
    """
    stop_here = Stop() if stop is None else stop
    try:
        shipment = pack(job or uuid4().hex, files, settings or ProfileSettings(), board.keep_s)
        return Errand(board, shipment, progress, stop_here).run(resumed=resumed)
    finally:
        if stop is None:
            stop_here.close()
