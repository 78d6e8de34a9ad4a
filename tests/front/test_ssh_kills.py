"""Whatever is killed at whatever moment on the way to a board: the records are complete and right.

EDGEKIT_KILLS sets how many kills there are.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

KILLS = int(os.environ.get("EDGEKIT_KILLS", "8"))
MODELS = Path(__file__).parents[1] / "device/models"
VICTIMS = ("edgekit", "ssh", "agent", "job", "worker", "sshd")

# The part of a comparison that deals with boards, as a process of its own that can be killed.
FRONT = """
import hashlib, json, sys
from pathlib import Path
from types import SimpleNamespace
from edgekit.boards import ProfileSettings, check_board, parse_board
from edgekit.measuring import measure_all
from edgekit.progress import silent
from edgekit.store import open_run

run, url, *files = sys.argv[1:]
settings = ProfileSettings(runs=2, seconds=1.0, warmup=1, rounds=2, idle_seconds=0.3)
board = parse_board(url)
hashed = [(Path(f), hashlib.sha256(Path(f).read_bytes()).hexdigest()) for f in files]
made = [SimpleNamespace(recipe=f.stem, file=f, sha256=sha256) for f, sha256 in hashed]
agents = {board: {"agent": "known", "runtimes": []}}
print("started", flush=True)
print(json.dumps(measure_all(open_run(run), agents, made, settings, silent, resumed=True)))
"""


def victims(sshd: Any, front: int) -> dict[str, list[psutil.Process]]:
    """The processes between edgekit and the model, by what they are."""
    found: dict[str, list[psutil.Process]] = {name: [] for name in VICTIMS}
    with suppress(psutil.Error):
        found["edgekit"] = [psutil.Process(front)]
        found["ssh"] = [p for p in psutil.Process(front).children() if p.name() == "ssh"]
        # The server's process for this connection, not the one that listens.
        found["sshd"] = psutil.Process(sshd.process.pid).children(recursive=True)
        found["sshd"] = [p for p in found["sshd"] if p.name().startswith("sshd")]
    for pid in sshd.processes():
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            words = " ".join(process.cmdline())
            for name, sign in (("agent", " serve"), ("job", ".job "), ("worker", ".worker")):
                if sign in words:
                    found[name].append(process)
    return found


@pytest.mark.slow
def test_records_survive_kills_at_random_moments(sshd: Any, tmp_path: Path) -> None:
    sshd.put_agent()
    generator, killed = random.Random(11), Counter[str]()
    files = [MODELS / "conv_int8.tflite", MODELS / "conv_float32.tflite"]
    number = 0
    while killed.total() < KILLS:
        number += 1
        run = tmp_path / f"run{number}"
        command = [sys.executable, "-c", FRONT, str(run), sshd.url, *map(str, files)]
        output = None
        while output is None:
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as front:
                assert front.stdout is not None
                assert front.stdout.readline() == "started\n"
                time.sleep(generator.uniform(0, 4))
                name = generator.choice(VICTIMS)
                for process in victims(sshd, front.pid)[name][:1]:
                    with suppress(psutil.NoSuchProcess):
                        process.kill()
                        killed[name] += 1
                output, _ = front.communicate(timeout=120)
                output = output or None
        records = [item["record"] for item in json.loads(output)]
        crashed = [record for record in records if record["status"] == "error"]
        # A worker that dies is the model's own failure, which its record says.
        assert all(record["error"]["kind"] == "crash" for record in crashed)
        assert not crashed or killed["worker"]
        assert all(item["golden"]["status"] == "passed" for item in records if item not in crashed)
        until_s = time.monotonic() + 30
        while sshd.processes():
            assert time.monotonic() < until_s, "a process is left on the board"
            time.sleep(0.1)
    print(dict(killed))
