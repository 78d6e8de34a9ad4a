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

from edgekit_device.codec import decode
from edgekit_device.errors import (
    BoardProfileError,
    EdgeKitDeviceError,
    MeterError,
    RuntimeMissingError,
)
from edgekit_device.jobs import CANCELLED, END, REQUEST, model_paths
from edgekit_device.lifeline import die_with_parent
from edgekit_device.messages import Done, Error, Profile, line
from edgekit_device.profile import profile_models
from edgekit_device.progress import Event

_KINDS = {
    BoardProfileError: "board-profile",
    MeterError: "no-meter",
    RuntimeMissingError: "no-runtime",
}


def main(folder: Path, agent: int) -> int:
    """Carry out the request in the folder and leave its end there."""
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGINT, _terminate)
    die_with_parent(agent)
    # What a library prints is not progress.
    sys.stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    request = decode(Profile, json.loads((folder / REQUEST).read_bytes()), REQUEST)
    try:
        with _machine_alone(folder.parents[1]):
            records = profile_models(model_paths(folder, request), request.settings, progress=_tell)
        end = line(Done(request.job, tuple(record.to_json() for record in records)))
    except EdgeKitDeviceError as error:
        kind = _KINDS.get(type(error), "bad-request")
        end = line(Error(kind, str(error), request.job, ended=True))
    except SystemExit:
        end = line(Error("cancelled", "the job was cancelled", request.job, ended=True))
    _keep(folder, end)
    return 0


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
