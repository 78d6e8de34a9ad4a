"""The process of one job: `python -m edgekit_device.job FOLDER AGENT`, started by the agent.

It writes the job's end itself, so that it is kept if the agent or its connection is gone by then.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgekit_device.emulation import emulate
from edgekit_device.errors import (
    BoardProfileError,
    DelegateUnavailableError,
    EdgeKitDeviceError,
    MeterError,
    RuntimeMissingError,
)
from edgekit_device.jobs import CANCELLED, END, REQUEST, model_paths
from edgekit_device.lifeline import die_alone, die_with_parent
from edgekit_device.messages import Done, Emulate, Error, Job, Profile, line, read_request
from edgekit_device.profile import profile_models
from edgekit_device.progress import Event
from edgekit_device.runtime import choose, installed

_KINDS = {
    BoardProfileError: "board-profile",
    MeterError: "no-meter",
    RuntimeMissingError: "no-runtime",
    DelegateUnavailableError: "no-delegate",
}


def main(folder: Path, agent: int) -> int:
    """Carry out the request in the folder and leave its end there."""
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGINT, _terminate)
    die_with_parent(agent)
    # What a library prints is not progress.
    sys.stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    request = read_request((folder / REQUEST).read_bytes())
    if not isinstance(request, Profile | Emulate):
        raise RuntimeError(f"{type(request).__name__} is no job")
    if isinstance(request, Emulate):
        # No worker stands between this process and the model.
        die_alone()
    try:
        with _machine_alone(folder.parents[1]):
            end = line(Done(request.job, _carry_out(folder, request)))
    except EdgeKitDeviceError as error:
        kind = _KINDS.get(type(error), "bad-request")
        end = line(Error(kind, str(error), request.job, ended=True))
    except SystemExit:
        end = line(Error("cancelled", "the job was cancelled", request.job, ended=True))
    _keep(folder, end)
    return 0


def _carry_out(folder: Path, request: Job) -> tuple[dict[str, Any], ...]:
    paths = model_paths(folder, request)
    if isinstance(request, Profile):
        records = profile_models(paths, request.settings, progress=_tell)
        return tuple(record.to_json() for record in records)
    runtime = choose(request.runtime, installed())
    done = [
        emulate(path, request.npu, request.arithmetic, runtime, progress=_tell)[0] for path in paths
    ]
    return tuple(one.to_json() for one in done)


@contextmanager
def _machine_alone(store: Path) -> Iterator[None]:
    """Wait until no other job runs on this machine: two at once would measure each other."""
    with (store / "machine").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _tell(Event("waiting", message="another job is being measured on this board"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _keep(folder: Path, end: bytes) -> None:
    partial = folder / f"{END}.partial"
    with partial.open("wb") as file:
        file.write(end)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(folder / END)
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)


def _tell(event: Event) -> None:
    try:
        print(json.dumps(event.to_json()), flush=True)
    except BrokenPipeError:
        # The agent has just died, and so are we about to.
        return


def _terminate(number: int, frame: object) -> None:
    # A second one must not break off what the first one began to clean up.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise SystemExit(CANCELLED)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
