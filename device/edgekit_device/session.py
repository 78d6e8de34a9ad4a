"""The agent's side of one child process: start it, ask it, notice when it dies or hangs."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, TypeVar

from edgekit_device.codec import decode
from edgekit_device.errors import ModelError, RecordError

T = TypeVar("T")

_LAST_WORDS = 500
_PIECE = 1 << 16

# The kernel counts a wait in milliseconds, in 31 bits: 24 days.
_LONGEST_WAIT_S = 86400.0


class Session:
    """A worker, from its start to its end; use it as a context manager."""

    def __init__(self) -> None:
        """Start the worker; it waits for the first ask.

        Raises:
            ModelError: the machine cannot start another process ("start").
        """
        # A file, not a pipe: a runtime that prints much must not block on a full pipe.
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the worker
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "edgekit_device.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                bufsize=0,
            )
        except OSError as error:
            self._stderr.close()
            raise ModelError(
                "start",
                f"no child process can be started: {error}. Profile fewer models at once.",
            ) from error
        self._rest = bytearray()

    def __enter__(self) -> Session:
        """Give the session itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the worker."""
        self.close()

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._process.pid

    def ask(self, request: Mapping[str, Any], answer: type[T], timeout_s: float) -> T:
        """Send one request and wait for its answer.

        Raises:
            ModelError: the worker reports an error ("load", "inference", …), dies ("crash"),
                does not answer in time ("timeout") or answers nonsense ("protocol").
        """
        doing = str(request["ask"])
        deadline_s = time.monotonic() + timeout_s
        try:
            self._write(json.dumps(request).encode() + b"\n")
            line = self._read_line(deadline_s)
        except (BrokenPipeError, EOFError) as error:
            raise self._death(doing) from error
        except TimeoutError as error:
            self._process.kill()
            raise ModelError(
                "timeout",
                f"no answer to {doing!r} within {timeout_s:.0f} s, so the child process was ended. "
                "If the model is that slow here, allow more with --timeout.",
            ) from error
        return _parse(line, doing, answer)

    def close(self) -> None:
        """End the worker, by force if it does not end by itself, and free what it held."""
        if self._process.stdin is not None and self._process.stdout is not None:
            self._process.stdin.close()
            try:
                self._process.wait(timeout=2)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process.stdout.close()
        self._stderr.close()

    def _write(self, line: bytes) -> None:
        if self._process.stdin is not None:
            self._process.stdin.write(line)

    def _read_line(self, deadline_s: float) -> bytes:
        if self._process.stdout is None:
            raise EOFError
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while True:
                remaining_s = deadline_s - time.monotonic()
                if remaining_s <= 0:
                    raise TimeoutError
                if not selector.select(min(remaining_s, _LONGEST_WAIT_S)):
                    continue
                piece = os.read(self._process.stdout.fileno(), _PIECE)
                if not piece:
                    raise EOFError
                self._rest += piece
                if b"\n" in piece:
                    line, _, rest = bytes(self._rest).partition(b"\n")
                    self._rest = bytearray(rest)
                    return line

    def _death(self, doing: str) -> ModelError:
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        names = {number.value: number.name for number in signal.Signals}
        by_signal = f"of {names.get(-code, f'signal {-code}')}"
        manner = by_signal if code < 0 else f"with exit code {code}"
        words = self._last_words()
        return ModelError(
            "crash",
            f"the child process died {manner} at {doing!r}"
            + (f"; its last words: {words}" if words else "")
            + ". The file may be damaged or need another runtime: export it again, or name the "
            "other one with --runtime.",
        )

    def _last_words(self) -> str:
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - _LAST_WORDS))
        text = self._stderr.read().decode("utf-8", errors="replace")
        printable = "".join(letter if letter.isprintable() else " " for letter in text)
        return " ".join(printable.split())


def _parse(line: bytes, doing: str, answer: type[T]) -> T:
    try:
        message = json.loads(line)
        if "error" in message:
            raise ModelError(message["error"]["kind"], message["error"]["message"])
        return decode(answer, message["ok"], doing)
    except (ValueError, KeyError, TypeError, RecordError) as error:
        raise ModelError(
            "protocol",
            f"the child process answered {doing!r} with nonsense: {error}. "
            "The runtime may have damaged its memory: export the file again.",
        ) from error
