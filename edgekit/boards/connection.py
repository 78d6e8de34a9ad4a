"""A conversation with an agent: messages out, answers in, each wait with an end."""

from __future__ import annotations

import os
import selectors
import time
from contextlib import suppress
from types import TracebackType
from typing import TypeVar

from edgekit.boards.channel import Board, Ended, Stop, StoppedError
from edgekit.errors import BoardError
from edgekit.progress import Listener, silent
from edgekit_device.errors import RequestError
from edgekit_device.messages import (
    PROTOCOL,
    Answer,
    Cancel,
    Done,
    Error,
    Hello,
    Request,
    Welcome,
    line,
    read_answer,
)

ANSWER_S = 120.0
"""How long an answer that needs no measurement may take."""

_HELLO_S = 120.0
_PIECE = 1 << 16
_MOST_LINE_BYTES = 1 << 28
_MOST_NOISE_LINES = 200

T = TypeVar("T")


class AgentError(BoardError):
    """A named error of the agent."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Connection:
    """An agent that has said hello; `welcome` is what it told. Use it as a context manager."""

    def __init__(self, board: Board, stop: Stop | None = None, progress: Listener = silent) -> None:
        """Reaches the board and exchanges hellos.

        Raises:
            BoardError: there is no way to the agent, or what answers is none.
            UnreachableError: the same, but another try may help.
        """
        self.board, self._stop = board, stop
        self._rest, self._greeted = bytearray(), False
        self._channel = board.open(progress)
        try:
            self.welcome = self._greet()
        except BaseException:
            self._channel.close()
            raise
        self._greeted = True

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._channel.close()

    def ask(self, request: Request, answer: type[T], timeout_s: float | None = ANSWER_S) -> T:
        """Sends a request and gives its answer; what a job tells meanwhile is not waited for.

        Raises:
            AgentError: the agent's named error.
            BoardError: no answer in time, or another one.
            UnreachableError: the connection is lost.
        """
        self.send(request)
        got = self.receive(timeout_s)
        if isinstance(got, Error):
            raise AgentError(got.kind, got.message)
        if not isinstance(got, answer):
            raise self._nonsense(f"{type(got).__name__} to {type(request).__name__}")
        return got

    def send(self, request: Request) -> None:
        """Sends a request.

        Raises:
            UnreachableError: the connection is lost.
        """
        try:
            self._write(line(request))
        except OSError as error:
            raise self._lost() from error

    def receive(self, timeout_s: float | None) -> Answer | Done:
        """The agent's next message; without a time limit where None."""
        content = self._line(None if timeout_s is None else time.monotonic() + timeout_s)
        try:
            return read_answer(content)
        except RequestError as error:
            raise self._nonsense(str(error)) from error

    def give_up(self, job: str) -> None:
        """Has the job ended, without waiting for it."""
        with suppress(BoardError):
            self.send(Cancel(job))

    def _greet(self) -> Welcome:
        # Whatever ended before it could be greeted has left its last words to be read.
        with suppress(OSError):
            self._write(line(Hello(PROTOCOL)))
        deadline_s = time.monotonic() + _HELLO_S
        noise: list[str] = []
        while len(noise) < _MOST_NOISE_LINES:
            content = self._line(deadline_s, tuple(noise))
            # The shell of a login may print something first.
            if not content.startswith(b"{"):
                noise.append(content[:200].decode("utf-8", errors="replace").strip())
                continue
            try:
                got = read_answer(content)
            except RequestError as error:
                raise self._nonsense(str(error)) from error
            if isinstance(got, Error):
                raise AgentError(got.kind, f"The agent on {self.board}: {got.message}")
            if isinstance(got, Welcome):
                return got
            break
        raise self._nonsense("no hello")

    def _write(self, content: bytes) -> None:
        while content:
            content = content[os.write(self._channel.writer, content) :]

    def _line(self, deadline_s: float | None, noise: tuple[str, ...] = ()) -> bytes:
        while (end := self._rest.find(b"\n")) < 0:
            if len(self._rest) > _MOST_LINE_BYTES:
                raise self._nonsense(f"a line of more than {_MOST_LINE_BYTES} bytes")
            self._wait(deadline_s)
            try:
                piece = os.read(self._channel.reader, _PIECE)
            except ConnectionError:
                piece = b""
            if not piece:
                left = self._rest.decode("utf-8", errors="replace").strip()
                raise self._lost((*noise, left) if left else noise)
            self._rest += piece
        content = bytes(self._rest[:end])
        del self._rest[: end + 1]
        return content

    def _wait(self, deadline_s: float | None) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._channel.reader, selectors.EVENT_READ)
            if self._stop is not None:
                selector.register(self._stop, selectors.EVENT_READ)
            left_s = None if deadline_s is None else max(deadline_s - time.monotonic(), 0.0)
            ready = [key.fileobj for key, _ in selector.select(left_s)]
        if self._stop is not None and self._stop in ready:
            raise StoppedError
        if not ready:
            raise BoardError(
                f"The agent on {self.board} does not answer in time; is the board overloaded?"
            )

    def _lost(self, noise: tuple[str, ...] = ()) -> BoardError:
        ended = self._channel.close()
        return self.board.explain(Ended((*noise, *ended.words), ended.code), greeted=self._greeted)

    def _nonsense(self, what: str) -> BoardError:
        return BoardError(
            f"{self.board} answers, but not as an agent does ({what}); install the agent there in "
            "the version of this edgekit."
        )
