"""The other end of child.py: starts the process, asks it, and says why it ended before its time."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from edgekit.errors import EdgeKitError
from edgekit.training.child import OUT_OF_MEMORY, Request

_LAST_WORDS = 300
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_ERROR = re.compile(r"^[\w.]+(?:Error|Exception)\b", re.MULTILINE)


class ChildError(EdgeKitError):
    """A measured process that gave no answer; `memory` says that it may have lacked memory."""

    def __init__(self, reason: str, *, memory: bool) -> None:
        """Keeps the reason."""
        super().__init__(reason)
        self.memory = memory


class Child:
    """One process of child.py; `environ` is what it is to see of the environment."""

    def __init__(self, request: Request, folder: Path, environ: Mapping[str, str]) -> None:
        """Starts it; its request and its last words stand in `folder`."""
        folder.mkdir(parents=True)
        file, self._words = folder / "request.json", folder / "words.txt"
        file.write_text(json.dumps(asdict(request)))
        with self._words.open("wb") as words:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "edgekit.training.child", str(file)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=words,
                env=dict(environ),
                text=True,
                encoding="utf-8",
            )

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def ask(self, command: str) -> dict[str, Any]:
        """Has it do something and waits for the answer.

        Raises:
            ChildError: it ended, or says what is wrong.
        """
        stdin = self._process.stdin
        # A process that has ended says why below.
        with suppress(BrokenPipeError):
            if stdin is not None:
                stdin.write(f"{command}\n")
                stdin.flush()
        return self.hear()

    def hear(self) -> dict[str, Any]:
        """Waits for its next answer, of which the first is a hello.

        Raises:
            ChildError: it ended, or says what is wrong.
        """
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line.endswith("\n"):
            raise self._ended()
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ChildError(str(answer["error"]), memory=answer["kind"] == OUT_OF_MEMORY)
        return answer

    def close(self) -> None:
        """Ends it, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                # What could not be sent any more is not to be sent now.
                with suppress(BrokenPipeError):
                    pipe.close()

    def _ended(self) -> ChildError:
        code = self._process.wait()
        if code == -signal.SIGKILL:
            return ChildError(
                "the process was killed, as the system does where memory runs out", memory=True
            )
        if code < 0:
            return ChildError(f"the process broke off ({signal.Signals(-code).name})", memory=True)
        words = self._words.read_text(encoding="utf-8", errors="replace")
        return ChildError(f"the process ended: {_cause(words) or f'code {code}'}", memory=False)


def _cause(words: str) -> str:
    """The error in a process's last words, from where Python names it, or else their last line."""
    plain = _COLOURS.sub("", words)
    errors = list(_ERROR.finditer(plain))
    lines = plain[errors[-1].start() :].split() if errors else plain.strip().split("\n")[-1:]
    return " ".join(lines)[:_LAST_WORDS]
