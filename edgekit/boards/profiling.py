"""Files profiled on a board."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from edgekit.boards.channel import Board, Stop
from edgekit.boards.errand import Errand
from edgekit.boards.sending import pack
from edgekit.boards.ssh import SshBoard
from edgekit.errors import BoardError
from edgekit.progress import Listener, silent
from edgekit_device.profiles import load_profile
from edgekit_device.record import Record
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

    Those of an emulated board are given the latency and energies that its profile estimates.

    A file that fails there gives a record with status "error". A lost connection is made again; the
    job's end is fetched if it came meanwhile, else the job is begun again, three times at most.
    With `resumed`, so is the end of the `job` of that name which an earlier process began.

    Raises:
        BoardError: the board cannot be reached, its agent cannot be started or gives no records.
        BoardProfileError: the profile that the settings name cannot be read.
    """
    stop_here = Stop() if stop is None else stop
    try:
        settings = with_own_profile(board, settings or ProfileSettings())
        if settings.profile is not None:
            # The agent would speak of its own copy of the file.
            load_profile(settings.profile)
        shipment = pack(job or uuid4().hex, files, settings, board.keep_s)
        records = Errand(board, shipment, progress, stop_here).run(resumed=resumed)
        return [
            _estimated(record, file, settings.profile)
            for record, file in zip(records, files, strict=True)
        ]
    finally:
        if stop is None:
            stop_here.close()


def with_own_profile(board: Board, settings: ProfileSettings) -> ProfileSettings:
    """The settings with the profile that is remembered for the board, unless they name another.

    Raises:
        BoardError: the file of that profile is gone.
    """
    own = board.profile if isinstance(board, SshBoard) else None
    if own is None or settings.profile:
        return settings
    if own.endswith(".toml") and not Path(own).exists():
        raise BoardError(
            f"The board profile of {board}, {own}, is gone: calibrate it again (edgekit boards "
            f"calibrate {board} --profile NAME MODEL.tflite …), or add it again."
        )
    return replace(settings, profile=own)


def _estimated(record: dict[str, Any], file: Path, named: str | None) -> dict[str, Any]:
    """An emulated board's record with estimates; any other one as it is."""
    if record["machine"]["emulator"] is None:
        return record
    # What reads a .tflite file is waited for by those only who need it.
    from edgekit.boards.estimating import with_estimates

    found = Record.from_json(record)
    # The agent applies no profile of another core than the one that it is emulated with.
    applied = found.machine.board
    profile = None if applied is None else load_profile(named or applied)
    return with_estimates(found, file, profile).to_json()
