"""Boards behind a real ssh server: what they measure, and what is lost when something dies."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from edgekit.boards import LocalBoard, ProfileSettings, check_board, parse_board, profile_on
from edgekit.boards.channel import Ended, UnreachableError
from edgekit.boards.emulating import emulate_on
from edgekit.boards.ssh import SshBoard, ssh_board
from edgekit.errors import BoardError
from edgekit.measuring import measure_all
from edgekit.npu.target import load_target
from edgekit.progress import Step, silent
from edgekit.store import open_run

QUICK = ProfileSettings(runs=2, seconds=0, warmup=1, rounds=2, idle_seconds=0)
WHILE = ProfileSettings(runs=1, seconds=3, warmup=1, rounds=1, idle_seconds=0)
"""Long enough for something to happen meanwhile."""

MODELS = Path(__file__).parents[1] / "device/models"
MODEL = MODELS / "conv_int8.tflite"


@pytest.fixture
def board(sshd: Any) -> SshBoard:
    sshd.put_agent()
    return ssh_board(sshd.url)


class Watch:
    """Listens to steps, and does something once in the middle of the measurement."""

    def __init__(self, act: Callable[[], Any] = lambda: None) -> None:
        self.steps: list[Step] = []
        self._act: Callable[[], Any] | None = act

    def __call__(self, step: Step) -> None:
        self.steps.append(step)
        if "round" in step.detail and self._act:
            act, self._act = self._act, None
            act()

    def count(self, word: str) -> int:
        return sum(word in (step.task, step.detail) for step in self.steps)


def all_gone(sshd: Any, within_s: float = 15) -> bool:
    until_s = time.monotonic() + within_s
    while sshd.processes():
        if time.monotonic() > until_s:
            return False
        time.sleep(0.1)
    return True


def stored(sshd: Any, folder: str) -> list[Path]:
    return sorted((sshd.home / ".cache/edgekit-agent" / folder).iterdir())


def clients() -> list[psutil.Process]:
    """The ssh processes that this one has started."""
    return [child for child in psutil.Process().children() if child.name() == "ssh"]


def test_models_are_emulated_there(board: SshBoard, tmp_path: Path) -> None:
    npu = load_target("nepu-v1", ["weight_bits=4"])
    (done,) = emulate_on(board, [MODEL], npu)
    assert (done.npu, done.arithmetic, done.inputs) == ("nepu-v1", npu.arithmetic, "golden")
    assert sum(node.macs for node in done.totals) > 0
    with pytest.raises(BoardError, match=r"cannot emulate: .*none\.tflite cannot be read"):
        emulate_on(board, [tmp_path / "none.tflite"], npu)


def test_models_are_measured_there_and_travel_once(sshd: Any, board: SshBoard) -> None:
    told = check_board(board, QUICK)
    assert told["runtimes"][0]["name"] in ("litert", "tflite-runtime")
    files = [MODEL, MODELS / "conv_float32.tflite"]
    records = profile_on(board, files, QUICK)
    assert [record["status"] for record in records] == ["ok", "ok"]
    assert {record["golden"]["status"] for record in records} == {"passed"}
    first = {file.name: file.stat().st_ino for file in stored(sshd, "files")}
    assert len(first) == 6
    profile_on(board, files, QUICK)
    assert {file.name: file.stat().st_ino for file in stored(sshd, "files")} == first
    assert stored(sshd, "jobs") == []
    assert all_gone(sshd)
    assert clients() == []


def test_what_a_login_prints_is_no_hindrance(sshd: Any, board: SshBoard) -> None:
    (sshd.home / ".bashrc").write_text("echo Welcome to the board\n")
    assert check_board(board, QUICK)["agent"]["version"]


def test_a_killed_ssh_costs_nothing_the_end_is_fetched(sshd: Any, board: SshBoard) -> None:
    watch = Watch(lambda: [client.kill() for client in clients()])
    (record,) = profile_on(board, [MODEL], WHILE, watch)
    assert record["status"] == "ok"
    assert watch.count("reconnect") == 1
    # Measured once: the second connection only waits for the end.
    assert watch.count("idle") == 1
    assert stored(sshd, "jobs") == []
    assert all_gone(sshd)


def test_a_killed_agent_is_started_again_with_the_job(sshd: Any, board: SshBoard) -> None:
    def kill() -> None:
        (agent,) = [
            process
            for process in map(psutil.Process, sshd.processes())
            if process.cmdline()[-1] == "serve"
        ]
        agent.kill()

    watch = Watch(kill)
    (record,) = profile_on(board, [MODEL], WHILE, watch)
    assert record["status"] == "ok"
    assert watch.count("reconnect") == 1
    assert watch.count("idle") == 2
    assert stored(sshd, "jobs") == []
    assert all_gone(sshd)


def test_a_board_that_is_away_for_a_while_is_waited_for(sshd: Any, board: SshBoard) -> None:
    def away() -> None:
        sshd.stop()
        for client in clients():
            client.kill()
        threading.Timer(2.0, sshd.start).start()

    watch = Watch(away)
    (record,) = profile_on(board, [MODEL], WHILE, watch)
    assert record["status"] == "ok"
    assert watch.count("idle") == 1
    refused = [step.detail for step in watch.steps if step.task == "reconnect"]
    assert any(f"no ssh server answers on port {sshd.port}" in text for text in refused)


def test_an_agent_that_dies_every_time_is_given_up(
    sshd: Any, board: SshBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SshBoard, "pauses_s", (0.1,))

    def kill(step: Step) -> None:
        if "round" in step.detail:
            for pid in sshd.processes():
                os.kill(pid, signal.SIGKILL)

    with pytest.raises(BoardError, match="begun 3 times and never came to its end"):
        profile_on(board, [MODEL], WHILE, kill)


def test_a_killed_edgekit_finds_its_measurement_again(sshd: Any, board: SshBoard) -> None:
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from edgekit.boards import ProfileSettings, parse_board, profile_on\n"
        "settings = ProfileSettings(runs=1, seconds=3, warmup=1, rounds=1, idle_seconds=0)\n"
        "def tell(step):\n    print(step.detail, flush=True)\n"
        "profile_on(parse_board(sys.argv[1]), [Path(sys.argv[2])], settings, tell, job='job')\n"
    )
    command = [sys.executable, "-c", code, sshd.url, str(MODEL)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as front:
        assert front.stdout is not None
        for line in front.stdout:
            if "round" in line:
                break
        front.kill()
    watch = Watch()
    (record,) = profile_on(board, [MODEL], WHILE, watch, job="job", resumed=True)
    assert record["status"] == "ok"
    assert watch.count("idle") == 0
    assert stored(sshd, "jobs") == []


def test_interrupting_ends_the_job_on_the_board(sshd: Any, board: SshBoard) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    long = ProfileSettings(runs=1, seconds=600, warmup=1, rounds=1, idle_seconds=0)
    with pytest.raises(KeyboardInterrupt):
        profile_on(board, [MODEL], long, Watch(interrupt))
    assert clients() == []
    assert all_gone(sshd)


class Made(NamedTuple):
    """What measuring knows of a recipe's file."""

    recipe: str
    file: Path
    sha256: str


