"""The agent brought to a board behind ssh, into an environment of its own there."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path

from edgekit.boards.channel import Board
from edgekit.boards.checking import check_agent
from edgekit.boards.connection import Connection
from edgekit.boards.probing import Python, check_disk, probe, suitable_python
from edgekit.boards.ssh import AGENT_FOLDER, AGENT_PYTHON, CommandError, SshBoard
from edgekit.boards.wheels import build_wheel, checkout, fetch_wheels
from edgekit.errors import BoardError
from edgekit.progress import Listener, Step, silent
from edgekit_device import __version__
from edgekit_device.messages import Welcome

_TASK = "install"
_WHEELS = "$HOME/.cache/edgekit-agent/wheels"
_SLOW_S = 1800.0


def install(board: SshBoard, progress: Listener, *, offline: bool = False) -> Welcome:
    """Installs the agent on the board and gives its hello.

    It comes as a wheel from the checkout this edgekit runs from, else from the index; its
    dependencies come from the board's index, or with `offline` from this machine's.

    Raises:
        BoardError: what stands in the way, in words.
    """
    progress(Step(_TASK, 0.0, f"looking at {board}"))
    machine = probe(board)
    python = suitable_python(machine, str(board))
    check_disk(machine, str(board))
    with tempfile.TemporaryDirectory() as folder:
        wheel = _gather(Path(folder), machine.architecture, python, offline, progress)
        files = sorted(Path(folder).iterdir())
        board.run(f'rm -rf "{_WHEELS}" && mkdir -p "{_WHEELS}"')
        for number, file in enumerate(files):
            progress(Step(_TASK, 0.2 + 0.3 * number / len(files), f"sending {file.name}"))
            _push(board, file)
    progress(Step(_TASK, 0.5, f"making an environment with {python}"))
    _run(board, f'{python.command} -m venv --clear "{AGENT_FOLDER}"')
    what = f"edgekit-device[litert]=={__version__}"
    if wheel is not None:
        what = f"{_WHEELS}/{wheel.name}[litert]"
    index = f'--no-index --find-links "{_WHEELS}"' if offline else ""
    progress(Step(_TASK, 0.6, "installing the agent and its runtime"))
    pip = f'"{AGENT_PYTHON}" -m pip install --quiet --no-input {index}'
    _run(board, f'{pip} "{what}" && rm -rf "{_WHEELS}"', python)
    progress(Step(_TASK, 0.9, "asking the agent"))
    welcome = greet(board)
    progress(Step(_TASK, 1.0, f"{board} has agent {welcome.agent.version}"))
    return welcome


def greet(board: Board, progress: Listener = silent) -> Welcome:
    """The hello of the board's agent, if it is of this version and has a runtime.

    Raises:
        BoardError: it is not so.
    """
    with Connection(board, progress=progress) as connection:
        check_agent(board, connection.welcome, "auto")
        return connection.welcome


def _gather(
    folder: Path, architecture: str, python: Python, offline: bool, progress: Listener
) -> Path | None:
    """The wheels to send; gives the agent's own, None where the board takes it from the index."""
    project, wheel = checkout(), None
    if project is not None:
        progress(Step(_TASK, 0.05, "building the agent's wheel"))
        wheel = build_wheel(project, folder)
    if offline:
        progress(Step(_TASK, 0.1, "fetching what it needs"))
        what = f"{wheel}[litert]" if wheel else f"edgekit-device[litert]=={__version__}"
        fetch_wheels(what, architecture, python.version, folder)
    return wheel


def _push(board: SshBoard, file: Path) -> None:
    target = f"{_WHEELS}/{file.name}"
    _run(board, f'cat > "{target}"', given=file.read_bytes())


def _run(board: SshBoard, command: str, python: Python | None = None, given: bytes = b"") -> None:
    try:
        board.run(command, given, _SLOW_S)
    except CommandError as error:
        raise BoardError(_cause(board, "\n".join(error.words), str(error), python)) from error


def _cause(board: SshBoard, said: str, last: str, python: Python | None) -> str:
    if "No space left on device" in said or "Disk quota exceeded" in said:
        return f"The disk of {board} is full: free some space there (sudo apt-get clean)."
    unreachable = ("NameResolution", "Network is unreachable", "Failed to establish", "timed out")
    if any(sign in said for sign in unreachable):
        return (
            f"{board} cannot reach its package index: connect it, or have the packages fetched "
            "here with --offline."
        )
    if "No matching distribution found" in said or "not a supported wheel" in said:
        wanted = said.rpartition("No matching distribution found for ")[2].split("\n")[0]
        return (
            f"There is no wheel of {shlex.quote(wanted or last)} for {python or 'the Python'} on "
            f"{board}: install a Python from 3.10 to 3.13 there, or a newer system."
        )
    return f"{board}: the agent cannot be installed: {last.removeprefix('ERROR: ')}"
