"""Profile several models on this machine, in turns, so that its drift hits all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from os import PathLike
from pathlib import Path

from edgekit_device.affinity import check_cores
from edgekit_device.emulated import NOT_WATCHED, emulated_settings, read_emulated
from edgekit_device.energy_windows import MeterLog, Stretch, lengthened
from edgekit_device.errors import ModelError
from edgekit_device.machine import idle_baseline, read_machine
from edgekit_device.meters.choosing import choose_meter
from edgekit_device.meters.recording import Recording, recorded
from edgekit_device.profiles import board_here
from edgekit_device.progress import Event, Progress, silent
from edgekit_device.record import Idle, Record
from edgekit_device.result import Circumstances, record
from edgekit_device.runtime import choose, installed
from edgekit_device.settings import Settings
from edgekit_device.subject import Subject
from edgekit_device.watching import Watch


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
    that cannot be profiled becomes an error record and the others go on. With a power meter the
    plan is made long enough for energy windows, and the idle board is metered before the first
    model and after the last one. `root` is where `/proc` and `/sys` of the board are found.

    Raises:
        UsageError: a setting cannot be obeyed.
        MeterError: the meter that was named is not there, or gives no readings.
        RuntimeMissingError: there is no usable TFLite runtime.
        BoardProfileError: the board profile cannot be found or is malformed.
    """
    settings = settings or Settings()
    check_cores(settings.affinity)
    emulated = read_emulated(root)
    if emulated is not None:
        settings = emulated_settings(settings)
    board = board_here(settings.profile, root)
    runtime = choose(settings.runtime, installed())
    machine = read_machine(root, board.profile.name if board.profile else None)
    with ExitStack() as metering:
        chosen = choose_meter(settings.meter, root, machine.emulator)
        recording = None
        if chosen.meter is not None:
            recording = metering.enter_context(recorded(chosen.meter))
            settings = lengthened(settings)
            progress(Event("meter", message=_meter_text(recording, settings)))
        progress(Event("idle"))
        idle, before = _idle(settings.idle_seconds)
        if emulated is not None:
            idle = NOT_WATCHED
        watch = Watch(root)
        subjects = [Subject(Path(path), settings, runtime, watch) for path in paths]
        with ExitStack() as stack:
            for subject in subjects:
                stack.callback(subject.close)
            _run(subjects, settings.plan.rounds, progress)
        log = None
        if recording is not None and any(subject.failure is None for subject in subjects):
            progress(Event("idle"))
            log = _log(recording, before, _idle(settings.idle_seconds)[1])
    around = Circumstances(settings, machine, board, runtime, idle, log, chosen.note)
    return [record(subject, around) for subject in subjects]


def _idle(seconds: float) -> tuple[Idle, Stretch]:
    start_s = time.monotonic()
    idle = idle_baseline(seconds)
    return idle, Stretch(start_s, time.monotonic() - start_s)


def _log(recording: Recording, before: Stretch, after: Stretch) -> MeterLog:
    recording.wait_until(after.start_s + after.seconds)
    meter = recording.meter
    remarks = recording.remarks()
    return MeterLog(meter.name, meter.scope, recording.trace(), remarks, before, after)


def _meter_text(recording: Recording, settings: Settings) -> str:
    plan = settings.plan
    windows = (
        f"each model alone for {plan.seconds:g} s"
        if settings.duration_s is not None
        else f"{plan.rounds} rounds of at least {plan.seconds_per_round:g} s and "
        f"{plan.runs_per_round} inferences per model"
    )
    idle = f"the idle board for {plan.idle_seconds:g} s before and after"
    return f"{recording.meter.name}, which sees {recording.meter.scope}: {windows}, {idle}"


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
