"""Profile several models on this machine, in turns, so that its drift hits all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from os import PathLike
from pathlib import Path

from edgekit_device.emulated import NOT_WATCHED, emulated_settings, read_emulated
from edgekit_device.errors import ModelError
from edgekit_device.machine import idle_baseline, read_machine
from edgekit_device.profiles import board_here
from edgekit_device.progress import Event, Progress, silent
from edgekit_device.record import Record
from edgekit_device.result import Circumstances, record
from edgekit_device.runtime import choose, installed
from edgekit_device.settings import Settings
from edgekit_device.subject import Subject


def profile_models(
    paths: Sequence[str | PathLike[str]],
    settings: Settings | None = None,
    *,
    progress: Progress = silent,
    root: Path = Path("/"),
) -> list[Record]:
    """Profile the models in rounds and give one record each, in the order of `paths`.

    Every model has a child process of its own, all of them loaded at once; in every round each
    model in turn does its share while the others wait. Each round starts one model further on,
    so that none always runs after the same other one, whose heat and caches it inherits. A model
    that cannot be profiled becomes an error record and the others go on. `root` is where `/proc`
    of the board is found.

    Raises:
        UsageError: a setting cannot be obeyed.
        RuntimeMissingError: there is no usable TFLite runtime.
        BoardProfileError: the board profile cannot be found or is malformed.
    """
    settings = settings or Settings()
    emulated = read_emulated(root)
    if emulated is not None:
        settings = emulated_settings(settings)
    board = board_here(settings.profile, root)
    runtime = choose(settings.runtime, installed())
    machine = read_machine(root, board.profile.name if board.profile else None)
    progress(Event("idle"))
    idle = NOT_WATCHED if emulated else idle_baseline(settings.idle_seconds)
    subjects = [Subject(Path(path), settings, runtime) for path in paths]
    with ExitStack() as stack:
        for subject in subjects:
            stack.callback(subject.close)
        _run(subjects, settings.rounds, progress)
    around = Circumstances(settings, machine, board, runtime, idle)
    return [record(subject, around) for subject in subjects]


def _run(subjects: Sequence[Subject], rounds: int, progress: Progress) -> None:
    for subject in subjects:
        _attempt(subject, partial(subject.prepare, progress), progress)
    zero_s = time.monotonic()
    for index in range(rounds):
        first = index % len(subjects) if subjects else 0
        for subject in (*subjects[first:], *subjects[:first]):
            if subject.failure is None:
                progress(Event("round", subject.model.file, index + 1, rounds))
                _attempt(subject, partial(subject.run_share, index, zero_s), progress)
    for subject in subjects:
        if subject.failure is None:
            progress(Event("done", subject.model.file))


def _attempt(subject: Subject, step: Callable[[], None], progress: Progress) -> None:
    try:
        step()
    except ModelError as error:
        subject.fail(error)
        progress(Event("error", subject.model.file, message=str(error)))
