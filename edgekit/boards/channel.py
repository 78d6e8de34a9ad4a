"""Ways to an agent: two file descriptors to speak through, and what is left when one has ended."""

from __future__ import annotations

import os
import selectors
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from edgekit.errors import BoardError
from edgekit.progress import Listener

_LAST_WORDS = 4000
_PATIENCE_S = 2.0


@dataclass(frozen=True)
class Ended:
    """How a channel ended: what was said beside the protocol, an exit code where it has one."""

    words: tuple[str, ...]
    code: int | None = None


class Channel(Protocol):
    """An open way to an agent: `reader` and `writer` may be one descriptor, as of a socket."""

    reader: int
    writer: int

    def close(self) -> Ended:
        """Ends it, by force where needed; again: the same answer."""


class Board(Protocol):
    """A place where a .tflite file runs: its text names it, and it can be opened.

    `pauses_s` are the waits before each new try to reach it once it was reached, `keep_s` how long
    a job there goes on without us.
    """

    @property
    def pauses_s(self) -> Sequence[float]:
        """Seconds to wait before the first, second, … new try."""

    @property
    def keep_s(self) -> float:
        """Seconds that a job may outlive its connection; 0: it ends with it."""

    def open(self, progress: Listener) -> Channel:
        """Starts or reaches the agent, and tells of what takes long.

        Raises:
            BoardError: there is no way to it.
        """

    def explain(self, ended: Ended, *, greeted: bool) -> BoardError:
        """Why a channel ended before its time; `greeted`: after the agent's hello."""


class UnreachableError(BoardError):
    """A board that may be reached again: it is worth another try."""


class StoppedError(Exception):
    """The work was given up in the meantime."""


class Stop:
    """A wish to stop, which threads that wait for a board notice at once."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()

    def fileno(self) -> int:
        """What becomes readable."""
        return self._reader

    def set(self) -> None:
        """Wakes all who wait."""
        os.write(self._writer, b"\n")

    def wait(self, seconds: float) -> None:
        """Waits, or raises StoppedError as soon as it is set."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._reader, selectors.EVENT_READ)
            if selector.select(max(seconds, 0.0)):
                raise StoppedError

    def close(self) -> None:
        """Frees it; nobody may wait any more."""
        os.close(self._reader)
        os.close(self._writer)


class ProcessChannel:
    """An agent behind a child process: itself, or the ssh that leads to it."""

    def __init__(
        self,
        command: Sequence[str],
        changed: Mapping[str, str] | None = None,
        *,
        own_session: bool = False,
    ) -> None:
        """Starts it, with `changed` variables; its own session is out of the way of a Ctrl-C.

        Raises:
            OSError: it cannot be started.
        """
        # A file, not a pipe: nobody reads it before the end.
        self._words = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the process
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._words,
                bufsize=0,
                env={**os.environ, **(changed or {})},
                start_new_session=own_session,
            )
        except OSError:
            self._words.close()
            raise
        if self._process.stdin is None or self._process.stdout is None:
            raise OSError("a process without pipes")
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self.reader, self.writer = self._stdout.fileno(), self._stdin.fileno()
        self._ended: Ended | None = None

    def close(self) -> Ended:
        """Ends the process: by the end of its input, then by force."""
        if self._ended is None:
            self._stdin.close()
            try:
                self._process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            finally:
                self._stdout.close()
            self._ended = Ended(self._last_words(), self._process.returncode)
            self._words.close()
        return self._ended

    def _last_words(self) -> tuple[str, ...]:
        self._words.seek(max(0, self._words.seek(0, os.SEEK_END) - _LAST_WORDS))
        text = self._words.read().decode("utf-8", errors="replace")
        return tuple(line.strip() for line in text.splitlines() if line.strip())
