"""Boards: where a .tflite file runs, and how its agent is started there."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.errors import BoardError
from edgekit.progress import Listener, Step, silent
from edgekit_device.profiles import load_profile
from edgekit_device.settings import Settings

ProfileSettings = Settings
"""How long and with what a board's agent profiles."""


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


def check_board(board: LocalBoard, settings: ProfileSettings) -> dict[str, Any]:
    """Asks the board's agent whether it could profile, before time is spent on training.

    Gives the versions of the agent, its Python and its runtimes.

    Raises:
        BoardError: no agent, or no runtime such as the settings name.
        BoardProfileError: the settings name an unknown board profile.
    """
    if settings.profile is not None:
        load_profile(settings.profile)
    command = [str(board.python), "-m", "edgekit_device", "info", "--json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        told = json.loads(done.stdout) if done.returncode == 0 else {}
        found = told["runtimes"] if done.returncode == 0 else None
    except subprocess.TimeoutExpired as error:
        raise BoardError(f"The agent on {board} does not answer within 60 s.") from error
    except OSError as error:
        raise _no_start(board, error) from error
    except (ValueError, KeyError, TypeError) as error:
        raise BoardError(
            f"{board.python} answers, but not as an agent does; give the Python interpreter of an "
            "environment that has edgekit-device."
        ) from error
    if found is None:
        raise BoardError(_failure(board, done.returncode, done.stderr.splitlines()))
    usable = [item["runtime"]["name"] for item in found if not item.get("problem")]
    if not usable or settings.runtime not in ("auto", *usable):
        wanted = "a TFLite runtime" if settings.runtime == "auto" else settings.runtime
        extra = "litert" if settings.runtime == "auto" else settings.runtime
        raise BoardError(
            f"The agent on {board} lacks {wanted} (it has {', '.join(usable) or 'none'}); install "
            f"it there: {board.python} -m pip install 'edgekit-device[{extra}]', or name another "
            "with --runtime."
        )
    runtimes = [item["runtime"] for item in found if not item.get("problem")]
    return {"agent": told.get("agent"), "runtimes": runtimes}


def _no_start(board: LocalBoard, error: OSError) -> BoardError:
    return BoardError(
        f"{board.python} cannot be started ({error.strerror}); give a Python interpreter."
    )


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
            raise _no_start(board, error) from error
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
        "--sample-interval": settings.sample_interval_s,
        "--timeout": settings.timeout_s,
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
