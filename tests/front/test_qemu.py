"""Boards that QEMU emulates: real packages, a real kernel, real boots; one image for all."""

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import pytest

from edgekit.boards import ProfileSettings, check_board, parse_board, profile_on
from edgekit.boards.connection import Connection
from edgekit.boards.emulating import emulate_on
from edgekit.boards.qemu import QemuBoard, host, machines, standing
from edgekit.boards.qemu.cache import cache_folder
from edgekit.boards.qemu.delegate import delegate_key
from edgekit.boards.qemu.emulator import version
from edgekit.boards.qemu.raising import raise_board
from edgekit.cli import main
from edgekit.errors import BoardError
from edgekit.npu.target import load_target
from edgekit.progress import Step, silent
from edgekit_device.errors import UsageError

DEVICE = Path(__file__).parents[1] / "device"
TINY = DEVICE / "models/conv_int8.tflite"
QUICK = ProfileSettings(warmup=1)
UP = [sys.executable, "-m", "edgekit", "boards", "up"]
PI4 = "qemu:pi4"

Capture = pytest.CaptureFixture[str]


class Built(NamedTuple):
    """How the image came about: killed once, then asked for by two at once."""

    was_there_after_kill: bool
    said: tuple[str, str]
    codes: tuple[int, int]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """A cache folder of this module's own with the image in it."""
    for name in (host.QEMU, "apt-get", "dpkg-deb", "mke2fs"):
        if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
            pytest.skip(f"no {name} here; on Debian: apt-get install qemu-system-arm e2fsprogs")
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        disks = cache_folder() / "disks"
        with subprocess.Popen([*UP, PI4], stderr=subprocess.DEVNULL) as first:
            while first.poll() is None and not list(disks.glob(".partial/root/usr/bin/python3*")):
                time.sleep(0.01)
            first.kill()
        partial = list(disks.glob(".partial/root/*")) and not list(disks.glob("[!.]*"))
        pair = [
            subprocess.Popen([*UP, board], stderr=subprocess.PIPE, text=True)
            for board in (PI4, "qemu:pi5")
        ]
        try:
            said = [process.communicate(timeout=400)[1] for process in pair]
            codes = [process.returncode for process in pair]
            yield Built(bool(partial), (said[0], said[1]), (codes[0], codes[1]))
        finally:
            for process in pair:
                process.kill()
            for name in standing.boards_up():
                standing.take_down(name)


@pytest.fixture
def pi4(built: Built) -> Any:
    """The board qemu:pi4, which is up."""
    board = parse_board(PI4)
    if not standing.is_up("pi4"):
        raise_board(board, silent)
    return board


@pytest.fixture
def down(built: Built) -> None:
    """No board is up."""
    for name in standing.boards_up():
        standing.take_down(name)


@pytest.fixture(scope="module")
def conv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An int8 convolution of two million products."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(DEVICE)
        import chains
        from tflite_file import ModelFile
    rng, model = np.random.default_rng(5), ModelFile()
    x = chains.input_tensor(model, rng, (1, 20, 20, 24), **chains.Q)
    model.outputs = [chains.conv(model, rng, x)]
    file = tmp_path_factory.mktemp("models") / "conv.tflite"
    file.write_bytes(model.to_bytes())
    return file


@pytest.fixture(scope="module")
def counted(built: Built, conv: Path) -> dict[str, Any]:
    """The convolution's record on a board that is up."""
    board = parse_board(PI4)
    if not standing.is_up("pi4"):
        raise_board(board, silent)
    (record,) = profile_on(board, [conv], QUICK)
    return record


