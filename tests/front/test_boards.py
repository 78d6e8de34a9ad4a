"""Boards: how they are named, what comes back, and what is said when nothing does."""

import hashlib
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import psutil
import pytest

from edgekit.boards import LocalBoard, ProfileSettings, parse_board, profile_on
from edgekit.boards.channel import Ended
from edgekit.boards.connection import Connection
from edgekit.errors import BoardError
from edgekit.progress import Listener, Step
from edgekit_device.errors import BoardProfileError

QUICK = ProfileSettings(runs=2, seconds=0, warmup=1, rounds=2, idle_seconds=0)
ROOT = Path(__file__).parents[2]
TFLITE_RUNTIME = ROOT / ".venv/agents/tflite-runtime/bin/python"
MODELS = ROOT / "tests/device/models"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("pi", "'pi' is no board; give local, local:PYTHON"),
        ("ssh://", "'ssh://' is no board: give ssh://user@host"),
        ("ssh://pi:secret@host", "without a password"),
        ("ssh://-oProxyCommand=x@host", "is no board"),
        ("ssh://pi@-oProxyCommand=x", "is no board"),
        ("ssh://pi@host:0", "is no board"),
        ("ssh://pi@host:65536", "is no board"),
        ("ssh://pi@host/path", "is no board"),
        ("ssh://pi@host name", "is no board"),
        ("Local", "'Local' is no board"),
        ("", "'' is no board"),
        ("local:/no/such/python", "there is no file /no/such/python"),
        ("local:/tmp", "there is no file /tmp; give a Python interpreter"),
    ],
)
def test_what_is_no_board_is_refused(text: str, says: str) -> None:
    with pytest.raises(BoardError, match=re.escape(says)):
        parse_board(text)


def test_boards_are_written_as_they_are_named() -> None:
    assert parse_board("local") == LocalBoard(Path(sys.executable))
    assert str(parse_board("local")) == "local"
    assert str(parse_board(f"local:{sys.executable}")) == "local"
    assert str(parse_board("local:/bin/sh")) == "local:/bin/sh"


def test_a_relative_interpreter_is_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "python").touch()
    monkeypatch.chdir(tmp_path)
    assert parse_board("local:python").python == tmp_path / "python"


def test_records_come_in_the_order_of_the_files_and_steps_while_it_runs() -> None:
    files = [MODELS / "conv_int8.tflite", MODELS / "conv_float32.tflite"]
    steps: list[Step] = []
    records = profile_on(parse_board("local"), files, QUICK, steps.append)
    assert [record["model"]["file"] for record in records] == [file.name for file in files]
    assert [record["status"] for record in records] == ["ok", "ok"]
    assert all(record["settings"]["runs"] == 2 for record in records)
    assert all(record["golden"]["status"] == "passed" for record in records)
    rounds = [step for step in steps if "round" in step.detail]
    assert [step.fraction for step in rounds] == [0.0, 0.0, 0.5, 0.5]
    assert {step.task for step in steps} == {"profile"}
    # Interleaved: both files within each round, and not always in the same order.
    names = [file.name for file in files]
    assert [step.detail.split()[0] for step in rounds] == [*names, *reversed(names)]


def test_a_missing_file_is_an_error_record_beside_the_others(tmp_path: Path) -> None:
    files = [tmp_path / "none.tflite", MODELS / "conv_float32.tflite"]
    missing, present = profile_on(parse_board("local"), files, QUICK)
    assert (missing["status"], present["status"]) == ("error", "ok")
    assert "none.tflite: there is no such file" in missing["error"]["message"]
    assert missing["latency_ms"]["p50"]["how"] == "unavailable"


