"""This machine as a board: the agent in a child process."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from edgekit.boards.channel import Channel, Ended, ProcessChannel, UnreachableError
from edgekit.errors import BoardError
from edgekit.progress import Listener


@dataclass(frozen=True)
class LocalBoard:
    """This machine; `python` is the interpreter of the environment that holds the agent."""

    python: Path

    pauses_s: ClassVar[tuple[float, ...]] = (0.5,)
    # Whoever ends edgekit here wants the machine back.
    keep_s: ClassVar[float] = 0.0

    def __str__(self) -> str:
        return "local" if self.python == Path(sys.executable) else f"local:{self.python}"

    def open(self, progress: Listener) -> Channel:
        """Starts the agent.

        Raises:
            BoardError: the interpreter cannot be started.
        """
        try:
            return ProcessChannel([str(self.python), "-m", "edgekit_device", "serve"])
        except OSError as error:
            raise BoardError(
                f"{self.python} cannot be started ({error.strerror}); give a Python interpreter."
            ) from error

    def explain(self, ended: Ended, *, greeted: bool) -> BoardError:
        """Why the agent ended before its time."""
        if any("No module named" in line for line in ended.words):
            return BoardError(
                f"{self.python} has no agent; install it there: {self.python} -m pip install "
                "'edgekit-device[litert]'."
            )
        last = ended.words[-1].removeprefix("edgekit-agent: ") if ended.words else None
        why = last or f"it ended with code {ended.code}."
        # Whoever was killed may live the next time; whoever ended by itself will do so again.
        killed = ended.code is not None and ended.code < 0
        kind = UnreachableError if greeted or killed else BoardError
        return kind(f"The agent on {self} cannot profile: {why}")


def local_board(text: str) -> LocalBoard:
    """Reads `local` or `local:PYTHON`.

    Raises:
        BoardError: there is no such file.
    """
    _, _, rest = text.partition(":")
    if not rest:
        return LocalBoard(Path(sys.executable))
    python = Path(rest).expanduser()
    if not python.is_file():
        raise BoardError(f"{text!r}: there is no file {python}; give a Python interpreter.")
    return LocalBoard(python.absolute())
