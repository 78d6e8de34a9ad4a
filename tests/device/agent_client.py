"""A real agent in a child process, spoken to line by line."""

import base64
import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from edgekit_device import Settings
from edgekit_device.arithmetic import Arithmetic
from edgekit_device.messages import PROTOCOL

# Whatever meter the machine has would make them longer.
_BRIEF = Settings(rounds=1, warmup=1, idle_seconds=0.0, sample_interval_s=0.0, meter="model")
SHORT = replace(_BRIEF, runs=2, seconds=0.0)
LONG = replace(_BRIEF, runs=1, seconds=60.0)


class AgentClient:
    """An agent with a store; greeted unless told otherwise."""

    def __init__(
        self, store: Path, *options: str, greet: bool = True, around: Sequence[str] = ()
    ) -> None:
        command = [
            *around,
            sys.executable,
            "-m",
            "edgekit_device",
            "serve",
            "--store",
            str(store),
            *options,
        ]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        if greet:
            self.ask(type="hello", protocol=PROTOCOL)

    def __enter__(self) -> "AgentClient":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self.stdin.closed:
            self.stdin.close()
        try:
            self.process.wait(30)
        finally:
            self.process.kill()
            self.process.wait()
            self.stdout.close()

    def send(self, **message: Any) -> None:
        self.write(json.dumps(message).encode() + b"\n")

    def write(self, content: bytes) -> None:
        view = memoryview(content)
        while view:
            view = view[self.stdin.write(view) :]

    def receive(self) -> dict[str, Any]:
        content = self.stdout.readline()
        assert content.endswith(b"\n"), f"no whole line: {content!r}"
        message: dict[str, Any] = json.loads(content)
        return message

    def ask(self, **message: Any) -> dict[str, Any]:
        self.send(**message)
        return self.receive()

    def put(self, path: Path) -> dict[str, str]:
        data = path.read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        text = base64.b64encode(data).decode()
        have = self.ask(type="put", sha256=sha256, bytes=len(data), offset=0, data=text)
        assert have == {"type": "put", "sha256": sha256, "bytes": len(data)}
        return {"name": path.name, "sha256": sha256}

    def put_model(self, model: Path) -> dict[str, Any]:
        beside = [model.with_suffix(".manifest.json"), model.with_suffix(".golden.npz")]
        return {
            "file": self.put(model),
            "beside": [self.put(file) for file in beside if file.exists()],
        }

    def profile(
        self,
        job: str,
        *models: dict[str, Any],
        settings: Settings = SHORT,
        keep_s: float = 0.0,
        board_profile: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        return self.ask(
            type="profile",
            job=job,
            models=list(models),
            board_profile=board_profile,
            settings=asdict(settings),
            keep_s=keep_s,
        )

    def emulate(
        self,
        job: str,
        *models: dict[str, Any],
        arithmetic: Arithmetic,
        table: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        return self.ask(
            type="emulate",
            job=job,
            models=list(models),
            npu="nepu-v1",
            arithmetic=asdict(arithmetic),
            table=table,
            runtime="auto",
            keep_s=0.0,
        )

    def until(self, *types: str) -> dict[str, Any]:
        """The next message of one of these types; progress before it is left out."""
        while (message := self.receive())["type"] not in types:
            assert message["type"] == "progress", message
        return message

    def until_round(self) -> None:
        while self.receive()["event"]["event"] != "round":
            pass
