"""The recipes' files on all boards; what an interrupted comparison measured is used again."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from queue import Queue
from typing import Any

from edgekit.boards import Board, ProfileSettings, profile_on
from edgekit.boards.channel import Stop
from edgekit.boards.profiling import with_own_profile
from edgekit.disk import storing
from edgekit.errors import DiskError, EdgeKitError
from edgekit.exporting import Optimized
from edgekit.progress import FOUND, Listener, Step
from edgekit.store import MEASURED, content_key, find, put, read_facts
from edgekit_device.profiles import load_profile


def measure_all(
    run: Path,
    agents: Mapping[Board, dict[str, Any]],
    files: Sequence[Optimized],
    settings: ProfileSettings,
    progress: Listener,
    *,
    resumed: bool,
) -> list[dict[str, Any]]:
    """What `measure` gives for each board, in their order; the boards work side by side.

    `agents` says for each board what `check_board` gave. `progress` is called in this thread alone,
    with the board as the lane where there is more than one.

    Raises:
        DiskError: the records cannot be kept; the other boards are stopped.
    """
    news: Queue[Step | Future[Any]] = Queue()

    def work(board: Board) -> list[dict[str, Any]]:
        lane = str(board) if len(agents) > 1 else ""

        def tell(step: Step) -> None:
            news.put(replace(step, lane=lane))

        records = measure(
            run, board, agents[board], files, settings, tell, resumed=resumed, stop=stop
        )
        tell(Step("profile", 1.0, "done"))
        return records

    with closing(Stop()) as stop, ThreadPoolExecutor(max(len(agents), 1)) as pool:
        jobs = [pool.submit(work, board) for board in agents]
        try:
            for job in jobs:
                job.add_done_callback(news.put)
            working = len(jobs)
            while working:
                item = news.get()
                if isinstance(item, Step):
                    progress(item)
                else:
                    item.result()
                    working -= 1
        except BaseException:
            stop.set()
            raise
    return [record for job in jobs for record in job.result()]


def measure(
    run: Path,
    board: Board,
    agent: dict[str, Any],
    files: Sequence[Optimized],
    settings: ProfileSettings,
    progress: Listener,
    *,
    resumed: bool,
    stop: Stop | None = None,
) -> list[dict[str, Any]]:
    """One record per file, in order; a board that fails gives records that say so.

    `agent` is what `check_board` gave. `resumed` says that the last comparison in the folder was
    interrupted: its records of the very same files, settings and board, with this agent and on this
    machine, are taken. New ones are kept until the comparison has ended.

    Raises:
        DiskError: the records cannot be kept.
        BoardError: the board's own profile is gone.
        BoardProfileError: the profile that the settings name cannot be read.
    """
    label = f"record of {board}"
    settings = with_own_profile(board, settings)
    key = content_key(
        {
            "board": str(board),
            "machine": platform.node(),
            "agent": agent,
            "settings": asdict(settings),
            # A file of that name may have other numbers by now: boards calibrate writes it anew.
            "profile": settings.profile and asdict(load_profile(settings.profile)),
            "files": [(file.recipe, file.sha256) for file in files],
        }
    )
    kept = find(run, MEASURED, key, label, progress) if resumed else None
    if kept is not None:
        progress(Step(FOUND, 1.0, f"what was measured on {board} before the interruption is used"))
        records = read_facts(kept)["records"]
    else:
        # The board may have finished it though we were killed.
        job = content_key({"run": str(run.absolute()), "key": key})
        records = _profile(run, board, files, settings, progress, job, stop, resumed=resumed)
        if all(record.get("status") == "ok" for record in records):
            put(run, MEASURED, key, label, lambda _: {"records": records})
    return [
        {"recipe": file.recipe, "board": str(board), "record": record}
        for file, record in zip(files, records, strict=True)
    ]


def _profile(
    run: Path,
    board: Board,
    files: Sequence[Optimized],
    settings: ProfileSettings,
    progress: Listener,
    job: str,
    stop: Stop | None,
    *,
    resumed: bool,
) -> list[dict[str, Any]]:
    try:
        with storing(run, f"the record of {board}"):
            paths = [file.file for file in files]
            return profile_on(board, paths, settings, progress, job=job, resumed=resumed, stop=stop)
    except DiskError:
        raise
    except EdgeKitError as error:
        failed = {"status": "error", "error": {"kind": "board", "message": str(error)}}
        return [failed for _ in files]
