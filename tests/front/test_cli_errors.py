"""Bad input, interruption and readers that leave: exit codes and one readable paragraph."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgekit.cli import main

Run = Callable[..., Any]
EDGEKIT = [sys.executable, "-m", "edgekit"]

BAD = {
    "no-model": ("inspect {tmp}/none.keras", "none.keras does not exist"),
    "folder-as-model": ("inspect {tmp}", "is a folder; a SavedModel"),
    "text-as-model": ("inspect {text}", "notes.keras (5 bytes) is neither a Keras .keras file"),
    "no-function": ("inspect {models}:none", "has no function 'none'"),
    "no-lcrm-pass": ("inspect {model} --lcrm int8", "--lcrm 'int8': give one lcrm pass"),
    "no-style": ("inspect {model} --lcrm lcrm(style=x)", "no such style; choose one of equations"),
    "no-layer": ("inspect {model} --lcrm lcrm(where=conv9)", "it has c1, c2, c3"),
    "no-recipe": ("optimize {model} --recipe shrink", "'shrink' is no pass; choose from lcrm"),
    "no-data": ("optimize {model} --recipe int8 --out {tmp}/r", "int8 needs representative inputs"),
    "tuning": (
        "optimize {model} --recipe base --tuning-epochs -1",
        "tuning_epochs is -1; it must be 0 or more",
    ),
    "epochs": ("optimize {model} --recipe base --epochs -1", "epochs is -1; it must be 0 or more"),
    "rate": ("optimize {model} --recipe base --learning-rate nan", "learning_rate is nan; it must"),
    "source": ("compare {model} --data mnust", "'mnust' is not a data set: give digits"),
    "shape": ("compare {model} --data {flat}", "samples of shape (3,), but the model takes (8, 8,"),
    "inputs": ("compare {models}:two_inputs --data digits", "has 2 inputs (a, b)"),
    "board": ("compare {model} --data digits --board pi", "'pi' is no board"),
    "runs": ("compare {model} --data digits --runs 0", "runs: must be a whole number of at least"),
    "profile": ("compare {model} --data digits --profile pi9", "there is no board profile 'pi9'"),
    "out": ("compare {model} --data digits --out {text}", "cannot be written (", "--out"),
    "profile-board": ("profile m.tflite --board pi", "'pi' is no board"),
    "threads": ("profile m.tflite --threads 0", "threads: must be a whole number of at least 1"),
    "report": ("report {tmp}/none", "none/comparison.json"),
    "report-damage": ("report {tmp}/damaged", "A comparison is a JSON document"),
}


@pytest.fixture
def places(tiny_keras: Path, models_py: Path, tmp_path: Path) -> dict[str, Path]:
    """What the commands above speak of."""
    import numpy as np

    (tmp_path / "notes.keras").write_text("hello")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "comparison.json").write_text('{"schema": ')
    np.savez(tmp_path / "flat.npz", x=np.zeros((8, 3)), y=np.arange(8) % 2)
    return {
        "tmp": tmp_path,
        "text": tmp_path / "notes.keras",
        "flat": tmp_path / "flat.npz",
        "model": tiny_keras,
        "models": models_py,
    }


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_paragraph_and_exit_code_2(
    name: str,
    places: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(places["tmp"])
    command, *says = BAD[name]
    assert main(command.format(**places).split(" ")) == 2
    out, err = capsys.readouterr()
    assert out == ""
    *progress, paragraph = err.splitlines()
    assert set(progress) <= {"edgekit: loading the model", "edgekit: export int8"}
    assert paragraph.startswith("edgekit: ")
    for words in says:
        assert words in paragraph


@pytest.mark.parametrize(
    "command", ["", "shrink", "compare m.keras", "inspect", "demo --seed 1", "compare m --runs few"]
)
def test_what_the_grammar_does_not_know_is_exit_code_2(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(command.split())
    assert stop.value.code == 2
    assert "usage: edgekit" in capsys.readouterr().err


def test_a_process_ends_with_the_paragraph_and_debug_adds_the_traceback(
    edgekit: Run, tmp_path: Path
) -> None:
    plain = edgekit("report", tmp_path, code=2)
    assert plain.out == ""
    assert len(plain.err.splitlines()) == 1
    debug = edgekit("report", tmp_path, "--debug", code=1)
    assert "Traceback" in debug.err
    assert "ReportError" in debug.err.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["optimize --recipe lcrm", "compare --recipes lcrm"])
def test_files_are_not_made_under_another_backend(command: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [*EDGEKIT, *command.split(), "--data", "digits", "--", "parent:digits_cnn"],
        cwd=tmp_path, env=os.environ | {"KERAS_BACKEND": "jax"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Keras computes with jax (KERAS_BACKEND)" in done.stderr
    assert "set KERAS_BACKEND=tensorflow or unset it" in done.stderr


def test_a_full_disk_is_a_paragraph_too(edgekit: Run, compared: Any) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*EDGEKIT, "report", str(compared.out)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert "No space left on device. Finished stages are kept" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("command", "unbuffered"),
    [("report {out}", ""), ("inspect {model} --json", ""), ("inspect {model}", "1")],
)
def test_a_reader_that_leaves_is_no_failure(compared: Any, command: str, unbuffered: str) -> None:
    words = command.format(out=compared.out, model=compared.model).split()
    # A short answer stays in Python's buffer until the end, unless this is set.
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with subprocess.Popen(
        [*EDGEKIT, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        err = process.stderr.read()
    assert process.returncode == 0, err
    assert all(line.startswith("edgekit: ") for line in err.splitlines())


def test_head_gets_its_line(compared: Any) -> None:
    pipe = '"$0" -m edgekit report "$1" | head -1; echo "${PIPESTATUS[0]}"'
    done = subprocess.run(
        ["bash", "-c", pipe, sys.executable, str(compared.out)],
        capture_output=True,
        text=True,
        check=True,
    )
    first, status = done.stdout.splitlines()
    assert first.startswith("tiny on digits.npz")
    assert status == "0"
    assert "Traceback" not in done.stderr


def test_interrupting_a_comparison_keeps_what_is_finished(
    tiny_keras: Path, digits_npz: Path, tmp_path: Path
) -> None:
    second = "lcrm(where='c3')"
    command = ["compare", str(tiny_keras), "--data", str(digits_npz), "--out", str(tmp_path)]
    options = ["--epochs", "15", "--patience", "0", "--seconds", "0", "--runs", "2"]
    told = []
    # A shell that starts tests in the background lets them ignore SIGINT.
    with subprocess.Popen(
        [*EDGEKIT, *command, *options, "--recipes", "lcrm", second],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            told.append(line)
            if line.startswith(f"edgekit: train {second}: epoch 1 "):
                os.kill(process.pid, signal.SIGINT)
    assert process.returncode == 130, told
    assert told[-1].startswith("edgekit: interrupted; finished stages are kept")
    assert not any("Traceback" in line for line in told)
    assert len(list(tmp_path.glob("stages/*/model.keras"))) == 1
    assert sorted(path.name for path in tmp_path.glob("files/*.tflite")) == [
        "base.tflite",
        "lcrm.tflite",
    ]