def made(file: Path) -> Made:
    return Made(file.stem, file, hashlib.sha256(file.read_bytes()).hexdigest())


def test_boards_work_side_by_side_and_one_that_dies_costs_only_its_own(
    sshd: Any, board: SshBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SshBoard, "pauses_s", (0.1,))
    while_both = replace(WHILE, seconds=8.0)
    local = LocalBoard(Path(sys.executable))
    agents = {place: check_board(place, while_both) for place in (board, local)}
    begun: set[str] = set()
    at_once: list[int] = []

    def listen(step: Step) -> None:
        if "round" in step.detail:
            begun.add(step.lane)
            at_once.append(len(begun))
            if len(begun) == 2:
                sshd.stop()
                for pid in sshd.processes():
                    os.kill(pid, signal.SIGKILL)
        if step.fraction == 1.0:
            begun.discard(step.lane)

    run, files = open_run(tmp_path / "run"), [made(MODEL)]
    there, here = measure_all(run, agents, files, while_both, listen, resumed=False)
    assert (there["board"], here["board"]) == (str(board), "local")
    assert "no ssh server answers" in there["record"]["error"]["message"]
    assert here["record"]["status"] == "ok"
    assert max(at_once) == 2
    # What was measured is kept for a comparison that is killed now.
    told: list[Step] = []
    sshd.start()
    monkeypatch.undo()
    again = measure_all(run, agents, files, while_both, told.append, resumed=True)
    assert again[1]["record"] == here["record"]
    assert any("what was measured on local" in step.detail for step in told)


