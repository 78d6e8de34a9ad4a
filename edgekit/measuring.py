"""The recipes' files on one board; what an interrupted comparison measured is used again."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgekit.boards import LocalBoard, ProfileSettings, profile_on
from edgekit.disk import storing
from edgekit.errors import DiskError, EdgeKitError
from edgekit.exporting import Optimized
from edgekit.progress import FOUND, Listener, Step
from edgekit.store import MEASURED, content_key, find, put, read_facts


def measure(
    run: Path,
    board: LocalBoard,
    agent: dict[str, Any],
    files: Sequence[Optimized],
    settings: ProfileSettings,
    progress: Listener,
    *,
    resumed: bool,
) -> list[dict[str, Any]]:
    """One record per file, in order; a board that fails gives records that say so.

    `agent` is what `check_board` gave. `resumed` says that the last comparison in the folder was
    interrupted: its records of the very same files, settings and board, with this agent and on this
    machine, are taken. New ones are kept until the comparison has ended.

    Raises:
        DiskError: the records cannot be kept.
    """
    label = f"record of {board}"
    key = content_key(
        {
            "board": str(board),
            "machine": platform.node(),
            "agent": agent,
            "settings": asdict(settings),
            "files": [(file.recipe, file.sha256) for file in files],
        }
    )
    kept = find(run, MEASURED, key, label, progress) if resumed else None
    if kept is not None:
        progress(Step(FOUND, 1.0, f"what was measured on {board} before the interruption is used"))
        records = read_facts(kept)["records"]
    else:
        records = _profile(run, board, files, settings, progress)
        if all(record.get("status") == "ok" for record in records):
            put(run, MEASURED, key, label, lambda _: {"records": records})
    return [
        {"recipe": file.recipe, "board": str(board), "record": record}
        for file, record in zip(files, records, strict=True)
    ]


def _profile(
    run: Path,
    board: LocalBoard,
    files: Sequence[Optimized],
    settings: ProfileSettings,
    progress: Listener,
) -> list[dict[str, Any]]:
    try:
        with storing(run, f"the record of {board}"):
            return profile_on(board, [file.file for file in files], settings, progress)
    except DiskError:
        raise
    except EdgeKitError as error:
        failed = {"status": "error", "error": {"kind": "board", "message": str(error)}}
        return [failed for _ in files]
