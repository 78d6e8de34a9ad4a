"""An agent that serves: what it keeps, what it measures, and how it ends."""

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from agent_client import LONG, SHORT, AgentClient

from edgekit_device import Record, __version__
from edgekit_device.messages import PROTOCOL

Copy = Callable[..., Path]
DATA = bytes(range(256)) * 40
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def agent(store: Path) -> Iterator[AgentClient]:
    with AgentClient(store) as client:
        yield client


def piece(offset: int, content: bytes, **changes: Any) -> dict[str, Any]:
    text = base64.b64encode(content).decode()
    said = {"type": "put", "sha256": SHA256, "bytes": len(DATA), "offset": offset, "data": text}
    return {**said, **changes}


def family(pid: int) -> list[psutil.Process]:
    return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]


def all_gone(processes: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=15)
    return not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def test_a_model_is_put_and_profiled(agent: AgentClient, model: Copy, store: Path) -> None:
    models = [agent.put_model(model(name)) for name in ("conv_int8", "conv_float32")]
    assert agent.profile("job", *models) == {"type": "running", "job": "job"}
    end = agent.until("result", "error")
    records = [Record.from_json(record) for record in end["records"]]
    assert [record.model.file for record in records] == ["conv_int8.tflite", "conv_float32.tflite"]
    assert [record.golden.status for record in records] == ["passed", "passed"]
    assert agent.ask(type="result", job="job") == end
    assert agent.ask(type="forget", job="job") == {"type": "forget", "job": "job"}
    assert store.stat().st_mode & 0o777 == 0o700
    assert list((store / "jobs").iterdir()) == []
    assert len(list((store / "files").iterdir())) == 6
    assert list((store / "incoming").iterdir()) == []


def test_a_file_comes_in_pieces_through_two_connections(store: Path) -> None:
    with AgentClient(store) as first:
        assert first.ask(**piece(0, b""))["bytes"] == 0
        assert first.ask(**piece(0, DATA[:4000]))["bytes"] == 4000
    with AgentClient(store) as second:
        assert second.ask(**piece(0, b""))["bytes"] == 4000
        # A piece that is not the next one is left out.
        assert second.ask(**piece(5000, DATA[5000:]))["bytes"] == 4000
        assert second.ask(**piece(0, DATA[:4000]))["bytes"] == 4000
        assert second.ask(**piece(4000, DATA[4000:]))["bytes"] == len(DATA)
        assert second.ask(**piece(0, b""))["bytes"] == len(DATA)
    assert (store / "files" / SHA256).read_bytes() == DATA


def test_an_empty_file_is_a_file(agent: AgentClient, store: Path) -> None:
    nothing = hashlib.sha256(b"").hexdigest()
    assert agent.ask(**piece(0, b"", sha256=nothing, bytes=0))["bytes"] == 0
    assert (store / "files" / nothing).read_bytes() == b""


@pytest.mark.parametrize(
    ("message", "kind", "says"),
    [
        (piece(0, DATA[1:] + b"x"), "wrong-hash", "it was removed, send it again"),
        (piece(0, DATA + b"x"), "wrong-size", f"{len(DATA) + 1} more came"),
        (piece(0, b"", bytes=10**7), "too-large", "keeps 1000000 bytes"),
        (piece(0, b"", bytes=-1), "bad-request", "not negative"),
        (piece(0, b"", sha256="../../etc/passwd"), "bad-request", "64 small hexadecimal digits"),
        (piece(0, b"", sha256=SHA256.upper()), "bad-request", "64 small hexadecimal digits"),
        (piece(0, b"", data="%%%"), "bad-request", "base64 is needed"),
        (piece(0, b"", data="Zürich"), "bad-request", "base64 is needed"),
    ],
    ids=["hash", "long", "limit", "negative", "path", "capitals", "base64", "ascii"],
)
def test_a_file_that_cannot_be_kept_is_refused_and_leaves_nothing(
    store: Path, message: dict[str, Any], kind: str, says: str
) -> None:
    with AgentClient(store, "--store-limit", "1000000") as agent:
        error = agent.ask(**message)
        assert (error["type"], error["kind"]) == ("error", kind)
        assert says in error["message"]
        assert agent.ask(**piece(0, DATA))["bytes"] == len(DATA)
    kept = [file for folder in ("files", "incoming") for file in (store / folder).iterdir()]
    assert [file.name for file in kept] == [SHA256]


