"""Each command as a person or a program runs it, in a process of its own."""

import csv
import json
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgekit.cli import main
from edgekit.cli.parser import parser
from edgekit.report import read_comparison

Run = Callable[..., Any]

SHORT = ["--runs", "4", "--seconds", "0.1", "--rounds", "2"]


def is_quiet(err: str) -> bool:
    """Only EdgeKit's own lines."""
    return all(line.startswith("edgekit: ") for line in err.splitlines())


@pytest.fixture(scope="session")
def ran(
    edgekit: Run, tiny_keras: Path, digits_npz: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, Path]:
    """A comparison in which one recipe fails, as text, and its run folder."""
    out = tmp_path_factory.mktemp("cli") / "run"
    failing = "lcrm(where='nothing')"
    options = ["--epochs", "1", "--out", out, *SHORT, "--recipes", "int8", "lcrm", failing]
    return edgekit("compare", tiny_keras, "--data", digits_npz, *options, code=1), out


def test_help_and_version_import_nothing_heavy() -> None:
    heavy = "{'tensorflow','keras','rich','matplotlib','sklearn','jinja2','numpy','PIL'}"
    for arguments in ("['--help']", "['compare', '--help']", "['--version']"):
        script = (
            "import sys\nfrom edgekit.cli import main\n"
            f"try: main({arguments})\nexcept SystemExit as stop: assert not stop.code\n"
            f"assert not {heavy} & set(sys.modules)"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "edgekit" in done.stdout


def test_help_answers_in_well_under_a_second(edgekit: Run) -> None:
    def once() -> float:
        start = time.perf_counter()
        edgekit("--help")
        return time.perf_counter() - start

    assert min(once() for _ in range(5)) < 0.5


def test_an_error_that_needs_no_tensorflow_does_not_wait_for_it() -> None:
    script = """
import sys
from edgekit.cli import main
assert main(["report", "/nowhere"]) == 2
assert main(["profile", "m.tflite", "--board", "pi"]) == 2
assert main(["optimize", "m.keras", "--recipe", "shrink"]) == 2
assert "tensorflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)


def test_inspect_tells_a_person_cases_and_whether_they_pay(edgekit: Run, tiny_keras: Path) -> None:
    done = edgekit("inspect", tiny_keras)
    lines = {line.split()[0]: line for line in done.out.splitlines() if line.strip()}
    for words in ("1.1", "left: first convolution"):
        assert words in lines["c1"]
    for words in (" 3 ", "depthwise -> pointwise 8", "584 → 152", "36,864 → 8,704", "yes: saves"):
        assert words in lines["c2"]
    for words in ("1.1", "depthwise -> pointwise 16", "1,168 → 224", "18,432 → 3,200"):
        assert words in lines["c3"]
    assert f"Next: edgekit compare {tiny_keras} --data DATA" in done.out
    assert is_quiet(done.err)


@pytest.mark.parametrize("kind", ["keras", "h5", "function"])
def test_inspect_gives_a_program_all_of_it(
    tiny_keras: Path,
    models_py: Path,
    tmp_path: Path,
    kind: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    source: Any = tiny_keras
    if kind == "h5":
        import keras

        source = tmp_path / "tiny.h5"
        keras.models.load_model(tiny_keras).save(source)
    if kind == "function":
        source = f"{models_py}:tiny"
    capfd.readouterr()
    assert main(["inspect", str(source), "--json"]) == 0
    out, err = capfd.readouterr()
    seen = json.loads(out)
    assert is_quiet(err)
    assert seen["schema"] == "edgekit.inspection/1"
    assert [layer["path"] for layer in seen["layers"]] == ["c1", "c2", "pool", "c3", "gap", "out"]
    assert [d["path"] for d in seen["lcrm"]] == ["c1", "c2", "c3"]
    assert [d["substitute"] for d in seen["lcrm"]] == [
        None,
        "depthwise -> pointwise 8",
        "depthwise -> pointwise 16",
    ]
    assert (seen["parameters"], seen["parameters_after"]) == (2002, 626)
    assert (seen["macs"], seen["macs_after"]) == (60064, 16672)
    assert all(d["verdict"] for d in seen["lcrm"])


def test_inspect_of_a_model_without_convolutions_says_so(
    models_py: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", f"{models_py}:no_conv"]) == 0
    out = capsys.readouterr().out
    assert "has no convolution; LCRM has nothing to replace" in out
    assert "Next:" not in out


def test_optimize_with_data_writes_a_scored_file(
    edgekit: Run, tiny_keras: Path, digits_npz: Path, tmp_path: Path
) -> None:
    options = ["--recipe", "lcrm+int8", "--data", digits_npz, "--epochs", "1", "--json"]
    done = edgekit("optimize", tiny_keras, *options, cwd=tmp_path)
    facts = json.loads(done.out)
    assert is_quiet(done.err)
    assert "edgekit: train lcrm: epoch 1 of 1" in done.err
    file = tmp_path / facts["file"]
    assert re.fullmatch(r"edgekit-runs/tiny-\w{6}/optimized/lcrm\+int8\.tflite", facts["file"])
    assert facts["file_bytes"] == {"how": "counted", "value": file.stat().st_size}
    assert facts["stages"][0]["epochs"] == 1
    manifest = json.loads(file.with_suffix(".manifest.json").read_text())
    assert manifest["task"]["value"] == facts["accuracy"]["value"]


def test_optimize_without_data_says_that_accuracy_is_unknown(
    models_py: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "run")
    assert main(["optimize", f"{models_py}:tiny", "--recipe", "lcrm+float16", "--out", out]) == 0
    said = capsys.readouterr().out
    assert "accuracy: unavailable (no data were given)" in said
    assert "left c1: first convolution" in said
    assert re.search(r"under gzip -9, \d\S* kB under zstd -19", said)
    assert (tmp_path / "run/optimized/lcrm+float16.tflite").is_file()


def test_compare_shows_what_worked_and_names_what_failed(ran: tuple[Any, Path]) -> None:
    done, out = ran
    rows = read_comparison(out).rows
    assert [row.recipe for row in rows] == ["base", "int8", "lcrm", "lcrm(where='nothing')"]
    assert [row.error is None for row in rows] == [True, True, True, False]
    assert "matches no convolution" in " ".join(done.out.split())
    assert f"Report: {out}/report.html" in done.out
    assert is_quiet(done.err)
    assert "edgekit: failed lcrm(where='nothing')" in done.err
    for name in ("comparison.json", "comparison.csv", "report.html"):
        assert (out / name).stat().st_size > 100
    with open(out / "comparison.csv", newline="") as file:
        assert [line["recipe"] for line in csv.DictReader(file)] == [row.recipe for row in rows]


def test_compare_json_is_pure_and_a_second_run_trains_nothing(
    edgekit: Run, ran: tuple[Any, Path], tiny_keras: Path, digits_npz: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(ran[1], out)
    options = ["--epochs", "1", "--out", out, *SHORT, "--recipes", "lcrm", "--json"]
    before = (out / "files/lcrm.tflite").read_bytes()
    done = edgekit("compare", tiny_keras, "--data", digits_npz, *options)
    facts = json.loads(done.out)
    assert is_quiet(done.err)
    assert "train" not in done.err
    assert [stage["reused"] for stage in facts["stages"]] == [True]
    assert (out / "files/lcrm.tflite").read_bytes() == before


def test_advice_repeats_the_command_that_was_given(ran: tuple[Any, Path]) -> None:
    comparison = read_comparison(ran[1])
    commands = [shlex.split(item.command) for item in comparison.advice]
    own = [words for words in commands if words[:2] == ["edgekit", "compare"]]
    assert own
    for words in own:
        options = parser().parse_args(words[1:])
        assert options.out == str(ran[1])
        assert options.seconds == 0.1


def test_report_shows_the_same_table_again(
    edgekit: Run, ran: tuple[Any, Path], tmp_path: Path
) -> None:
    done, out = ran
    shutil.copy(out / "comparison.json", tmp_path)
    again = edgekit("report", tmp_path, code=1)
    table, report, _ = again.out.partition("\nReport: ")
    assert report
    assert table == done.out.partition("\nReport: ")[0]
    as_json = edgekit("report", tmp_path, "--json", code=1)
    assert as_json.out == (out / "comparison.json").read_text()
    assert (tmp_path / "report.html").is_file()


def test_profile_gives_records(edgekit: Run, ran: tuple[Any, Path], tmp_path: Path) -> None:
    _, out = ran
    file = out / "files/base.tflite"
    text = edgekit("profile", file, *SHORT)
    assert "base.tflite" in text.out
    assert "passed" in text.out
    done = edgekit("profile", file, tmp_path / "none.tflite", *SHORT, "--json", code=1)
    assert [record["status"] for record in json.loads(done.out)] == ["ok", "error"]
    assert is_quiet(done.err)


def test_profile_emulates_npus_beside(edgekit: Run, ran: tuple[Any, Path], tmp_path: Path) -> None:
    _, out = ran
    words = ["profile", out / "files/int8.tflite", *SHORT, "--npu", "nepu-v1"]
    record, emulation = json.loads(edgekit(*words, "--json").out)
    assert (record["status"], emulation["error"]) == ("ok", None)
    assert emulation["npu"] == "npu:nepu-v1"
    assert emulation["estimate"]["energy_j"]
    assert "golden inputs" in edgekit(*words).out


def test_progress_on_a_terminal_leaves_the_answer_alone(tiny_keras: Path) -> None:
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "edgekit", "inspect", str(tiny_keras), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=slave, text=True, check=True)
    os.close(slave)
    shown = os.read(master, 1 << 16).decode()
    os.close(master)
    assert "loading the model" in shown
    assert json.loads(done.stdout)["name"] == "tiny"


@pytest.mark.slow
def test_the_demo_goes_the_whole_way(edgekit: Run, tmp_path: Path) -> None:
    done = edgekit("demo", "--small", "--json", cwd=tmp_path)
    facts = json.loads(done.out)
    assert is_quiet(done.err)
    rows = {row["recipe"]: row for row in facts["rows"]}
    assert list(rows) == ["base", "int8", "lcrm", "lcrm+int8"]
    assert rows["base"]["accuracy"]["value"] > 0.9
    assert rows["lcrm"]["macs"]["value"] < 0.2 * rows["base"]["macs"]["value"]
    assert not any(row["error"] for row in facts["rows"])
    assert (tmp_path / "edgekit-demo/report.html").is_file()
    again = edgekit("demo", "--small", cwd=tmp_path)
    assert "train" not in again.err
    assert "★" in again.out


@pytest.mark.slow
def test_the_same_seed_gives_the_same_files_in_two_processes(
    edgekit: Run, tiny_keras: Path, digits_npz: Path, tmp_path: Path
) -> None:
    options = ["--recipe", "lcrm+int8", "--data", digits_npz, "--epochs", "2", "--deterministic"]
    for run in "ab":
        edgekit("optimize", tiny_keras, *options, "--out", tmp_path / run)
    one, other = ((tmp_path / run / "optimized/lcrm+int8.tflite").read_bytes() for run in "ab")
    assert one == other
