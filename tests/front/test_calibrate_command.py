"""`edgekit boards calibrate` and `edgekit estimate --board` as a person or a program runs them."""

import json
import platform
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tflite_file import FULLY_CONNECTED, ModelFile

from edgekit.boards.named import boards, boards_file, parse_board
from edgekit.cli import main
from edgekit_device.profiles import load_profile
from edgekit_device.record import Record

Capture = pytest.CaptureFixture[str]
MODELS = Path(__file__).parents[1] / "device" / "models"
SHORT = ["--runs", "4", "--seconds", "0.05", "--rounds", "2", "--idle-seconds", "0"]


@pytest.fixture(autouse=True)
def own_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    """A profile of this machine's architecture, with all that a latency model needs."""
    file = tmp_path / "bench.toml"
    file.write_text(f"""
schema = "edgekit.board/1"
name = "bench"
description = "a board for tests"
architecture = "{platform.machine()}"
device_tree_models = ["Test Board"]
cores = 2
clock_hz = 2_000_000_000
memory_bytes = [1_000_000_000]

[cpu]
core = "Cortex-Test"
peak_macs_per_cycle_fp32 = 4
l2_bytes = 262_144
memory_bandwidth_bytes_per_s = [5_000_000_000]

[[power]]
idle_w = 2.0
full_load_w = 6.0
source = "laboratory A"

[latency]
macs_factor = 2.0
traffic_factor = 1.0
low = 0.5
high = 2.0
source = "a guess"

[sources]
cores = "data sheet"
clock_hz = "data sheet"
memory_bytes = "data sheet"
"cpu.peak_macs_per_cycle_fp32" = "data sheet"
"cpu.l2_bytes" = "data sheet"
"cpu.memory_bandwidth_bytes_per_s" = "data sheet"
""")
    return file


@pytest.fixture
def own_models(tmp_path: Path) -> list[Path]:
    """Three dense models: one in the cache, two beyond it."""
    return [dense(tmp_path, size, layers) for size, layers in ((64, 8), (512, 2), (256, 9))]


def dense(folder: Path, size: int, layers: int) -> Path:
    made = ModelFile()
    last = made.tensor((1, size), is_input=True, dtype=np.float32)
    weights = np.random.default_rng(size).normal(size=(size, size)).astype(np.float32) / size
    for _ in range(layers):
        out = made.tensor((1, size), dtype=np.float32)
        last = made.node(FULLY_CONNECTED, [last, made.constant(weights)], out)
    made.outputs = [last]
    file = folder / f"dense{size}x{layers}.tflite"
    file.write_bytes(made.to_bytes())
    return file