def test_the_longest_unused_file_goes_when_a_new_one_needs_its_place(store: Path) -> None:
    with AgentClient(store, "--store-limit", "25000") as agent:
        names = []
        for letter in (b"a", b"b", b"c"):
            data = letter * 10_000
            names.append(hashlib.sha256(data).hexdigest())
            agent.ask(**piece(0, data, sha256=names[-1], bytes=len(data)))
            if letter == b"b":
                # Asked for again: b is the one that nobody has used since.
                time.sleep(0.01)
                agent.ask(**piece(0, b"", sha256=names[0], bytes=len(data)))
    assert {file.name for file in (store / "files").iterdir()} == {names[0], names[2]}


def test_old_files_ends_and_leftovers_go(store: Path, model: Copy) -> None:
    with AgentClient(store) as agent:
        agent.put_model(model("conv_int8", bare=True))
        agent.ask(**piece(0, DATA[:10]))
    old_s = time.time() - 40 * 86400
    for job, names in (("ended", ["end.json"]), ("killed", ["request.json"])):
        (store / "jobs" / job).mkdir(parents=True)
        for name in names:
            (store / "jobs" / job / name).write_text("{}")
    for path in [*store.glob("files/*"), *store.glob("incoming/*"), *store.glob("jobs/*")]:
        os.utime(path, (old_s, old_s))
    with AgentClient(store):
        assert [*store.glob("files/*"), *store.glob("incoming/*"), *store.glob("jobs/*")] == []


def test_a_damaged_file_is_asked_for_again(agent: AgentClient, model: Copy, store: Path) -> None:
    wanted = agent.put_model(model("conv_int8", bare=True))
    (file,) = (store / "files").iterdir()
    file.write_bytes(b"x" + file.read_bytes()[1:])
    error = agent.profile("job", wanted)
    assert error["kind"] == "missing-file"
    assert wanted["file"]["sha256"] in error["message"]
    agent.put_model(model("conv_int8", bare=True))
    assert agent.profile("job", wanted)["type"] == "running"
    assert agent.until("result", "error")["records"][0]["status"] == "ok"


@pytest.mark.parametrize(
    ("changes", "kind", "says"),
    [
        ({"job": "../x"}, "bad-request", "a job is named by"),
        ({"job": ""}, "bad-request", "a job is named by"),
        ({"models": []}, "bad-request", "at least one model"),
        ({"keep_s": -1.0}, "bad-request", "keep_s"),
        ({"keep_s": 1e300}, "bad-request", "keep_s"),
        ({"settings": {}}, "bad-request", "profile.settings: the keys do not fit"),
        (
            {"models": [{"file": {"name": "m", "sha256": "0" * 64}, "beside": []}]},
            "missing-file",
            "",
        ),
        *(
            (
                {"models": [{"file": {"name": name, "sha256": None}, "beside": []}]},
                "bad-request",
                "name",
            )
            for name in ("", ".", "..", "a/b", "/etc/x", ".x", "a\nb", "a\0b", "\ud800", "é" * 101)
        ),
    ],
)
def test_a_job_that_cannot_be_is_refused_and_leaves_nothing(
    agent: AgentClient, store: Path, changes: dict[str, Any], kind: str, says: str
) -> None:
    model = {"file": {"name": "m.tflite", "sha256": None}, "beside": []}
    job = {"job": "job", "models": [model], "board_profile": None, "keep_s": 0.0}
    error = agent.ask(**{"type": "profile", **job, "settings": asdict(SHORT), **changes})
    assert (error["type"], error["kind"], error["ended"]) == ("error", kind, False)
    assert says in error["message"]
    assert not list(store.glob("jobs/*"))


def test_files_of_one_name_beside_one_model_are_refused(agent: AgentClient, model: Copy) -> None:
    file = agent.put_model(model("conv_int8", bare=True))["file"]
    assert agent.profile("job", {"file": file, "beside": [file]})["kind"] == "bad-request"


def test_settings_out_of_range_are_refused(agent: AgentClient) -> None:
    settings = {**asdict(SHORT), "rounds": 0}
    model = {"file": {"name": "m.tflite", "sha256": None}, "beside": []}
    job = {"type": "profile", "job": "job", "models": [model], "board_profile": None}
    error = agent.ask(**job, settings=settings, keep_s=0.0)
    assert error["kind"] == "bad-request"
    assert "rounds: must be a whole number of at least 1. Received: 0" in error["message"]


