"""What a client and the agent say to each other: one JSON object a line, docs/agent-protocol.md."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from edgekit_device.arithmetic import Arithmetic
from edgekit_device.codec import decode, encode
from edgekit_device.errors import (
    ArithmeticSettingError,
    RecordError,
    RequestError,
    UsageError,
)
from edgekit_device.progress import Event
from edgekit_device.record import Agent, Machine
from edgekit_device.runtime import Installed
from edgekit_device.settings import Settings, check_runtime

PROTOCOL = 2
"""The version of this protocol; another one is refused in the first exchange."""

MOST_LINE_BYTES = 1 << 20
"""A longer line of the client is skipped and answered with an error."""

PIECE_BYTES = 1 << 18
"""How much of a file a client best puts into one line."""


@dataclass(frozen=True)
class Hello:
    """The first message: the version of the protocol that the client speaks."""

    protocol: int


@dataclass(frozen=True)
class Put:
    """A piece of a file, base64, that begins at `offset`; without data: how much is there."""

    sha256: str
    bytes: int
    offset: int
    data: str


@dataclass(frozen=True)
class NamedFile:
    """A file put before, under the name it has for a job; a hash of None: the client has none."""

    name: str
    sha256: str | None


@dataclass(frozen=True)
class JobModel:
    """A model and the files that lie beside it: its manifest, its golden outputs."""

    file: NamedFile
    beside: tuple[NamedFile, ...]


@dataclass(frozen=True)
class Profile:
    """A job: models to profile in turns; `keep_s` is how long it may outlive its connection.

    `board_profile` is a board profile (TOML) of the client's, which goes before the settings'.
    """

    job: str
    models: tuple[JobModel, ...]
    board_profile: NamedFile | None
    settings: Settings
    keep_s: float


@dataclass(frozen=True)
class Emulate:
    """A job: models in an NPU's arithmetic, on their golden samples.

    `npu` is what the emulation calls the NPU. `table` is the file, put before, of a multiplier that
    is a table; its path in the arithmetic is then the client's and not looked at.
    """

    job: str
    models: tuple[JobModel, ...]
    npu: str
    arithmetic: Arithmetic
    table: NamedFile | None
    runtime: str
    keep_s: float

    def __post_init__(self) -> None:
        """Refuse a runtime that is none."""
        check_runtime(self.runtime)


@dataclass(frozen=True)
class Result:
    """Asks for the end of a job, also of an earlier connection's."""

    job: str


@dataclass(frozen=True)
class Cancel:
    """Asks for a job to be ended."""

    job: str


@dataclass(frozen=True)
class Forget:
    """Asks for a job's end to be removed from the board; one that runs is ended first."""

    job: str


@dataclass(frozen=True)
class Welcome:
    """Answer to `hello`: what board this is; `no_board_profile` is why none is applied."""

    protocol: int
    agent: Agent
    host: str
    machine: Machine
    no_board_profile: str | None
    runtimes: tuple[Installed, ...]
    line_bytes: int
    file_bytes: int
    free_bytes: int


@dataclass(frozen=True)
class Have:
    """Answer to `put`: how many bytes of the file the board has; all of them: it is complete."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Running:
    """Answer to `profile`, and to `result` where the job has not ended."""

    job: str


@dataclass(frozen=True)
class Cancelled:
    """Answer to `cancel`; the job's end follows."""

    job: str


@dataclass(frozen=True)
class Forgotten:
    """Answer to `forget`."""

    job: str


@dataclass(frozen=True)
class Told:
    """What a running job tells."""

    job: str
    event: Event


@dataclass(frozen=True)
class Error:
    """Answer to a request that cannot be obeyed; where `ended`, the end of its job instead."""

    kind: str
    message: str
    job: str | None = None
    ended: bool = False


@dataclass(frozen=True)
class Done:
    """The end of a job: one record or emulation per model, in order."""

    job: str
    records: tuple[dict[str, Any], ...]


Job = Profile | Emulate
Request = Hello | Put | Profile | Emulate | Result | Cancel | Forget
Answer = Welcome | Have | Running | Cancelled | Forgotten | Told | Error

_REQUESTS: dict[str, type[Request]] = {
    "hello": Hello,
    "put": Put,
    "profile": Profile,
    "emulate": Emulate,
    "result": Result,
    "cancel": Cancel,
    "forget": Forget,
}
_ANSWERS: dict[str, type[Answer]] = {
    "hello": Welcome,
    "put": Have,
    "running": Running,
    "cancel": Cancelled,
    "forget": Forgotten,
    "progress": Told,
    "error": Error,
}
_TYPES: dict[type, str] = {
    **{kind: name for name, kind in (*_REQUESTS.items(), *_ANSWERS.items())},
    Done: "result",
}


def line(message: Request | Answer | Done) -> bytes:
    """Write a message as one line of JSON."""
    data = {"type": _TYPES[type(message)], **encode(message)}
    return json.dumps(data, allow_nan=False).encode() + b"\n"


def read_request(content: bytes) -> Request:
    """Read a client's line.

    Raises:
        RequestError: it is no JSON object ("garbage"), of no known type ("unknown-type"), or does
            not fit its type ("bad-request").
    """
    name, data = _split(content)
    kind = _REQUESTS.get(name)
    if kind is None:
        raise RequestError(
            "unknown-type",
            f"the type must be one of {', '.join(_REQUESTS)}. Received: {name!r}",
        )
    try:
        return decode(kind, data, name)
    except (RecordError, UsageError, ArithmeticSettingError) as error:
        raise RequestError("bad-request", str(error)) from error


def read_answer(content: bytes) -> Answer | Done:
    """Read an agent's line; records are left as they came.

    Raises:
        RequestError: it is no answer that an agent of this protocol gives.
    """
    name, data = _split(content)
    if name == "result":
        job, records = data.get("job"), data.get("records")
        whole = isinstance(records, list) and all(isinstance(item, dict) for item in records)
        if data.keys() != {"job", "records"} or not isinstance(job, str) or not whole:
            raise RequestError("garbage", "a result needs a job and a list of records")
        return Done(job, tuple(data["records"]))
    kind = _ANSWERS.get(name)
    if kind is None:
        raise RequestError("garbage", f"no answer is of type {name!r}")
    try:
        return decode(kind, data, name)
    except (RecordError, UsageError) as error:
        raise RequestError("garbage", str(error)) from error


def _split(content: bytes) -> tuple[str, dict[str, Any]]:
    """Give the type of a message and the rest of it."""
    try:
        data = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise RequestError("garbage", f"a line must be one JSON object: {error}") from error
    if not isinstance(data, dict):
        raise RequestError("garbage", f"a line must be one JSON object. Received: {data!r}")
    name = data.pop("type", None)
    if not isinstance(name, str):
        raise RequestError("garbage", f"a type must be a text. Received: {name!r}")
    return name, data
