import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from edgekit_device.errors import ModelError
from edgekit_device.protocol import Imported, Loaded, Shares
from edgekit_device.runtime import choose, installed
from edgekit_device.session import Session
from edgekit_device.worker import serve


def test_chatter_of_the_runtime_does_not_reach_the_protocol() -> None:
    # What a library prints from C goes to file descriptor 1, whatever sys.stdout is.
    code = (
        "import os, sys, edgekit_device.worker as w\n"
        "w.import_interpreter = lambda name: os.write(1, b'INFO: chatter\\n')\n"
        "w.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input='{"ask": "import", "runtime": "litert", "affinity": null}\n',
        capture_output=True,
        text=True,
        check=True,
    )
    assert list(json.loads(done.stdout)) == ["ok"]
    assert "chatter" in done.stderr


def test_a_worker_answers_in_order_and_ends_with_its_input(
    model: Callable[..., Path],
) -> None:
    name = choose("auto", installed()).name
    with Session() as session:
        # More patience than the kernel's longest wait, 24 days.
        imported = session.ask({"ask": "import", "runtime": name, "affinity": None}, Imported, 1e12)
        assert imported.baseline_rss_bytes > 1e7
        path = str(model("two_by_two"))
        loaded = session.ask({"ask": "load", "model": path, "threads": 1}, Loaded, 60)
        assert (len(loaded.inputs), len(loaded.outputs)) == (2, 2)
        run = {"ask": "run", "runs": 3, "seconds": 0, "parts": 2, "cycle": None}
        share, second = session.ask(run, Shares, 60).parts
        assert second.begin_s >= share.begin_s + share.wall_ns / 1e9
        assert share.tally.runs == 3
        assert 0 < share.tally.total_ns <= share.wall_ns
        pid = session.pid
        # It leaves no core file, and where memory runs out the agent is not the one to go.
        assert psutil.Process(pid).rlimit(psutil.RLIMIT_CORE)[0] == 0
        assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "1000"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_worker_that_dies_leaves_its_last_words() -> None:
    with Session() as session, pytest.raises(ModelError) as caught:
        session.ask({"ask": "import", "runtime": "no such runtime", "affinity": None}, Imported, 60)
    assert caught.value.kind == "crash"
    assert "exit code 1" in str(caught.value)
    assert "KeyError: 'no such runtime'" in str(caught.value)


def test_a_refusal_is_an_answer_not_a_death(tmp_path: Path) -> None:
    name = choose("auto", installed()).name
    asks = [
        {"ask": "import", "runtime": name, "affinity": None},
        {"ask": "load", "model": str(tmp_path / "nothing.tflite"), "threads": 1},
        {"ask": "import", "runtime": name, "affinity": None},
    ]
    answers = io.StringIO()
    serve(io.StringIO("".join(json.dumps(ask) + "\n" for ask in asks)), answers)
    first, second, third = (json.loads(line) for line in answers.getvalue().splitlines())
    assert "ok" in first
    assert second["error"]["kind"] == "load"
    assert "ok" in third