def test_a_job_ends_with_a_named_error(agent: AgentClient, model: Copy) -> None:
    wanted = agent.put_model(model("conv_int8"))
    agent.profile("one", wanted, settings=replace(SHORT, profile="pi9"))
    end = agent.until("error")
    assert (end["kind"], end["job"], end["ended"]) == ("board-profile", "one", True)
    assert "there is no board profile 'pi9'" in end["message"]


def test_a_board_profile_of_the_clients_is_applied(
    agent: AgentClient, model: Copy, tmp_path: Path, board_text: str
) -> None:
    file = tmp_path / "own.toml"
    file.write_text(board_text)
    own, wanted = agent.put(file), agent.put_model(model("conv_int8"))
    agent.profile("job", wanted, board_profile=own)
    assert agent.until("result")["records"][0]["machine"]["board"] == "bench"


def test_one_job_at_a_time_and_each_name_once(agent: AgentClient, model: Copy) -> None:
    wanted = agent.put_model(model("conv_int8"))
    agent.profile("one", wanted, settings=LONG)
    agent.until_round()
    assert agent.profile("two", wanted)["kind"] == "busy"
    assert agent.ask(type="result", job="one")["kind"] == "awaited"
    assert agent.ask(type="cancel", job="one") == {"type": "cancel", "job": "one"}
    end = agent.until("error", "result")
    assert (end["kind"], end["job"], end["ended"]) == ("cancelled", "one", True)
    assert agent.profile("one", wanted)["kind"] == "job-exists"
    agent.ask(type="forget", job="one")
    assert agent.profile("one", wanted)["type"] == "running"
    assert agent.until("result")["records"][0]["status"] == "ok"


def test_a_job_is_cancelled_before_it_has_begun(
    agent: AgentClient, model: Copy, store: Path
) -> None:
    wanted = agent.put_model(model("conv_int8"))
    for index in range(5):
        assert agent.profile(f"job{index}", wanted, settings=LONG)["type"] == "running"
        agent.send(type="cancel", job=f"job{index}")
        messages = [agent.until("cancel", "error"), agent.until("cancel", "error")]
        assert {message["type"] for message in messages} == {"cancel", "error"}
        (end,) = (message for message in messages if message["type"] == "error")
        assert (end["kind"], end["ended"]) == ("cancelled", True)
        # Its end is kept, or where it was too young to write one nothing at all.
        kept = [path.name for path in store.glob(f"jobs/job{index}/*")]
        assert not kept or "end.json" in kept
        assert "0" not in kept


def test_two_agents_take_turns_on_one_machine(store: Path, model: Copy) -> None:
    with AgentClient(store) as first, AgentClient(store) as second:
        wanted = first.put_model(model("conv_int8"))
        first.profile("one", wanted, settings=LONG)
        first.until_round()
        second.profile("two", wanted)
        assert second.receive()["event"]["event"] == "waiting"
        # Any connection may end any job.
        assert second.ask(type="cancel", job="one")["type"] == "cancel"
        assert first.until("error")["kind"] == "cancelled"
        assert second.until("result")["records"][0]["status"] == "ok"


def test_the_end_of_a_job_outlives_its_connection(store: Path, model: Copy) -> None:
    with AgentClient(store) as first, AgentClient(store) as second:
        wanted = first.put_model(model("conv_int8"))
        first.profile("job", wanted, settings=replace(SHORT, seconds=5.0), keep_s=60.0)
        first.until_round()
        assert second.ask(type="result", job="job") == {"type": "running", "job": "job"}
        first.stdin.close()
        first.stdout.close()
        end = second.receive()
        assert end["records"][0]["status"] == "ok"
        assert second.ask(type="result", job="job") == end
        assert first.process.wait(30) == 0


