"""An agent whose client sends anything answers each line and lives; nothing is left behind."""

import json
import os
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import pytest
from agent_client import SHORT, AgentClient
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit_device.arithmetic import Arithmetic
from edgekit_device.errors import RequestError
from edgekit_device.lines import read_lines
from edgekit_device.messages import MOST_LINE_BYTES, read_answer, read_request

_FILE = {"name": "m.tflite", "sha256": None}
VALID: list[dict[str, Any]] = [
    {"type": "hello", "protocol": 2},
    {"type": "put", "sha256": "1b" * 32, "bytes": 3, "offset": 0, "data": "YWJj"},
    {"type": "put", "sha256": "2c" * 32, "bytes": 3, "offset": 0, "data": ""},
    {
        "type": "profile",
        "job": "job",
        "models": [{"file": _FILE, "beside": []}],
        "board_profile": None,
        "settings": asdict(SHORT),
        "keep_s": 0.0,
    },
    {
        "type": "emulate",
        "job": "job",
        "models": [{"file": _FILE, "beside": []}],
        "npu": "nepu-v1",
        "arithmetic": asdict(Arithmetic()),
        "table": None,
        "runtime": "auto",
        "keep_s": 0.0,
    },
    {"type": "result", "job": "job"},
    {"type": "cancel", "job": "job"},
    {"type": "forget", "job": "job"},
]
LINES = [json.dumps(message).encode() for message in VALID]
SPLICES = [
    *(b"{", b"}", b"[", b"]", b'"', b",", b":", b"null", b"true", b"-1", b"1e999", b"NaN"),
    *(b"\\ud800", b"\xff\xfe", b"\0", b"[" * 3000, b"9" * 5000, b"../..", b"\\n", b"{}", b'"job"'),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def agent(folder: Path) -> Iterator[AgentClient]:
    with AgentClient(folder / "store", "--store-limit", "100000") as client:
        yield client


def answers(agent: AgentClient, line: bytes, number: int) -> list[dict[str, Any]]:
    """What the agent says to one line, by way of a second one whose answer is known."""
    agent.write(line + b"\n")
    agent.send(type="cancel", job=f"mark-{number}")
    got = []
    while (message := agent.receive()).get("job") != f"mark-{number}":
        got.append(message)
    return got


def is_answered_once(said: list[dict[str, Any]]) -> bool:
    """Whether one of the messages answers a line; the end of a job may be among the others."""
    ends = [message for message in said if message["type"] == "result" or message.get("ended")]
    others = [message for message in said if message not in ends]
    replies = [message for message in others if message["type"] != "progress"]
    return len(replies) == 1 or (not replies and bool(ends))


def mutated(generator: random.Random) -> bytes:
    line = bytearray(generator.choice(LINES))
    for _ in range(generator.randint(0, 4)):
        at = generator.randrange(len(line) + 1)
        match generator.randrange(5):
            case 0:
                line[at:at] = generator.choice(SPLICES)
            case 1:
                del line[at : at + generator.randint(1, 12)]
            case 2 if at < len(line):
                line[at] = generator.randrange(256)
            case 3:
                other = generator.choice(LINES)
                line[at:] = other[generator.randrange(len(other)) :]
            case _:
                del line[at:]
    return bytes(line).replace(b"\n", b" ")


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b"", "garbage"),
        (b" ", "garbage"),
        (b"null", "garbage"),
        (b"[]", "garbage"),
        (b"{}", "garbage"),
        (b'{"type": 3}', "garbage"),
        (b'{"type": "hello"', "garbage"),
        (b'{"type": "hello", "protocol": 2} x', "garbage"),
        (b"\xff\xfe{\x00", "garbage"),
        (b"[" * 100_000, "garbage"),
        (b'{"a":' * 100_000, "garbage"),
        (b'{"type": "hello", "protocol": ' + b"9" * 10_000 + b"}", "garbage"),
        (b'{"type": "hello", "protocol": 99999999999999999999}', "version"),
        (b'{"type": "hello", "protocol": "1"}', "bad-request"),
        (b'{"type": "hello", "protocol": true}', "bad-request"),
        (b'{"type": "hello", "protocol": 2, "more": 1}', "bad-request"),
        (b'{"type": "hello", "protocol": NaN}', "bad-request"),
        (b'{"type": "serve"}', "unknown-type"),
        (b'{"type": "' + b"x" * 900_000 + b'"}', "unknown-type"),
        (b'{"type": "cancel", "job": "\\ud800"}', "bad-request"),
        (b'{"type": "cancel", "job": null}', "bad-request"),
        (b"x" * MOST_LINE_BYTES, "garbage"),
        (b"x" * (MOST_LINE_BYTES + 1), "line-too-long"),
    ],
    ids=lambda value: str(value[:40]) if isinstance(value, bytes) else value,
)
def test_a_line_that_is_no_message_gets_a_named_error(
    agent: AgentClient, line: bytes, kind: str
) -> None:
    (error,) = answers(agent, line, 0)
    assert (error["type"], error["kind"], error["ended"]) == ("error", kind, False)
    assert 10 < len(error["message"]) < 1000


