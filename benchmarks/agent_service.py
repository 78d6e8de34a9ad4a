"""The serving agent: from its start to its hello, its memory, its size, and what it takes in."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import results

import edgekit_device
from edgekit_device.messages import PIECE_BYTES, PROTOCOL

_STARTS = 10
_FILE_BYTES = 64 * 10**6
_LINES = 10_000


def main() -> None:
    hello_s, rss_bytes = [], []
    for _ in range(_STARTS):
        with tempfile.TemporaryDirectory() as store:
            start_s = time.perf_counter()
            agent = _Agent(store)
            hello_s.append(time.perf_counter() - start_s)
            rss_bytes.append(psutil.Process(agent.process.pid).memory_info().rss)
            agent.end()
    with tempfile.TemporaryDirectory() as store:
        agent = _Agent(store)
        put_s, lines_s = _put_s(agent), _lines_s(agent)
        agent.end()
    package = Path(edgekit_device.__file__).parent
    installed = sum(f.stat().st_size for f in package.rglob("*") if f.is_file())
    needs = _folder_bytes("numpy", "numpy.libs", "psutil")
    facts = {
        "hello_s": hello_s,
        "rss_bytes": rss_bytes,
        "put_bytes_per_s": _FILE_BYTES / put_s,
        "garbage_lines_per_s": _LINES / lines_s,
        "agent_bytes": installed,
        "numpy_and_psutil_bytes": needs,
    }
    table = [
        ["what", "value", "goal"],
        ["start to hello, median of 10", f"{np.median(hello_s):.2f} s", "1 s"],
        ["memory (RSS) after hello", f"{max(rss_bytes) / 1e6:.0f} MB", "60 MB"],
        ["agent, installed", f"{installed / 1e6:.1f} MB", "–"],
        ["with numpy and psutil", f"{(installed + needs) / 1e6:.0f} MB", "60 MB"],
        ["files taken in", f"{_FILE_BYTES / put_s / 1e6:.0f} MB/s", "–"],
        ["lines of garbage answered", f"{_LINES / lines_s:.0f} /s", "–"],
    ]
    results.write("agent_service", facts, table)


class _Agent:
    def __init__(self, store: str) -> None:
        command = [sys.executable, "-m", "edgekit_device", "serve", "--store", store]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.ask({"type": "hello", "protocol": PROTOCOL})

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError("an agent without pipes")
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def end(self) -> None:
        self.process.communicate()


def _put_s(agent: _Agent) -> float:
    data = np.random.default_rng(0).bytes(_FILE_BYTES)
    sha256, have = hashlib.sha256(data).hexdigest(), 0
    start_s = time.perf_counter()
    while have < _FILE_BYTES:
        piece = base64.b64encode(data[have : have + PIECE_BYTES]).decode()
        put = {"type": "put", "sha256": sha256, "bytes": _FILE_BYTES, "offset": have, "data": piece}
        have = agent.ask(put)["bytes"]
    return time.perf_counter() - start_s


def _lines_s(agent: _Agent) -> float:
    start_s = time.perf_counter()
    for number in range(_LINES):
        agent.ask({"type": "cancel", "jobs": number})
    return time.perf_counter() - start_s


def _folder_bytes(*names: str) -> int:
    site = Path(np.__file__).parents[1]
    files = [f for name in names for f in (site / name).rglob("*") if f.is_file()]
    return sum(file.stat().st_size for file in files)


if __name__ == "__main__":
    main()