def emulators() -> list[psutil.Process]:
    """The emulators that belong to this module's cache folder, and live."""
    mine, found = str(cache_folder()), []
    for process in psutil.process_iter():
        try:
            living = process.status() != psutil.STATUS_ZOMBIE
            if living and "qemu" in process.name() and mine in " ".join(process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def instructions(record: dict[str, Any]) -> float:
    assert record["status"] == "ok", record["error"]
    assert record["instructions"]["how"] == "emulated"
    return float(record["instructions"]["value"])


@pytest.mark.slow
def test_an_interrupted_build_is_made_anew_once_for_two_that_want_it(built: Built) -> None:
    assert built.was_there_after_kill
    assert built.codes == (0, 0), built.said
    both = "".join(built.said)
    assert both.count("fetching Debian's packages") == 1
    assert "another edgekit builds the image" in both
    assert not list((cache_folder() / "disks").glob(".partial"))
    assert len(emulators()) == 2


@pytest.mark.slow
def test_a_board_is_listed_and_checked_while_it_is_up(pi4: Any, capsys: Capture) -> None:
    assert main(["boards", "up", PI4, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["booted"] is False
    assert main(["boards", "list"]) == 0
    assert re.search(r"^qemu:pi4 +emulated, up$", capsys.readouterr().out, re.M)
    assert main(["boards", "check", PI4, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["problem"], told["up"]) == (None, True)
    assert told["machine"]["board"] == "pi4"
    assert told["machine"]["model"] == "Raspberry Pi 4 Model B, emulated"
    assert told["machine"]["emulator"] == f"QEMU {version()}, cortex-a72, -icount shift=0"
    assert told["machine"]["cores"] == 4
    assert told["machine"]["memory_bytes"] == pytest.approx(1 << 30, rel=0.06)
    assert {item["runtime"]["name"] for item in told["runtimes"]} >= {"litert"}


@pytest.mark.slow
def test_no_other_user_can_reach_the_socket(pi4: Any) -> None:
    folder = cache_folder() / "up" / "pi4"
    assert stat.S_ISSOCK((folder / "agent").stat().st_mode)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.slow
def test_a_second_client_is_told_who_has_the_board(pi4: Any) -> None:
    says = f"qemu:pi4 is in use by process {os.getpid()}"
    with Connection(pi4), pytest.raises(BoardError, match=says):
        check_board(pi4, QUICK)
    assert check_board(pi4, QUICK)["machine"]["host"] == "pi4-emulated"


@pytest.mark.slow
def test_more_than_one_thread_is_refused(pi4: Any) -> None:
    with pytest.raises(UsageError, match="threads: must be 1 on an emulated board"):
        check_board(pi4, replace(QUICK, threads=2))


@pytest.mark.slow
def test_what_a_killed_client_left_does_not_reach_the_next(pi4: Any) -> None:
    port = standing.Port("pi4")
    port.socket.sendall(b'\x1eabc\n{"type": "hello", "protocol": 2}\n{"type": "hel')
    port.close()
    assert check_board(pi4, QUICK)["machine"]["host"] == "pi4-emulated"


@pytest.mark.slow
def test_the_delegate_counts_on_arm_what_it_counts_here(pi4: Any, conv: Path) -> None:
    if delegate_key() is None:
        pytest.skip("no cross compiler here; on Debian: apt-get install g++-aarch64-linux-gnu")
    npu = load_target("nepu-v1", ["weight_bits=5", "multiplier=drum(4)"])
    (there,) = emulate_on(pi4, [TINY], npu)
    (here,) = emulate_on(parse_board("local"), [TINY], npu)
    assert there.instructions.startswith("neon")
    assert there.nodes == here.nodes
    counts = [
        [replace(node, wall_ns=0) for node in sorted(done.totals, key=lambda node: node.node)]
        for done in (there, here)
    ]
    assert counts[0] == counts[1]


@pytest.mark.slow
def test_another_core_takes_other_kernels(counted: dict[str, Any], conv: Path) -> None:
    (on_pi5,) = profile_on(parse_board("qemu:pi5"), [conv], QUICK)
    # The Cortex-A76 has products of four int8 in one instruction.
    assert instructions(on_pi5) < 0.7 * instructions(counted)


@pytest.mark.slow
def test_counts_repeat_on_another_boot_and_give_no_time(
    counted: dict[str, Any], down: None, conv: Path, capsys: Capture
) -> None:
    assert main(["profile", str(conv), "--board", PI4, "--json", "--warmup", "1"]) == 0
    first, (second,) = counted, json.loads(capsys.readouterr().out)
    assert instructions(first) == pytest.approx(instructions(second), rel=1e-3)
    assert instructions(first) > 200_000
    assert first["load_ms"]["how"] == first["machine_cpu_utilisation"]["how"] == "unavailable"
    assert "counts instructions" in first["load_ms"]["reason"]
    # What is told of time and energy comes from the board's profile.
    p50 = first["latency_ms"].pop("p50")
    assert {number["how"] for number in first["latency_ms"].values()} == {"unavailable"}
    for number in (p50, first["throughput_per_s"], first["energy_j"]):
        assert number["how"] == "estimated"
        assert number["low"] < number["value"] < number["high"]
    assert "latency model of pi4" in p50["reason"]
    assert first["warmup_ms"] == first["round_medians_ms"] == first["samples"] == []
    assert first["runs"] == first["settings"]["runs"] == 5
    assert first["peak_rss_bytes"]["how"] == first["cpu_cores"]["how"] == "emulated"
    # The emulator ended with the connection.
    assert not emulators()


@pytest.mark.slow
def test_a_board_that_is_killed_in_a_job_is_replaced_and_the_job_ends(pi4: Any) -> None:
    steps: list[Step] = []

    def kill_once(step: Step) -> None:
        steps.append(step)
        if " load" in step.detail and not any(step.task == "boot" for step in steps):
            (victim,) = [one for one in emulators() if "cortex-a72" in one.cmdline()]
            victim.kill()

    (record,) = profile_on(pi4, [TINY], QUICK, kill_once)
    assert record["golden"]["status"] == "passed"
    tasks = [step.task for step in steps]
    assert tasks.index("reconnect") < tasks.index("boot")
    assert not [process for process in emulators() if "cortex-a72" in process.cmdline()]


@pytest.mark.slow
def test_a_killed_edgekit_leaves_no_emulator(down: None) -> None:
    command = [sys.executable, "-m", "edgekit", "profile", str(TINY), "--board", PI4]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as front:
        until_s = time.monotonic() + 60
        while not (found := emulators()) and time.monotonic() < until_s:
            time.sleep(0.05)
        os.kill(front.pid, signal.SIGKILL)
    assert len(found) == 1
    psutil.wait_procs(found, timeout=10)
    assert not emulators()


@pytest.mark.slow
def test_a_thread_that_is_gone_takes_no_emulator_with_it(built: Built) -> None:
    board, opened = parse_board("qemu:pi3b+"), []
    thread = threading.Thread(target=lambda: opened.append(board.open(silent)))
    thread.start()
    thread.join()
    (channel,) = opened
    time.sleep(0.5)
    assert [one for one in emulators() if "cortex-a53" in one.cmdline()]
    ended = channel.close()
    assert channel.close() == ended
    assert not [one for one in emulators() if "cortex-a53" in one.cmdline()]


@pytest.mark.slow
@pytest.mark.parametrize("stays", [True, False], ids=["up", "own"])
def test_a_core_that_qemu_does_not_know_is_told(built: Built, stays: bool) -> None:
    board = QemuBoard(replace(machines()["pi5"], name="pi9", cpu="cortex-a999"))
    with pytest.raises(BoardError, match="cortex-a999"):
        raise_board(board, silent) if stays else board.open(silent)
    assert not standing.is_up("pi9")
    assert not (cache_folder() / "up" / "pi9").exists()


@pytest.mark.slow
def test_down_leaves_nothing_but_the_image(built: Built, capsys: Capture) -> None:
    for name in ("pi4", "pi5"):
        assert main(["boards", "down", f"qemu:{name}"]) == 0
    capsys.readouterr()
    assert main(["boards", "down", PI4, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"board": PI4, "was_up": False}
    assert not emulators()
    left = {path.name for path in cache_folder().iterdir()}
    assert left - {"delegates"} == {"agents", "apt", "disks", "lock"}
