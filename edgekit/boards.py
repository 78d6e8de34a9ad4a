"""Boards: where a .tflite file runs, and how its agent is started there."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgekit.errors import BoardError
from edgekit.progress import Listener, Step, silent
from edgekit_device.settings import Settings


@dataclass(frozen=True)
class ProfileSettings:
    """How long and with what a file is profiled; the runtime is the agent's choice if "auto"."""

    runs: int = 50
    seconds: float = 10.0
    warmup: int = 3
    rounds: int = 5
    threads: int = 1
    runtime: str = "auto"
    profile: str | None = None
    idle_seconds: float = 2.0

    def __post_init__(self) -> None:
        # What the agent would refuse is refused here, before anything is trained.
        Settings(**asdict(self))
        if self.profile is not None:
            from edgekit_device.profiles import load_profile

            load_profile(self.profile)


@dataclass(frozen=True)
class LocalBoard:
    """This machine; `python` is the interpreter of the environment that holds the agent."""

    python: Path

    def __str__(self) -> str:
        return "local" if self.python == Path(sys.executable) else f"local:{self.python}"


def parse_board(text: str) -> LocalBoard:
    """Reads `local` or `local:PYTHON`.

    Raises:
        BoardError: no board of that form.
    """
    kind, _, rest = text.partition(":")
    if kind != "local":
        raise BoardError(
            f"{text!r} is no board this version can reach; give local, or local:PYTHON with the "
            "interpreter of an environment that has edgekit-device."
        )
    if not rest:
        return LocalBoard(Path(sys.executable))
    python = Path(rest).expanduser()
    if not python.is_file():
        raise BoardError(f"{text!r}: there is no file {python}; give a Python interpreter.")
    return LocalBoard(python.absolute())


def profile_on(
    board: LocalBoard,
    files: Sequence[Path],
    settings: ProfileSettings | None = None,
    progress: Listener = silent,
) -> list[dict[str, Any]]:
    """The agent's records of the files, in order, profiled interleaved on one board.

    A file that fails there gives a record with status "error".

    Raises:
        BoardError: the agent cannot be started or gives no records.
    """
    command = [str(board.python), "-m", "edgekit_device", *_arguments(settings), *map(str, files)]
    with tempfile.TemporaryFile("w+") as output:
        try:
            agent = subprocess.Popen(command, stdout=output, stderr=subprocess.PIPE, text=True)
        except OSError as error:
            raise BoardError(
                f"{board.python} cannot be started ({error.strerror}); give a Python interpreter."
            ) from error
        with agent:
            try:
                complaints = _follow(agent, progress)
                code = agent.wait()
            finally:
                agent.kill()
        output.seek(0)
        answer = output.read()
    try:
        records = json.loads(answer)
    except ValueError as error:
        raise BoardError(_failure(board, code, complaints)) from error
    if not isinstance(records, list) or len(records) != len(files):
        count = len(records) if isinstance(records, list) else 0
        raise BoardError(f"The agent on {board} answered for {count} of {len(files)} files.")
    return records


def _arguments(settings: ProfileSettings | None) -> list[str]:
    settings = settings or ProfileSettings()
    options = {
        "--runs": settings.runs,
        "--seconds": settings.seconds,
        "--warmup": settings.warmup,
        "--rounds": settings.rounds,
        "--threads": settings.threads,
        "--runtime": settings.runtime,
        "--idle-seconds": settings.idle_seconds,
        "--profile": settings.profile,
    }
    given = [part for key, v in options.items() if v is not None for part in (key, str(v))]
    return ["profile", "--json", "--progress", "json", *given]


def _follow(agent: subprocess.Popen[str], progress: Listener) -> list[str]:
    """Passes the agent's progress on; what else it says on stderr is kept for the error."""
    complaints: list[str] = []
    for line in agent.stderr or ():
        try:
            event = json.loads(line)
        except ValueError:
            complaints.append(line.rstrip())
            continue
        if isinstance(event, dict):
            progress(_step(event))
    return complaints


def _step(event: dict[str, Any]) -> Step:
    current, rounds = event.get("round"), event.get("rounds")
    fraction = (current - 1) / rounds if current and rounds else None
    parts = (event.get("model"), event.get("event"), event.get("message"))
    return Step("profile", fraction, " ".join(str(part) for part in parts if part))


def _failure(board: LocalBoard, code: int, complaints: list[str]) -> str:
    said = [line for line in complaints if line.strip()]
    if any("No module named" in line and "edgekit_device" in line for line in said):
        return (
            f"{board.python} has no agent; install it there: {board.python} -m pip install "
            "'edgekit-device[litert]'."
        )
    last = said[-1].removeprefix("edgekit-agent: ") if said else f"it ended with code {code}."
    return f"The agent on {board} cannot profile: {last}"
