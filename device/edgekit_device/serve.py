"""`edgekit-agent serve`: an agent that answers a client's messages until its input ends."""

from __future__ import annotations

import base64
import binascii
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgekit_device.agent import agent
from edgekit_device.codec import decode
from edgekit_device.depot import DEFAULT_BYTES, Depot
from edgekit_device.errors import EdgeKitDeviceError, RequestError, UsageError
from edgekit_device.jobs import CANCELLED, Jobs, unknown_job
from edgekit_device.lines import read_lines
from edgekit_device.machine import read_machine
from edgekit_device.messages import (
    MOST_LINE_BYTES,
    PROTOCOL,
    Answer,
    Cancel,
    Cancelled,
    Emulate,
    Error,
    Forget,
    Forgotten,
    Have,
    Hello,
    Job,
    Profile,
    Put,
    Request,
    Result,
    Running,
    Told,
    Welcome,
    line,
    read_request,
)
from edgekit_device.profiles import board_here
from edgekit_device.progress import Event
from edgekit_device.runtime import installed

_LONGEST_KEEP_S = 86400.0
_POLL_S = 0.5


def default_store() -> Path:
    """Give the folder for files and jobs: EDGEKIT_AGENT_STORE, else one in the user's cache."""
    if named := os.environ.get("EDGEKIT_AGENT_STORE"):
        return Path(named)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "edgekit-agent"


def serve_stdio(store: Path | None = None, most_bytes: int = DEFAULT_BYTES) -> None:
    """Speak the protocol on standard input and output; what else is printed goes to errors.

    Raises:
        UsageError: a limit that no file would keep.
    """
    if most_bytes < 1:
        raise UsageError(f"--store-limit: must be at least 1 byte. Received: {most_bytes}")
    requests, answers = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.dup2(2, 1)
    os.close(nowhere)
    Server(store or default_store(), most_bytes, Client(answers)).run(requests)


class Client:
    """The way to the client; a client that has gone is told no more."""

    def __init__(self, descriptor: int) -> None:
        """Write to the file descriptor."""
        self._descriptor, self._lock = descriptor, threading.Lock()
        self._gone = False

    def tell(self, content: bytes) -> None:
        """Write whole lines, which several threads may do."""
        with self._lock:
            while content and not self._gone:
                try:
                    content = content[os.write(self._descriptor, content) :]
                except (BrokenPipeError, ConnectionError):
                    self._gone = True