def test_a_board_is_calibrated_and_its_profile_used(
    bench: Path, own_models: list[Path], capsys: Capture, tmp_path: Path
) -> None:
    calibrate = ["boards", "calibrate", "local", *map(str, own_models), "--threads", "2"]
    assert main([*calibrate, "--profile", str(bench), *SHORT]) == 0
    said = capsys.readouterr().out
    file = tmp_path / "config/edgekit/profiles/local.toml"
    assert re.search(r"^Latency: .* from 6 runs of 3 models$", said, re.M)
    assert re.search(r"error before \(bench\): [\d.]+ % on average.*after: [\d.]+ % on av", said)
    assert "Note: no power meter: the power model stays that of bench." in said
    assert f"Use it with --profile {file}" in said
    profile, before = load_profile(str(file)), load_profile(str(bench))
    assert (profile.name, profile.power, profile.cpu) == (
        "bench on local",
        before.power,
        before.cpu,
    )
    assert profile.latency is not None
    assert "6 runs of 3 models (1 to 2 threads) on local" in profile.latency.source
    # The profile says how long the same models take, and their energy when they run.
    assert main(["estimate", str(own_models[1]), "--board", str(file), "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["boards"]
    assert (told["board"], told["latency_ms"]["how"]) == ("bench on local", "estimated")
    seen = ["--runs", "4", "--seconds", "0.3", "--rounds", "1", "--idle-seconds", "0", "--json"]
    assert main(["profile", str(own_models[1]), "--profile", str(file), *seen]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["machine"]["board"] == "bench on local"
    assert record["energy_j"]["how"] == "estimated"


@pytest.fixture
def records(bench: Path, own_models: list[Path], capsys: Capture, tmp_path: Path) -> Path:
    """What `edgekit profile --json` printed of the models."""
    profile = ["profile", *map(str, own_models), "--profile", str(bench), *SHORT, "--json"]
    assert main(profile) == 0
    file = tmp_path / "records.json"
    file.write_text(capsys.readouterr().out)
    return file


def change(file: Path, edit: Any) -> Path:
    """The same records, each of them edited."""
    told = json.loads(file.read_text())
    for number, record in enumerate(told):
        edit(record, number)
        Record.from_json(record)
    other = file.with_name("changed.json")
    other.write_text(json.dumps(told))
    return other


def meter(record: dict[str, Any], number: int) -> None:
    used = (number + 1) / 4
    window = {"seconds": 10.0, "runs": 9, "mean_w": 2 + 4 * used, "cpu_utilisation": used}
    idle = {"how": "measured", "value": 2.0}
    record["metered"] = {
        "meter": "hwmon ina219",
        "scope": "whole board",
        "idle_before_w": idle,
        "idle_after_w": idle,
        "sample_rate_hz": 100.0,
        "jitter_s": 0.001,
        "windows": [{**window, "clock_hz": 2e9, "samples": 1000, "longest_gap_s": 0.01}],
        "flags": [],
    }


def test_records_that_were_kept_are_fitted_without_a_run(
    bench: Path, records: Path, own_models: list[Path], capsys: Capture
) -> None:
    told = change(records, meter)
    arguments = ["--from", str(told), "--profile", str(bench), "--json"]
    assert main(["boards", "calibrate", "local", *map(str, own_models), *arguments]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["schema"] == "edgekit.calibration/1"
    assert (facts["latency"]["models"], facts["latency"]["left_out"]) == (3, True)
    assert (facts["power"]["idle_w"], facts["power"]["linear_w"]) == (2.0, pytest.approx(4.0))
    assert facts["notes"] == ["the power model is of what hwmon ina219 sees: whole board"]
    (power,) = load_profile(facts["profile"]).power
    assert (power.full_load_w, power.clock_hz) == (pytest.approx(6.0), 2e9)
    # Without the models the power alone can be fitted.
    assert main(["boards", "calibrate", "local", *arguments[:-1]]) == 0
    said = capsys.readouterr().out
    assert "dense512x2.tflite is left out of the latency: its file is not among those given" in said
    assert re.search(r"^Power: 2 W idle \+ utilisation x \(4 W with the clock", said, re.M)
    assert "Latency:" not in said


def test_what_cannot_be_calibrated_is_one_sentence(
    bench: Path, records: Path, own_models: list[Path], capsys: Capture, tmp_path: Path
) -> None:
    def emulate(record: dict[str, Any], _: int) -> None:
        record["machine"]["emulator"] = "qemu-system-aarch64"

    (tmp_path / "no.json").write_text("{}")
    (tmp_path / "none.json").write_text("[]")
    one, own = str(own_models[0]), ["--profile", str(bench)]
    for arguments, says in (
        (["local"], "nothing to calibrate with: name .tflite files"),
        (["local", "no.tflite", *own], "no.tflite cannot be read (No such file"),
        (["local", one, "--from", str(change(records, emulate)), *own], "is emulated (qemu-system"),
        (
            ["local", "--from", "no/such.json"],
            "no/such.json cannot be read (No such file or directory).",
        ),
        (["local", "--from", str(tmp_path / "no.json")], "no.json holds no records"),
        (["local", "--from", str(tmp_path / "none.json")], "none.json: no record of a board"),
        (["local", "--from", str(records), one], "holds no records"),
        (["local", one], "has no board profile to start from: name one with --profile"),
        (["local", one, "--profile", other_architecture()], "start from another with --profile"),
        (["local", one, *own, "--threads", "0"], "threads: must be a whole number of at least 1"),
        (["pi", one], "'pi' is no board"),
    ):
        capsys.readouterr()
        assert main(["boards", "calibrate", *arguments]) == 2, arguments
        out, err = capsys.readouterr()
        last = err.splitlines()[-1]
        assert (out, last[:9], says in last) == ("", "edgekit: ", True), err
    assert not (tmp_path / "config").exists()


def other_architecture() -> str:
    if platform.machine() == "aarch64":
        pytest.skip("every shipped profile is of this machine's architecture")
    return "pi4"


def test_an_emulated_board_is_not_even_asked_to_run(
    own_models: list[Path], capsys: Capture, tmp_path: Path
) -> None:
    script = tmp_path / "agent"
    script.write_text(f"""#!{sys.executable}
import json, subprocess, sys

agent = subprocess.Popen([sys.executable, "-m", "edgekit_device", "serve"], stdout=subprocess.PIPE)
for line in agent.stdout:
    told = json.loads(line)
    told["machine"].update(emulator="an emulator", board="pi4")
    print(json.dumps(told), flush=True)
""")
    script.chmod(0o755)
    assert main(["boards", "calibrate", f"local:{script}", str(own_models[0])]) == 2
    assert "is emulated (an emulator): nothing was measured there" in capsys.readouterr().err


def test_a_file_that_fails_is_left_out_and_the_exit_code_says_so(
    bench: Path, own_models: list[Path], capsys: Capture, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(own_models[0].read_bytes()[:200])
    models = [str(file) for file in (*own_models[:2], broken)]
    own = ["--profile", str(bench), "--threads", "1", *SHORT]
    assert main(["boards", "calibrate", "local", *models, *own]) == 1
    said = capsys.readouterr().out
    assert "broken.tflite at 1 thread ended in an error (load) and is left out" in said
    assert "from 2 runs of 2 models" in said


def test_a_remembered_board_uses_its_own_profile_from_then_on(
    sshd: Any, bench: Path, own_models: list[Path], capsys: Capture, tmp_path: Path
) -> None:
    sshd.put_agent()
    python = f"{sshd.home}/.local/share/edgekit/agent/bin/python"
    assert main(["boards", "add", "pi", sshd.url, "--python", python]) == 0
    one, own = [str(own_models[1]), *SHORT], ["--profile", str(bench)]
    assert main(["boards", "calibrate", "pi", *one, *own, "--threads", "1"]) == 0
    file = boards_file().parent / "profiles/pi.toml"
    assert "Used from now on with --board pi" in capsys.readouterr().out
    assert boards()["pi"].profile == str(file)
    assert main(["boards", "list"]) == 0
    assert f"  (profile {file})" in capsys.readouterr().out
    assert main(["boards", "check", "pi"]) == 0
    assert f"; board profile {file}." in capsys.readouterr().out
    assert main(["profile", *one, "--board", "pi", "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["machine"]["board"] == "bench on pi"
    assert main(["profile", *one, "--board", "pi", *own, "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["machine"]["board"] == "bench"
    # Added again, as after an update of the agent, it keeps its profile.
    assert main(["boards", "add", "pi", sshd.url, "--python", python]) == 0
    assert boards()["pi"].profile == str(file)
    file.unlink()
    assert main(["profile", *one, "--board", "pi"]) == 2
    assert f"The board profile of pi, {file}, is gone: calibrate it" in capsys.readouterr().err
    assert main(["boards", "add", "pi", sshd.url, "--python", python]) == 0
    assert boards()["pi"].profile is None
    assert main(["boards", "remove", "pi"]) == 0


def test_a_profile_of_ones_own_is_remembered_whatever_its_path() -> None:
    boards_file().parent.mkdir(parents=True)
    boards_file().write_text(
        'schema = "edgekit.boards/1"\n[boards.pi]\nurl = "ssh://pi@host"\nprofile = "/ü/pi.toml"\n'
    )
    assert parse_board("pi").profile == "/ü/pi.toml"


def test_an_estimate_of_boards_for_people_and_programs(capsys: Capture) -> None:
    model = str(MODELS / "conv_float32.tflite")
    both = ["estimate", model, "--board", "pi4", "--board", "pi-zero-2w", "--threads", "4"]
    assert main(both) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "conv_float32: 39.5 k MACs, 4 threads"
    assert re.match(r"pi4 +0 B +~", lines[2])
    assert re.match(r"pi-zero-2w +0 B +~.* – ", lines[3])
    assert "pi-zero-2w: the board profile has no power model" in lines
    assert max(map(len, lines[:4])) <= 120
    assert main([*both, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == "edgekit.board-estimate/1"
    pi4, zero = told["boards"]
    assert (pi4["board"], pi4["macs"], pi4["dram_bytes"]) == ("pi4", 39464, 0)
    assert (zero["latency_ms"]["how"], zero["energy_j"]["how"]) == ("estimated", "unavailable")


def test_an_estimate_that_cannot_be_made_says_why(capsys: Capture) -> None:
    model = str(MODELS / "branch_and_loop.tflite")
    assert main(["estimate", model, "--board", "pi4"]) == 1
    assert "cannot be counted" in capsys.readouterr().out
    for arguments, says in (
        ([model, "--board", "pi9"], "there is no board profile 'pi9'"),
        (["no.tflite", "--board", "pi4"], "There is no file no.tflite"),
        ([model, "--board", "pi4", "--threads", "0"], "--threads 0: give a whole number from 1 on"),
        ([model, "--board", "pi4", "--out", "x"], "--out is for an NPU"),
        ([model, "--npu", "nepu-v1", "--threads", "2"], "--threads is for a board"),
    ):
        assert main(["estimate", *arguments]) == 2
        assert says in capsys.readouterr().err
    for arguments in ([], ["--npu", "nepu-v1", "--board", "pi4"]):
        with pytest.raises(SystemExit):
            main(["estimate", model, *arguments])