def agent(folder: Path, body: str) -> LocalBoard:
    """A board whose interpreter is the script given."""
    script = folder / "agent"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)
    return LocalBoard(script)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("echo 'No module named edgekit_device' >&2; exit 1", "has no agent; install it there"),
        ("exit 3", "cannot profile: it ended with code 3"),
        ("kill -9 $$", "cannot profile: it ended with code -9"),
        ("echo noise; echo 'edgekit-agent: no runtime' >&2; exit 2", "cannot profile: no runtime"),
        ('echo \'{"type": "hel\'; exit 0', "not as an agent does (a line must be one JSON object"),
        ('printf \'{"type": "hel\'; exit 0', 'cannot profile: {"type": "hel'),
        ('echo \'{"type": "put"}\'', "not as an agent does (put: the keys do not fit"),
        ('echo \'{"type": "forget", "job": "x"}\'; cat >&2', "not as an agent does (no hello)"),
        ("yes noise", "not as an agent does (no hello)"),
        ("echo 3", "cannot profile: 3"),
    ],
    ids=[
        *("no-agent", "code", "killed", "refuses", "cut-line", "cut-short", "wrong-keys"),
        *("no-hello", "endless", "another-program"),
    ],
)
def test_what_is_no_agent_is_explained(tmp_path: Path, body: str, says: str) -> None:
    with pytest.raises(BoardError, match=re.escape(says)):
        profile_on(agent(tmp_path, body), [tmp_path / "m.tflite"], QUICK)


def test_an_interpreter_without_the_agent_gets_the_command_that_installs_it(
    tmp_path: Path,
) -> None:
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True
    )
    python = tmp_path / "bare" / "bin" / "python"
    with pytest.raises(BoardError) as error:
        profile_on(parse_board(f"local:{python}"), [tmp_path / "m.tflite"], QUICK)
    assert f"{python} -m pip install 'edgekit-device[litert]'" in str(error.value)


@pytest.mark.parametrize("mode", [stat.S_IRUSR, 0o755], ids=["not-executable", "no-program"])
def test_a_file_that_is_no_interpreter_is_explained(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "notes"
    file.write_bytes(b"\x00\x01 no program")
    file.chmod(mode)
    with pytest.raises(BoardError, match=r"notes cannot be started .*give a Python interpreter"):
        profile_on(parse_board(f"local:{file}"), [tmp_path / "m.tflite"], QUICK)


def test_interrupting_ends_the_agent_its_job_and_its_workers(tmp_path: Path) -> None:
    long = ProfileSettings(runs=1, seconds=600, warmup=1, rounds=1, idle_seconds=0)
    family: list[psutil.Process] = []

    def stop(step: Step) -> None:
        if "round" in step.detail:
            family.extend(psutil.Process().children(recursive=True))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        profile_on(parse_board("local"), [MODELS / "conv_int8.tflite"], long, stop)
    assert len(family) == 3
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive


def test_what_a_login_prints_before_the_agent_is_skipped(tmp_path: Path) -> None:
    board = agent(tmp_path, f'echo "Welcome to Pi"; exec {sys.executable} "$@"')
    (record,) = profile_on(board, [MODELS / "conv_int8.tflite"], QUICK)
    assert record["status"] == "ok"


class SocketBoard:
    """An agent behind a Unix socket: what another kind of board has to bring."""

    pauses_s: ClassVar[tuple[float, ...]] = ()
    keep_s: ClassVar[float] = 0.0

    def __str__(self) -> str:
        return "socket"

    def open(self, progress: Listener) -> "SocketChannel":
        return SocketChannel()

    def explain(self, ended: Ended, *, greeted: bool) -> BoardError:
        return BoardError(f"the socket closed (greeted: {greeted})")


class SocketChannel:
    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "edgekit_device", "serve"]
            self.agent = subprocess.Popen(command, stdin=theirs, stdout=theirs)
        self.reader = self.writer = self._socket.fileno()

    def close(self) -> Ended:
        self._socket.close()
        return Ended((), self.agent.wait(30))


def test_an_agent_behind_a_socket_is_a_board() -> None:
    (record,) = profile_on(SocketBoard(), [MODELS / "conv_int8.tflite"], QUICK)
    assert record["golden"]["status"] == "passed"


def test_a_socket_that_closes_is_a_lost_connection() -> None:
    with Connection(SocketBoard()) as connection:
        connection._channel.agent.kill()
        with pytest.raises(BoardError, match=r"the socket closed \(greeted: True\)"):
            connection.receive(30)


