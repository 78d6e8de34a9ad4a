import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from edgekit_device import Record, __version__
from edgekit_device.cli import main
from edgekit_device.errors import UsageError
from edgekit_device.runtime import installed

Copy = Callable[..., Path]
Capture = pytest.CaptureFixture[str]

# Whatever meter the machine has would make them longer.
NO_METER = ["--idle-seconds", "0", "--meter", "model"]
SHORT = ["--runs", "2", "--seconds", "0", "--rounds", "2", *NO_METER]


def test_json_is_one_array_of_records_and_progress_is_elsewhere(
    model: Copy, capsys: Capture
) -> None:
    paths = [str(model("conv_float32")), str(model("conv_int8"))]
    assert main(["profile", *paths, *SHORT, "--json", "--progress", "json"]) == 0
    out, err = capsys.readouterr()
    records = [Record.from_json(data) for data in json.loads(out)]
    assert [record.model.file for record in records] == ["conv_float32.tflite", "conv_int8.tflite"]
    assert records[0].settings.runs == 2
    events = [json.loads(line) for line in err.splitlines()]
    assert events[0] == {"event": "idle"}
    assert {"event": "round", "model": "conv_int8.tflite", "round": 2, "rounds": 2} in events


def test_a_person_gets_a_summary(model: Copy, capsys: Capture) -> None:
    assert main(["profile", str(model()), *SHORT]) == 0
    out, err = capsys.readouterr()
    for words in ("conv_float32.tflite", "passed: 4 samples", "latency p50", "memory peak", "MB"):
        assert words in out
    assert "energy         unavailable: " in out
    assert "conv_float32.tflite: round 1 of 2" in err


def test_progress_can_be_switched_off(model: Copy, capsys: Capture) -> None:
    assert main(["profile", str(model()), *SHORT, "--progress", "none"]) == 0
    assert capsys.readouterr().err == ""


def test_one_failed_model_is_exit_code_1_with_all_records(
    model: Copy, tmp_path: Path, capsys: Capture
) -> None:
    missing = str(tmp_path / "missing.tflite")
    assert main(["profile", missing, str(model()), *SHORT, "--json"]) == 1
    records = json.loads(capsys.readouterr().out)
    assert [record["status"] for record in records] == ["error", "ok"]
    assert main(["profile", missing, *SHORT]) == 1
    assert "(missing-file) missing.tflite: there is no such file" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--runs", "0"], "runs: must be a whole number of at least 1. Received: 0"),
        (["--seconds", "-1"], "seconds: "),
        (["--profile", "pi9"], "there is no board profile 'pi9'"),
        (["--profile", "nowhere.toml"], "the profile nowhere.toml cannot be read"),
    ],
)
def test_what_cannot_be_obeyed_is_exit_code_2_and_one_sentence(
    model: Copy, capsys: Capture, arguments: list[str], says: str
) -> None:
    assert main(["profile", str(model()), *arguments, "--json"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err
    assert "Traceback" not in err
    assert len(err.splitlines()) == 1


def test_a_runtime_that_is_not_here_is_exit_code_2_with_a_pip_command(
    model: Copy, capsys: Capture
) -> None:
    here = {entry.runtime.name for entry in installed()}
    elsewhere = {"litert", "tflite-runtime"} - here
    if not elsewhere:
        pytest.skip("both runtimes are installed here")
    (name,) = elsewhere
    assert main(["profile", str(model()), "--runtime", name]) == 2
    assert f"pip install 'edgekit-device[{name}]'" in capsys.readouterr().err


def test_debug_shows_the_traceback(model: Copy) -> None:
    with pytest.raises(UsageError):
        main(["profile", str(model()), "--runs", "0", "--debug"])


@pytest.mark.parametrize("arguments", [[], ["profile"], ["profile", "x", "--runs", "few"]])
def test_a_command_that_is_none_is_exit_code_2(arguments: list[str], capsys: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: edgekit-agent" in capsys.readouterr().err


def test_info_tells_machine_runtimes_and_profile(capsys: Capture) -> None:
    assert main(["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert set(facts) == {"agent", "machine", "runtimes", "board", "conditions", "meters"}
    names = {entry["runtime"]["name"] for entry in facts["runtimes"]}
    assert names == {entry.runtime.name for entry in installed()}
    assert main(["info"]) == 0
    assert "runtimes" in capsys.readouterr().out


def gone(process: psutil.Process, within_s: float) -> bool:
    """Whether the process ends in time; nobody may be there to reap an orphan."""
    until_s = time.monotonic() + within_s
    while time.monotonic() < until_s:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_an_agent_that_is_ended_takes_its_workers_along(
    model: Copy, number: signal.Signals, code: int
) -> None:
    if number == signal.SIGKILL and sys.platform != "linux":
        pytest.skip("only Linux tells a child that its parent was killed")
    paths = [str(model("conv_float32")), str(model("conv_int8"))]
    # One answer that is a minute away, to an agent that waits for it.
    options = ["--seconds", "60", "--rounds", "1", *NO_METER, "--progress", "json"]
    command = [sys.executable, "-m", "edgekit_device", "profile", *paths, *options]
    workers: list[psutil.Process] = []
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as agent:
        try:
            assert agent.stderr is not None
            for line in agent.stderr:
                if json.loads(line)["event"] == "round":
                    break
            workers = psutil.Process(agent.pid).children()
            assert len(workers) == 2
            time.sleep(0.5)
            agent.send_signal(number)
            assert agent.wait(timeout=10) == code
            assert all(gone(worker, within_s=5) for worker in workers)
        finally:
            agent.kill()
            for worker in workers:
                with suppress(psutil.NoSuchProcess):
                    worker.kill()


def test_the_signal_handler_is_put_back(model: Copy) -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert main(["info"]) == 0
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_thread_may_run_a_command() -> None:
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(main(["info"])))
    thread.start()
    thread.join()
    assert codes == [0]


def test_the_module_is_the_command() -> None:
    command = [sys.executable, "-m", "edgekit_device", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"edgekit-agent {__version__}\n"
