"""The page on the agent's protocol is true: its examples are replayed, its tables complete."""

import json
import re
from pathlib import Path
from typing import Any

from agent_client import AgentClient

from edgekit_device.messages import MOST_LINE_BYTES, PROTOCOL
from edgekit_device.settings import Settings

PAGE = Path(__file__).parents[2] / "docs/agent-protocol.md"
SOURCES = Path(__file__).parents[2] / "device/edgekit_device"


def exchanges() -> list[tuple[str, list[str]]]:
    """Each request of the page with the answers shown for it."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"^```\n(→.*?)^```", PAGE.read_text(), re.M | re.S):
        for line in block.splitlines():
            if line.startswith("→ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line.removeprefix("← "))
    return found


def fits(shown: Any, got: Any) -> bool:
    if shown == "…":
        return True
    if isinstance(shown, dict):
        same = isinstance(got, dict) and shown.keys() == got.keys()
        return same and all(fits(value, got[key]) for key, value in shown.items())
    if isinstance(shown, list):
        same = isinstance(got, list) and len(shown) == len(got)
        return same and all(map(fits, shown, got))
    return bool(shown == got)


def test_the_examples_are_what_happens(tmp_path: Path) -> None:
    shown = exchanges()
    assert len(shown) > 12
    with AgentClient(tmp_path / "store", greet=False) as agent:
        for request, answers in shown:
            agent.write(request.encode() + b"\n")
            for answer in answers:
                got = agent.receive()
                assert fits(json.loads(answer), got), (request, answer, got)


def test_every_type_and_version_is_on_the_page() -> None:
    text = PAGE.read_text()
    assert f"protocol version **{PROTOCOL}**" in text
    assert f'"line_bytes": {MOST_LINE_BYTES}' in text
    for name in ("hello", "put", "profile", "emulate", "result", "cancel", "forget"):
        assert f'→ {{"type": "{name}"' in text
    for field in vars(Settings()):
        assert f'"{field}"' in text


def test_every_kind_of_error_is_on_the_page() -> None:
    kinds: set[str] = set()
    for name in ("serve", "jobs", "depot", "lines", "messages", "job"):
        source = (SOURCES / f"{name}.py").read_text()
        kinds |= set(re.findall(r'(?:RequestError|Error)\(\s*"([a-z-]+)"', source))
        ends = "disk-full|disk|board-profile|no-runtime|no-delegate|no-meter"
        kinds |= set(re.findall(rf'"({ends})"', source))
    assert len(kinds) > 15
    table = PAGE.read_text().rpartition("| kind |")[2]
    assert kinds == set(
        re.findall(
            r"`([a-z]+(?:-[a-z]+)*)`",
            "".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `")),
        )
    )