def test_a_disk_that_is_full_here_stops_all_boards(
    board: SshBoard, sshd: Any, tmp_path: Path
) -> None:
    from edgekit.errors import DiskError

    local = LocalBoard(Path(sys.executable))
    agents = {place: check_board(place, QUICK) for place in (local, board)}
    run = open_run(tmp_path / "run")
    (run / "measured").write_text("in the way")
    with pytest.raises(DiskError):
        measure_all(run, agents, [made(MODEL)], QUICK, silent, resumed=False)
    assert clients() == []
    assert all_gone(sshd)


def test_a_server_that_does_not_answer_is_said(sshd: Any, board: SshBoard) -> None:
    sshd.stop()
    with pytest.raises(UnreachableError, match=r"no ssh server answers on port \d+\. Switch ssh"):
        check_board(board, QUICK)


def test_a_host_key_that_is_not_known_is_said(sshd: Any, board: SshBoard) -> None:
    (sshd.client / "known_hosts").write_text("")
    with pytest.raises(BoardError, match=r"not known yet: connect once by hand .* ssh -p \d+ "):
        check_board(board, QUICK)


def test_a_host_key_that_changed_is_said(sshd: Any, board: SshBoard) -> None:
    sshd.stop()
    sshd.new_key(sshd.folder / "host_key")
    sshd.start()
    with pytest.raises(BoardError, match=r"has changed.*ssh-keygen -R '\[127\.0\.0\.1\]:\d+'"):
        check_board(board, QUICK)


def test_a_key_that_is_refused_is_said(sshd: Any, board: SshBoard) -> None:
    sshd.new_key(sshd.client / "id")
    with pytest.raises(BoardError, match=r"refuses your key.*ssh-copy-id"):
        check_board(board, QUICK)


def test_a_board_without_an_agent_gets_the_command_that_installs_it(sshd: Any) -> None:
    with pytest.raises(BoardError, match=f"no agent on .*: edgekit boards add NAME {sshd.url}"):
        check_board(parse_board(sshd.url), QUICK)


@pytest.mark.parametrize(
    ("words", "code", "kind", "says"),
    [
        ("ssh: Could not resolve hostname pi: Name or service not known", 255, True, "host name"),
        ("ssh: connect to host 10.0.0.9 port 22: Connection timed out", 255, True, "is it on"),
        ("ssh: connect to host 10.0.0.9 port 22: No route to host", 255, True, "is it on"),
        ("Timeout, server pi not responding.", 255, True, "does not answer"),
        ("client_loop: send disconnect: Broken pipe", 255, True, "connection to pi is lost"),
        ("", -9, True, "connection to pi is lost"),
        ("/etc/ssh/ssh_config: line 3: Bad configuration option: x", 255, False, "configured"),
        ("sh: 1: exec: /home/pi/python: not found", 127, False, "boards add pi ssh://u@pi"),
        ("python: No module named edgekit_device", 1, False, "There is no agent on pi"),
        ("invalid choice: 'serve' (choose from 'info')", 2, False, "is of an older version"),
        ("Fatal Python error: init_fs_encoding", 1, False, "cannot be started (code 1): Fatal"),
    ],
)
def test_what_ssh_says_is_put_in_words(words: str, code: int, kind: bool, says: str) -> None:
    board = ssh_board("ssh://u@pi", "pi")
    ended = Ended((words,) if words else (), code)
    error = board.explain(ended, greeted=False)
    assert says.lower() in str(error).lower()
    assert isinstance(error, UnreachableError) is kind
