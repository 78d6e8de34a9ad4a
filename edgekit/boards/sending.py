"""What a job needs on a board: files by content, under the names they have here."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.boards.connection import Connection
from edgekit.errors import BoardError
from edgekit.progress import Listener, Step
from edgekit_device.arithmetic import table_file
from edgekit_device.golden import file_sha256
from edgekit_device.messages import (
    PIECE_BYTES,
    Emulate,
    Have,
    Job,
    JobModel,
    NamedFile,
    Profile,
    Put,
)
from edgekit_device.settings import Settings

if TYPE_CHECKING:
    from edgekit.npu.target import Npu


@dataclass(frozen=True)
class Shipment:
    """A job, and where here the files are that it names by their hashes."""

    request: Job
    files: dict[str, Path]


def pack(job: str, models: Sequence[Path], settings: Settings, keep_s: float) -> Shipment:
    """A job that profiles these models, each with its manifest and golden outputs beside it.

    Raises:
        BoardError: a file cannot be read.
    """
    files: dict[str, Path] = {}
    own = settings.profile is not None and settings.profile.endswith(".toml")
    board_profile = _named(Path(settings.profile), files) if own and settings.profile else None
    settings = replace(settings, profile=None) if own else settings
    shipped = tuple(_with_golden(model, files) for model in models)
    return Shipment(Profile(job, shipped, board_profile, settings, keep_s), files)


def pack_emulation(
    job: str, models: Sequence[Path], npu: Npu, runtime: str, keep_s: float
) -> Shipment:
    """A job that runs these models in the NPU's arithmetic on their golden samples.

    Raises:
        BoardError: a file cannot be read.
    """
    files: dict[str, Path] = {}
    table = table_file(npu.arithmetic.multiplier)
    request = Emulate(
        job=job,
        models=tuple(_with_golden(model, files) for model in models),
        npu=npu.profile.name,
        arithmetic=npu.arithmetic,
        table=None if table is None else _named(table, files),
        runtime=runtime,
        keep_s=keep_s,
    )
    return Shipment(request, files)


def send(connection: Connection, shipment: Shipment, progress: Listener) -> None:
    """Puts on the board what it does not have yet, from where an earlier try left off.

    Raises:
        BoardError: a file cannot be read or changes, or the board takes no more.
        UnreachableError: the connection is lost.
    """
    for sha256, path in shipment.files.items():
        try:
            with path.open("rb") as file:
                size = path.stat().st_size
                have = connection.ask(Put(sha256, size, 0, ""), Have).bytes
                while have < size:
                    if size > PIECE_BYTES:
                        progress(Step("send", have / size, path.name))
                    file.seek(have)
                    data = base64.b64encode(file.read(PIECE_BYTES)).decode()
                    if not data:
                        raise BoardError(f"{path} became shorter while it was sent.")
                    have = connection.ask(Put(sha256, size, have, data), Have).bytes
        except OSError as error:
            raise BoardError(f"{path} cannot be read ({error.strerror}).") from error


def _with_golden(model: Path, files: dict[str, Path]) -> JobModel:
    beside = tuple(_named(file, files) for file in _beside(model))
    return JobModel(_named(model, files), beside)


def _named(path: Path, files: dict[str, Path]) -> NamedFile:
    """The file by its hash, which `files` then knows."""
    if not path.exists():
        return NamedFile(path.name, None)
    try:
        sha256 = file_sha256(path)
    except OSError as error:
        raise BoardError(f"{path} cannot be read ({error.strerror}).") from error
    files[sha256] = path
    return NamedFile(path.name, sha256)


def _beside(model: Path) -> list[Path]:
    manifest = model.with_suffix(".manifest.json")
    if not manifest.exists():
        return []
    try:
        golden = json.loads(manifest.read_bytes())["golden"]["file"]
        file = manifest.with_name(Path(golden).name)
    except (OSError, ValueError, KeyError, TypeError):
        # The agent says what is wrong with it.
        return [manifest]
    return [manifest, file]