class Server:
    """One client's agent: answers each request, runs one job at a time."""

    def __init__(self, store: Path, most_bytes: int, client: Client) -> None:
        """Know where files and jobs are kept; nothing is read or started before `run`."""
        self._depot, self._jobs, self._client = (
            Depot(store, most_bytes),
            Jobs(store / "jobs"),
            client,
        )
        self._greeted = False
        self._job: str | None = None
        self._busy = False
        self._keep_s = 0.0
        self._follower: threading.Thread | None = None
        self._awaited: set[str] = set()
        self._methods: dict[type[Request], Callable[[Any], Answer | bytes]] = {
            Put: self._put,
            Profile: self._begin,
            Emulate: self._begin,
            Result: self._result,
            Cancel: self._cancel,
            Forget: self._forget,
        }

    def run(self, descriptor: int) -> None:
        """Answer every line until the input ends; a job that may outlive it is waited for."""
        try:
            for content in read_lines(descriptor, MOST_LINE_BYTES):
                self._client.tell(self._answer(content))
            if self._follower is not None:
                self._follower.join(self._keep_s)
        finally:
            self._end_job()

    def _answer(self, content: bytes | RequestError) -> bytes:
        job = None
        try:
            if isinstance(content, RequestError):
                raise content
            request = read_request(content)
            job = getattr(request, "job", None)
            if isinstance(request, Hello):
                return line(self._hello(request))
            if not self._greeted:
                raise RequestError("no-hello", f"say hello first, with protocol {PROTOCOL}")
            answer = self._methods[type(request)](request)
            return answer if isinstance(answer, bytes) else line(answer)
        except RequestError as error:
            return line(Error(error.kind, str(error), job))
        except OSError as error:
            return line(Error("disk", f"the agent's folder cannot be used: {error}", job))

    def _hello(self, request: Hello) -> Welcome:
        if request.protocol != PROTOCOL:
            raise RequestError(
                "version",
                f"this agent speaks protocol {PROTOCOL}. Received: {request.protocol}. Install the "
                "agent and its client in the same version",
            )
        try:
            board = board_here(None, Path("/"))
        except EdgeKitDeviceError as error:
            raise RequestError("board-profile", str(error)) from error
        self._sweep()
        self._greeted = True
        return Welcome(
            protocol=PROTOCOL,
            agent=agent(),
            host=platform.node(),
            machine=read_machine(Path("/"), board.profile.name if board.profile else None),
            no_board_profile=board.reason,
            runtimes=installed(),
            line_bytes=MOST_LINE_BYTES,
            file_bytes=self._depot.most_bytes,
            free_bytes=self._depot.free_bytes(),
        )

    def _sweep(self) -> None:
        try:
            self._depot.sweep()
            self._jobs.sweep()
        except (RequestError, OSError) as error:
            # A full disk: whoever wants to write there is told.
            print(f"edgekit-agent: {error}", file=sys.stderr)

    def _put(self, request: Put) -> Have:
        try:
            data = base64.b64decode(request.data, validate=True)
        except (binascii.Error, ValueError) as error:
            raise RequestError("bad-request", f"put.data: base64 is needed: {error}") from error
        have = self._depot.put(request.sha256, request.bytes, request.offset, data)
        return Have(request.sha256, have)

    def _begin(self, request: Job) -> bytes:
        if self._busy:
            raise RequestError(
                "busy", f"the job {self._job} runs: wait for its end, cancel it or forget it"
            )
        if not request.models:
            raise RequestError("bad-request", "models: at least one model is needed")
        if not 0 <= request.keep_s <= _LONGEST_KEEP_S:
            raise RequestError(
                "bad-request",
                f"keep_s: must be 0 to {_LONGEST_KEEP_S:g}. Received: {request.keep_s:g}",
            )
        process = self._jobs.start(request, self._depot)
        self._job, self._keep_s, self._busy = request.job, request.keep_s, True
        # Told before what the job tells.
        self._client.tell(line(Running(request.job)))
        self._follower = threading.Thread(target=self._follow, args=(request.job, process))
        self._follower.start()
        return b""

    def _result(self, request: Result) -> Running | bytes:
        state = self._jobs.state(request.job)
        if state == "ended":
            return self._jobs.end(request.job)
        if state == "unknown":
            raise unknown_job(request.job)
        if request.job in self._awaited or (self._busy and request.job == self._job):
            raise RequestError("awaited", "the job runs, and its end will come by itself")
        self._awaited.add(request.job)
        threading.Thread(target=self._await, args=(request.job,), daemon=True).start()
        return Running(request.job)

    def _cancel(self, request: Cancel) -> Cancelled:
        if self._jobs.state(request.job) == "unknown":
            raise unknown_job(request.job)
        self._jobs.stop(request.job)
        return Cancelled(request.job)

    def _forget(self, request: Forget) -> Forgotten:
        self._jobs.forget(request.job)
        return Forgotten(request.job)

    def _follow(self, job: str, process: subprocess.Popen[bytes]) -> None:
        """Pass on what the agent's own job tells, to its end."""
        with process:
            for content in process.stdout or ():
                event = {**_NO_EVENT, **json.loads(content)}
                self._client.tell(line(Told(job, decode(Event, event, "event"))))
        end = self._end_of(job, process.returncode)
        # Before the client knows, who may have another job at hand.
        self._busy = False
        self._client.tell(end)

    def _end_of(self, job: str, code: int) -> bytes:
        try:
            return self._jobs.end(job)
        except (RequestError, OSError):
            words = self._jobs.last_words(job)
            self._jobs.drop(job)
        if code in (0, CANCELLED, -signal.SIGTERM):
            return line(Error("cancelled", "the job was cancelled", job, ended=True))
        manner = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        said = f": {words}" if words else ""
        message = f"the job's process ended {manner}{said}. The board may be short of memory"
        return line(Error("job-died", message, job, ended=True))

    def _await(self, job: str) -> None:
        """Wait for the end of a job that another agent runs."""
        try:
            while self._jobs.state(job) == "running":
                time.sleep(_POLL_S)
            self._awaited.discard(job)
            self._client.tell(self._jobs.end(job))
        except (RequestError, OSError):
            message = "the agent that ran the job was ended, and the job with it"
            self._client.tell(line(Error("job-died", message, job, ended=True)))

    def _end_job(self) -> None:
        if self._busy and self._follower is not None and self._job is not None:
            self._jobs.stop(self._job)
            self._follower.join()
            self._jobs.forget(self._job)


_NO_EVENT = {"model": None, "round": None, "rounds": None, "message": None}


if __name__ == "__main__":
    # As quick to start as can be: a slow machine's time for the command line is saved.
    serve_stdio()