def test_files_of_one_name_are_kept_apart(tmp_path: Path) -> None:
    for folder, name in (("a", "conv_int8"), ("b", "conv_float32")):
        (tmp_path / folder).mkdir()
        for suffix in (".tflite", ".golden.npz"):
            shutil.copy(MODELS / f"{name}{suffix}", tmp_path / folder / f"model{suffix}")
        manifest = json.loads((MODELS / f"{name}.manifest.json").read_text())
        manifest["golden"]["file"] = "model.golden.npz"
        (tmp_path / folder / "model.manifest.json").write_text(json.dumps(manifest))
    files = [tmp_path / folder / "model.tflite" for folder in ("a", "b")]
    records = profile_on(parse_board("local"), files, QUICK)
    assert [record["golden"]["status"] for record in records] == ["passed", "passed"]
    assert [record["model"]["sha256"] for record in records] == [
        hashlib.sha256(file.read_bytes()).hexdigest() for file in files
    ]


def test_a_board_profile_of_ones_own_travels_along(board_toml: Path) -> None:
    own = replace(QUICK, profile=str(board_toml), seconds=0.3)
    (record,) = profile_on(parse_board("local"), [MODELS / "conv_int8.tflite"], own)
    assert record["machine"]["board"] == "bench"
    assert record["energy_j"]["how"] == "estimated"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"profile": "pi9"}, "there is no board profile 'pi9'"),
        ({"runtime": "tflite-runtime"}, "'tflite-runtime' is not installed"),
    ],
)
def test_what_the_agent_cannot_obey_is_said(changes: dict[str, Any], says: str) -> None:
    with pytest.raises((BoardError, BoardProfileError), match=re.escape(says)):
        profile_on(parse_board("local"), [MODELS / "conv_int8.tflite"], replace(QUICK, **changes))


def test_an_agent_that_is_killed_before_its_hello_is_started_again(tmp_path: Path) -> None:
    once = f"[ -e {tmp_path}/killed ] || {{ touch {tmp_path}/killed; kill -9 $$; }}"
    board = agent(tmp_path, f'{once}; exec {sys.executable} "$@"')
    steps: list[Step] = []
    (record,) = profile_on(board, [MODELS / "conv_int8.tflite"], QUICK, steps.append)
    assert record["status"] == "ok"
    assert [step.task for step in steps].count("reconnect") == 1


def has_old_python() -> bool:
    """As the Makefile looks for one: tflite-runtime has wheels up to Python 3.11."""
    check = "import sys, venv; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 11))"
    for name in (os.environ.get("PYTHON", "python3"), "python3.11", "python3.10"):
        try:
            done = subprocess.run([name, "-c", check], capture_output=True, check=False)
        except OSError:
            continue
        if done.returncode == 0:
            return True
    return False


def test_another_environments_runtime_is_a_board_of_its_own(compared: Any) -> None:
    if not TFLITE_RUNTIME.is_file():
        if os.environ.get("EDGEKIT_NO_SKIP") == "1" and has_old_python():
            pytest.fail(f"{TFLITE_RUNTIME} is missing although there is a Python for it")
        pytest.skip(f"{TFLITE_RUNTIME} is not there (make test sets it up)")
    board = parse_board(f"local:{TFLITE_RUNTIME}")
    files = [compared.out / row.file for row in compared.result.rows]
    records = profile_on(board, files, QUICK)
    assert [record["error"] for record in records] == [None] * len(files)
    assert {record["runtime"]["name"] for record in records} == {"tflite-runtime"}
    assert {record["golden"]["status"] for record in records} == {"passed"}


def test_a_connection_lost_after_the_records_came_costs_nothing(tmp_path: Path) -> None:
    script = tmp_path / "agent"
    script.write_text(f"""#!{sys.executable}
import os, subprocess, sys, threading

pipe, came = subprocess.PIPE, threading.Event()
agent = subprocess.Popen([sys.executable, *sys.argv[1:]], stdin=pipe, stdout=pipe)

def tell():
    for line in agent.stdout:
        if b'"type": "result"' in line:
            came.set()
        sys.stdout.buffer.write(line)
        sys.stdout.flush()

threading.Thread(target=tell, daemon=True).start()
for line in sys.stdin.buffer:
    if came.is_set() and b'"forget"' in line:
        agent.kill()
        os._exit(0)
    agent.stdin.write(line)
    agent.stdin.flush()
agent.stdin.close()
agent.wait()
""")
    script.chmod(0o755)
    steps: list[Step] = []
    (record,) = profile_on(LocalBoard(script), [MODELS / "conv_int8.tflite"], QUICK, steps.append)
    assert record["status"] == "ok"
    assert not [step for step in steps if step.task == "reconnect"]