def test_a_job_that_may_not_outlive_its_connection_ends_with_it(store: Path, model: Copy) -> None:
    with AgentClient(store) as agent:
        agent.profile("job", agent.put_model(model("conv_int8")), settings=LONG)
        agent.until_round()
        processes = family(agent.process.pid)
        assert len(processes) == 3
        agent.stdin.close()
        assert agent.process.wait(30) == 0
        assert all_gone(processes)
    assert list((store / "jobs").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_an_agent_that_is_ended_takes_its_job_along(
    store: Path, model: Copy, number: signal.Signals
) -> None:
    with AgentClient(store) as agent:
        wanted = agent.put_model(model("conv_int8"))
        agent.profile("job", wanted, settings=LONG, keep_s=60.0)
        agent.until_round()
        processes = family(agent.process.pid)
        agent.process.send_signal(number)
        agent.process.wait(30)
        assert all_gone(processes)
    with AgentClient(store) as other:
        assert other.ask(type="result", job="job")["kind"] == "unknown-job"
        other.ask(type="forget", job="job")
        assert other.profile("job", wanted)["type"] == "running"
        assert other.until("result")["records"][0]["status"] == "ok"


def test_a_job_whose_process_is_killed_is_a_named_error(agent: AgentClient, model: Copy) -> None:
    wanted = agent.put_model(model("conv_int8"))
    agent.profile("job", wanted, settings=LONG)
    agent.until_round()
    (job,) = psutil.Process(agent.process.pid).children()
    job.kill()
    end = agent.until("error")
    assert (end["kind"], end["ended"]) == ("job-died", True)
    assert "signal 9" in end["message"]
    agent.ask(type="forget", job="job")
    assert agent.profile("job", wanted)["type"] == "running"
    agent.until("result")


def test_whoever_awaits_a_job_learns_that_its_agent_was_killed(store: Path, model: Copy) -> None:
    with AgentClient(store) as first, AgentClient(store) as second:
        first.profile("job", first.put_model(model("conv_int8")), settings=LONG)
        first.until_round()
        assert second.ask(type="result", job="job")["type"] == "running"
        first.process.kill()
        end = second.receive()
        assert (end["kind"], end["job"], end["ended"]) == ("job-died", "job", True)


def test_a_folder_that_cannot_be_written_is_a_named_error(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file is in the way")
    with AgentClient(tmp_path / "store") as agent:
        error = agent.ask(**piece(0, DATA))
        assert (error["kind"], error["ended"]) == ("disk", False)
        assert "make it writable, or name --store" in error["message"]
        assert agent.ask(type="hello", protocol=PROTOCOL)["type"] == "hello"


def test_a_disk_that_takes_no_more_is_a_named_error_and_leaves_nothing(store: Path) -> None:
    # Files end at 8 KiB there, as on a disk with that much left.
    limited = ["sh", "-c", 'ulimit -f 16; exec "$@"', "sh"]
    with AgentClient(store, around=limited) as agent:
        assert agent.ask(**piece(0, DATA[:4000]))["bytes"] == 4000
        error = agent.ask(**piece(4000, DATA[4000:]))
        assert error["kind"] == "disk-full"
        assert "free some space on the board" in error["message"]
        assert agent.ask(**piece(0, b""))["bytes"] == 4000
    with AgentClient(store) as agent:
        assert agent.ask(**piece(4000, DATA[4000:]))["bytes"] == len(DATA)


def test_a_limit_that_keeps_nothing_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edgekit_device", "serve", "--store-limit", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--store-limit: must be at least 1 byte. Received: 0" in done.stderr


def test_a_folder_of_jobs_that_is_a_file_is_a_named_error(store: Path) -> None:
    store.mkdir()
    (store / "jobs").write_text("a file is in the way")
    with AgentClient(store) as agent:
        for request in ("result", "cancel", "forget"):
            error = agent.ask(type=request, job="job")
            assert (error["kind"], error["ended"]) == ("disk", False)
        wanted = {"file": {"name": "m.tflite", "sha256": None}, "beside": []}
        assert agent.profile("job", wanted)["kind"] == "disk"


def test_the_command_line_says_hello(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edgekit_device", "serve", "--store", str(tmp_path / "store")],
        input=f'{{"type": "hello", "protocol": {PROTOCOL}}}\n',
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["agent"]["version"] == __version__


def test_an_agent_is_small(agent: AgentClient) -> None:
    rss_bytes = psutil.Process(agent.process.pid).memory_info().rss
    assert rss_bytes < 60e6


def test_a_client_that_reads_nothing_does_not_hold_up_the_job(store: Path, model: Copy) -> None:
    with AgentClient(store) as agent:
        wanted = agent.put_model(model("conv_int8"))
        agent.profile("job", wanted, settings=replace(SHORT, rounds=20, runs=20), keep_s=60.0)
        # More than the pipe holds, and nobody reads: the agent waits, its job does not.
        flood = threading.Thread(target=_flood, args=(agent,), daemon=True)
        flood.start()
        until_s = time.monotonic() + 60
        while not (store / "jobs/job/end.json").exists():
            assert time.monotonic() < until_s
            time.sleep(0.1)
        agent.process.kill()
        flood.join()


def _flood(agent: AgentClient) -> None:
    try:
        for _ in range(5000):
            agent.write(b"garbage\n")
    except BrokenPipeError:
        return