def test_an_endless_line_is_answered_and_costs_no_memory(folder: Path) -> None:
    with AgentClient(folder / "endless") as agent:
        before = psutil.Process(agent.process.pid).memory_info().rss
        piece = bytes(1 << 20)
        for _ in range(2048):
            agent.write(piece)
        (error,) = answers(agent, b"", 0)
        assert error["kind"] == "line-too-long"
        assert psutil.Process(agent.process.pid).memory_info().rss < before + 8e6


def test_a_half_line_at_the_end_is_answered(folder: Path) -> None:
    with AgentClient(folder / "half") as agent:
        agent.write(b'{"type": "hello", "protocol": 2}')
        agent.stdin.close()
        assert agent.receive()["kind"] == "half-line"
        assert agent.process.wait(30) == 0


def test_every_mutated_line_is_answered_once_and_the_agent_lives(folder: Path) -> None:
    count, generator = 10_000, random.Random(5)
    lines = [mutated(generator) for _ in range(count)]
    home = folder / "mutated"
    home.mkdir()
    with AgentClient(home / "store", "--store-limit", "100000") as agent:

        def write() -> None:
            for number, line in enumerate(lines):
                agent.write(line + b"\n")
                agent.send(type="cancel", job=f"mark-{number}")

        writer = threading.Thread(target=write)
        writer.start()
        for number, line in enumerate(lines):
            said = []
            while (message := agent.receive()).get("job") != f"mark-{number}":
                said.append(message)
            assert is_answered_once(said), (line, said)
        writer.join()
        children = psutil.Process(agent.process.pid).children(recursive=True)
        agent.stdin.close()
        assert agent.process.wait(60) == 0
        _, alive = psutil.wait_procs(children, timeout=10)
        assert not alive
    assert os.listdir(home) == ["store"]
    store = home / "store"
    assert {path.name for path in store.iterdir()} <= {
        *("files", "incoming", "jobs", "lock", "machine")
    }
    # All that was put was wrong, and no job left more than its end.
    assert list((store / "files").iterdir()) == []
    kept = {path.name for path in store.glob("jobs/*/*")}
    assert kept <= {"end.json", "request.json", "words", "lock"}


@settings(max_examples=300)
@given(seed=st.integers(0, 2**64))
def test_a_message_is_understood_or_refused_by_name(seed: int) -> None:
    line = mutated(random.Random(seed))
    for read in (read_request, read_answer):
        error = refusal(read, line)
        if error is not None:
            assert error.kind in ("garbage", "unknown-type", "bad-request")
            assert len(str(error)) < 1000


def refusal(read: Callable[[bytes], object], line: bytes) -> RequestError | None:
    try:
        read(line)
    except RequestError as error:
        return error
    return None


@given(
    pieces=st.lists(st.binary(max_size=30) | st.just(b"\n"), max_size=20),
    most=st.integers(1, 20),
)
def test_lines_are_what_lies_between_ends_however_they_arrive(
    pieces: list[bytes], most: int
) -> None:
    reader, writer = os.pipe()
    try:
        lines = read_lines(reader, most)
        for piece in pieces:
            os.write(writer, piece)
        os.close(writer)
        got = list(lines)
    finally:
        os.close(reader)
    *whole, half = b"".join(pieces).split(b"\n")
    expected = [line if len(line) <= most else "line-too-long" for line in whole]
    expected += ["half-line"] if half else []
    assert [item.kind if isinstance(item, RequestError) else item for item in got] == expected
