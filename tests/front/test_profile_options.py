"""What `edgekit profile` passes on to a board's agent: the meter, the cores, the duration."""

import json
import os
from pathlib import Path

import pytest

from edgekit.cli import main

MODEL = str(Path(__file__).parents[1] / "device/models/conv_int8.tflite")
SHORT = ["--runs", "2", "--seconds", "0", "--rounds", "1", "--idle-seconds", "0"]
Capture = pytest.CaptureFixture[str]


def test_a_sustained_run_on_cores_of_its_own(capsys: Capture) -> None:
    core = max(os.sched_getaffinity(0))
    options = ["--duration", "1", "--affinity", str(core), "--meter", "model"]
    assert main(["profile", MODEL, *SHORT, *options, "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["affinity"] == [core]
    assert record["settings"]["seconds"] == 1.0
    assert len(record["round_medians_ms"]) == 5
    assert record["conditions"]["moments"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--meter", "watts"], "meter: must be auto, model, hwmon"),
        (["--meter", "csv:/nowhere.csv"], "meter csv: /nowhere.csv cannot be read"),
        (["--affinity", "two"], "affinity: must be numbers of cores"),
        (["--affinity", "4000"], "there is no core 4000 for the agent here"),
        (["--profile", "no/such.toml"], "the profile no/such.toml cannot be read: No such file"),
        (["--duration", "0"], "duration_s: must be a finite number of at least 1"),
    ],
)
def test_what_cannot_be_obeyed_is_a_sentence(
    capsys: Capture, options: list[str], says: str
) -> None:
    assert main(["profile", MODEL, *SHORT, *options]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert "Traceback" not in said
