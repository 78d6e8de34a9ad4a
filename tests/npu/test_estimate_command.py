"""`edgekit estimate` as a person or a program runs it."""

import csv
import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from rich.console import Console
from tflite_files import every_product, odd_ones

from edgekit.cli import main
from edgekit.cli.estimation import layers_table
from edgekit.npu import estimate, load_npu
from edgekit.npu.networks import mobilenet_v2, workload

MODELS = Path(__file__).parents[1] / "device" / "models"
INT8 = str(MODELS / "conv_int8.tflite")


def said(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> str:
    assert main(["estimate", *map(str, arguments)]) == code
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_a_person_sees_layers_totals_and_intervals(capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, INT8, "--npu", "nepu-v1")
    lines = out.splitlines()
    assert lines[0].startswith("conv_int8 on nepu-v1: ")
    rows = {line.split()[0]: line for line in lines[2:7]}
    assert [row.split()[1] for row in rows.values()] == [
        "CONV_2D", "CONV_2D", "MEAN", "FULLY_CONNECTED", "SOFTMAX",
    ]  # fmt: skip
    assert "28.8 k" in rows["1"]
    assert "vector x4" in rows["2"]
    totals = {line.split(":")[0]: line for line in lines[7:]}
    assert totals["Time"].startswith("Time: ~")
    assert "(" in totals["Energy"]
    assert "products and sums" in totals["Energy by part"]
    assert "dram" in totals["Traffic"]
    assert "Not estimated" not in out
    assert max(map(len, lines[:7])) <= 140


@pytest.mark.parametrize("columns", [80, 100, 120, 160])
def test_a_narrow_terminal_gets_fewer_columns_and_no_cut_ones(columns: int) -> None:
    found = estimate(workload("mobilenet_v2", mobilenet_v2()), load_npu("nepu-v1"))
    console = Console(width=columns, highlight=False)
    with console.capture() as capture:
        console.print(layers_table(found, load_npu("nepu-v1"), columns))
    lines = capture.get().splitlines()
    assert len(lines) == 1 + len(found.layers)
    assert max(map(len, lines)) <= columns
    assert "…" not in capture.get()
    assert ("dram" in lines[0]) is (columns >= 110)


def test_what_is_not_estimated_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, odd_ones(tmp_path), "--npu", "nepu-v1")
    assert "without 3 operators that are not estimated" in out
    assert "Not estimated, and in no number above: 3 operators" in out
    assert "RSQRT (3): the cost model knows no such operator" in out


def test_a_model_that_cannot_run_there_is_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, MODELS / "conv_float32.tflite", "--npu", "nepu-v1", code=1)
    assert "Time: unavailable: no operator of conv_float32 can run on nepu-v1" in out
    assert "edgekit optimize MODEL --recipe int8" in out


def test_an_unknown_multiplier_leaves_the_energy_open(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (INT8, "--npu", "nepu-v1", "--arithmetic", "multiplier=drum(4)")
    out = said(capsys, *arguments)
    assert "Energy: unavailable: nobody has published the energy of the multiplier drum(4)" in out
    assert "products and sums –" in out
    assert "Energy: ~" in said(capsys, *arguments, "--multiplier-energy", "0.4")


def test_a_program_gets_all_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(said(capsys, every_product(tmp_path), "--npu", "nepu-v1", "--json"))
    assert found["schema"] == "edgekit.estimate/1"
    assert found["latency_ms"]["how"] == "estimated"
    assert found["latency_ms"]["low"] <= found["latency_ms"]["value"]
    assert [layer["node"] for layer in found["layers"]] == list(range(7))
    assert found["layers"][0]["bytes"]["dram"][0] > 0
    assert found["precision"]["weight_bits"] == 8
    narrow = json.loads(
        said(
            capsys,
            every_product(tmp_path),
            "--npu",
            "nepu-v1",
            "--json",
            "--arithmetic",
            "weight_bits=4",
        )
    )
    assert narrow["energy_j"]["value"] < found["energy_j"]["value"]


def test_a_folder_holds_numbers_and_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "out"
    printed = said(capsys, odd_ones(tmp_path), "--npu", "nepu-v1", "--out", out)
    names = {"estimate.json", "layers.csv", "cycles.svg", "energy.svg"}
    assert {path.name for path in out.iterdir()} == names
    assert all(str(out / name) in printed for name in names)
    with open(out / "layers.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["node"] for line in lines] == [str(node) for node in range(6)]
    unknown = [line for line in lines if line["not_estimated"]]
    assert [line["cycles"] for line in unknown] == ["", "", ""]
    assert all(line["energy_j"] == line["dram_read_bytes"] == "" for line in unknown)
    assert float(lines[0]["cycles"]) > 0


def test_the_pictures_show_every_layer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, INT8, "--npu", "nepu-v1", "--out", tmp_path)
    texts = {path.stem: path.read_text() for path in tmp_path.glob("*.svg")}
    assert set(texts) == {"cycles", "energy", "roofline"}
    for text in texts.values():
        root = ET.fromstring(text)
        assert root.tag.endswith("svg")
        assert "conv_int8 on nepu-v1" in "".join(root.itertext())
        assert "#01020" not in text
    for name in ("cycles", "energy"):
        words = "".join(ET.fromstring(texts[name]).itertext())
        for label in ("0 conv 2d", "1 conv 2d", "2 mean", "3 fully connected", "4 softmax"):
            assert label in words
    # Three layers have products: as many points as the roofline has uses of its markers.
    assert texts["roofline"].count("<use ") >= 3


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("x.tflite --npu nepu-v9", "there is no NPU profile 'nepu-v9': name one of edge-tpu-like"),
        ("x.tflite --npu nepu-v1", "x.tflite cannot be read"),
        ("{text} --npu nepu-v1", "is no .tflite file"),
        ("{int8} --npu {text}", "notes.toml: it is not TOML"),
        ("{int8} --npu nepu-v1 --arithmetic weight_bits=0", "arithmetic.weight_bits must be"),
        ("{int8} --npu nepu-v1 --arithmetic multiplier=slow", "Received: 'slow'"),
        ("{int8} --npu nepu-v1 --out {text}", "notes.toml"),
    ],
)
def test_bad_input_is_one_paragraph_and_exit_code_2(
    command: str,
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    text = tmp_path / "notes.toml"
    text.write_text("hello world")
    assert main(["estimate", *command.format(text=text, int8=INT8).split()]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("edgekit: ")
    assert says in err


def test_no_tensorflow_and_no_matplotlib_are_waited_for() -> None:
    script = (
        "import sys\nfrom edgekit.cli import main\n"
        f"assert main(['estimate', {INT8!r}, '--npu', 'nepu-v1', '--json']) == 0\n"
        "assert not {'tensorflow', 'keras', 'matplotlib', 'rich'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
