"""`edgekit boards`: an agent brought to a real ssh server, and what is said when it cannot be."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from edgekit.boards.named import boards, boards_file, parse_board
from edgekit.boards.probing import Machine, Python, check_disk, read_probe, suitable_python
from edgekit.cli import main
from edgekit.errors import BoardError

AGENT = ".local/share/edgekit/agent"
Capture = pytest.CaptureFixture[str]


def test_a_board_is_added_listed_checked_and_removed(sshd: Any, capsys: Capture) -> None:
    sshd.put_agent()
    python = f"{sshd.home}/{AGENT}/bin/python"
    assert main(["boards", "add", "pi", sshd.url, "--python", python]) == 0
    assert "Use it with --board pi." in capsys.readouterr().out
    assert main(["boards", "list"]) == 0
    assert re.search(rf"^pi +{re.escape(sshd.url)}$", capsys.readouterr().out, re.M)
    board = parse_board("pi")
    assert str(board) == "pi"
    assert main(["boards", "check", "pi"]) == 0
    assert "pi: ready. " in capsys.readouterr().out
    assert main(["boards", "check", "pi", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["problem"] is None
    assert told["runtimes"]
    sshd.stop()
    assert main(["boards", "check", "pi"]) == 1
    assert "pi cannot be reached: no ssh server answers" in capsys.readouterr().out
    assert main(["boards", "remove", "pi"]) == 0
    assert boards() == {}
    assert main(["boards", "remove", "pi"]) == 2
    assert "no board is remembered as 'pi'" in capsys.readouterr().err


def test_a_profile_on_a_named_board(sshd: Any, capsys: Capture) -> None:
    sshd.put_agent()
    assert (
        main(["boards", "add", "pi", sshd.url, "--python", f"{sshd.home}/{AGENT}/bin/python"]) == 0
    )
    model = Path(__file__).parents[1] / "device/models/conv_int8.tflite"
    short = ["--runs", "2", "--seconds", "0", "--rounds", "1", "--idle-seconds", "0"]
    capsys.readouterr()
    assert main(["profile", str(model), "--board", "pi", *short, "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["golden"]["status"] == "passed"


@pytest.mark.slow
def test_the_agent_is_installed_from_this_checkout(
    sshd: Any, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["boards", "check", sshd.url]) == 1
    assert f"no agent on {sshd.url}: edgekit boards add" in capsys.readouterr().out
    assert main(["boards", "add", "pi", sshd.url, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["runtimes"][0]["runtime"]["name"] == "litert"
    assert told["runtimes"][0]["problem"] is None
    (site,) = (sshd.home / AGENT / "lib").glob("python3*/site-packages")
    assert (site / "edgekit_device" / "serve.py").is_file()
    assert not (sshd.home / ".cache/edgekit-agent/wheels").exists()
    assert main(["boards", "check", "pi"]) == 0
    # An environment that has lost its agent.
    shutil.rmtree(site / "edgekit_device")
    capsys.readouterr()
    assert main(["boards", "check", "pi"]) == 1
    assert "There is no agent on pi: edgekit boards add pi" in capsys.readouterr().out


@pytest.mark.slow
def test_a_board_without_a_network_is_given_all_it_needs(sshd: Any, capsys: Capture) -> None:
    # Its pip finds no index, as where there is no network.
    (sshd.home / ".config/pip").mkdir(parents=True)
    (sshd.home / ".config/pip/pip.conf").write_text(
        "[global]\nindex-url = http://127.0.0.1:1/simple\nextra-index-url =\nfind-links =\n"
        "retries = 1\n"
    )
    assert main(["boards", "add", "pi", sshd.url]) == 2
    assert "pi cannot reach its package index: connect it, or" in capsys.readouterr().err
    assert main(["boards", "add", "pi", sshd.url, "--offline"]) == 0
    assert "with litert" in capsys.readouterr().out


def tools(sshd: Any, *extra: tuple[str, str]) -> None:
    """Makes the board one that has little more than a shell."""
    folder = sshd.folder / "tools"
    folder.mkdir()
    for name in ("sh", "uname", "df", "tail", "mkdir", "cat", "ldd", "grep", "rm"):
        (folder / name).symlink_to(str(shutil.which(name)))
    for name, script in extra:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    sshd.stop()
    sshd.start()


def test_a_board_without_python_is_told_how_to_get_one(sshd: Any, capsys: Capture) -> None:
    tools(sshd)
    assert main(["boards", "add", "pi", sshd.url]) == 2
    assert "pi has no Python: install one of 3.10 to 3.13" in capsys.readouterr().err
    assert boards() == {}


def test_a_board_whose_folder_cannot_be_written_is_said(sshd: Any, capsys: Capture) -> None:
    (sshd.home / ".local").write_text("a file is in the way")
    assert main(["boards", "add", "pi", sshd.url]) == 2
    assert ".local/share/edgekit cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("printed", "says"),
    [
        ("throttled=0x50005", "pi is throttled now: under-voltage, throttled. What is measured"),
        ("throttled=0x8", "soft temperature limit. What is measured there is a slower board. It "),
        ("throttled=0x50000", None),
        ("VCHI initialization failed", None),
    ],
)
def test_a_throttled_board_is_said(
    sshd: Any, capsys: Capture, printed: str, says: str | None
) -> None:
    tools(sshd, ("vcgencmd", f'[ "$1" = get_throttled ] && echo "{printed}"'))
    sshd.put_agent()
    python = f"{sshd.home}/{AGENT}/bin/python"
    assert main(["boards", "add", "pi", sshd.url, "--python", python]) == 0
    capsys.readouterr()
    assert main(["boards", "check", "pi"]) == 0
    said = capsys.readouterr().out
    assert "pi: ready. " in said
    assert ("throttled now" in said) == (says is not None)
    assert says is None or says in said
    assert main(["boards", "check", "pi", "--json"]) == 0
    assert bool(json.loads(capsys.readouterr().out)["throttled"]) == (says is not None)


def test_an_agent_of_another_version_is_said(
    sshd: Any, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    sshd.put_agent()
    monkeypatch.setattr("edgekit.boards.checking.__version__", "9.9.9")
    assert main(["boards", "check", sshd.url]) == 1
    said = capsys.readouterr().out
    assert re.search(r"has version \S+, this edgekit 9\.9\.9", said)
    assert f"edgekit boards add NAME {sshd.url}" in said


PYTHON = Python("python3", (3, 11, 2), 64, True)
PI = Machine("Linux", "aarch64", False, True, "/home/pi", 10**10, (PYTHON,))


def test_a_raspberry_pi_is_suitable() -> None:
    assert suitable_python(PI, "pi") == PYTHON
    check_disk(PI, "pi")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"system": "Darwin"}, "runs Darwin; the agent needs Linux"),
        ({"architecture": "armv7l"}, "of architecture armv7l; the runtimes exist for aarch64"),
        ({"musl": True}, "C library musl"),
        ({"pythons": ()}, "sudo apt-get install python3 python3-venv"),
        ({"pythons": (Python("python3", (3, 9, 2), 64, True),)}, "has python3 3.9.2; the agent"),
        ({"pythons": (Python("python3", (3, 14, 0), 64, True),)}, "needs Python 3.10 to 3.13"),
        ({"pythons": (Python("python3", (3, 11, 2), 32, True),)}, "has a 32-bit system"),
        ({"pythons": (Python("python3", (3, 11, 2), 64, False),)}, "apt-get install python3-venv"),
        ({"writable": False}, "/home/pi/.local/share/edgekit cannot be written"),
        ({"free_bytes": 10**8}, "The disk of pi is full: 100 MB are free in /home/pi"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_makes_a_machine_unsuitable_is_said(changes: dict[str, Any], says: str) -> None:
    machine = Machine(**{**vars(PI), **changes})
    with pytest.raises(BoardError, match=re.escape(says)):
        check_disk(machine, str(suitable_python(machine, "pi")) and "pi")


def test_another_python_is_taken_where_the_first_does_not_do() -> None:
    pythons = (
        Python("python3", (3, 9, 2), 64, True),
        Python("python3.12", (3, 12, 1), 64, False),
        Python("python3.11", (3, 11, 2), 64, True),
    )
    assert suitable_python(Machine(**{**vars(PI), "pythons": pythons}), "pi") == pythons[2]


def test_a_probe_is_read_whatever_a_login_prints() -> None:
    printed = (
        "Welcome!\nedgekit:system=Linux\nedgekit:architecture=aarch64\nedgekit:home=/home/pi\n"
        "edgekit:writable=yes\n"
        "edgekit:disk=/dev/my disk  30000000 100 20000000  1% /\n"
        "edgekit:python=python3 3.11.2 64 1\nedgekit:python=python3.13 \nbye\n"
    )
    assert read_probe(printed, "pi") == Machine(**{**vars(PI), "free_bytes": 20000000 * 1024})
    with pytest.raises(BoardError, match="no POSIX shell"):
        read_probe("Welcome!\n", "pi")


@pytest.mark.parametrize("name", ["local", "", "a b", "-pi", "ssh://x", "pi:1", "ä", "x" * 65])
def test_what_cannot_be_a_name_is_refused(name: str, capsys: Capture) -> None:
    assert main(["boards", "add", "--", name, "ssh://pi@127.0.0.1:1"]) == 2
    assert "cannot be a board's name" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        "no toml",
        'schema = "edgekit.boards/2"',
        'schema = "edgekit.boards/1"\nmore = 1',
        'schema = "edgekit.boards/1"\nboards = 1',
        'schema = "edgekit.boards/1"\n[boards]\npi = "ssh://pi@pi"',
        'schema = "edgekit.boards/1"\n[boards.pi]\nurl = 3',
        'schema = "edgekit.boards/1"\n[boards.pi]\nurl = "ssh://pi@pi"\nport = "3"',
    ],
)
def test_a_file_of_boards_that_breaks_its_rules_is_refused(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    boards_file().parent.mkdir()
    boards_file().write_text(text)
    with pytest.raises(BoardError, match=re.escape(str(boards_file()))):
        parse_board("pi")


def test_a_folder_for_boards_that_is_a_file_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sshd: Any, capsys: Capture
) -> None:
    sshd.put_agent()
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    python = f"{sshd.home}/{AGENT}/bin/python"
    assert main(["boards", "add", "pi", sshd.url, "--python", python]) == 2
    assert "boards.toml: it cannot be read: [Errno 20]" in capsys.readouterr().err
