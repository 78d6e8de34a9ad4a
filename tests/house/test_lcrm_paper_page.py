"""The page that redraws the LCRM paper's tables."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from benchmarks.lcrm_paper import ablation, applications, counting, searched, techniques, training
from benchmarks.lcrm_paper.page import markdown, parts
from benchmarks.lcrm_paper.rows import RESULTS, paper
from edgekit.cli.parser import parser
from edgekit_converters import PARENTS

PAGE = Path(__file__).parents[2] / "docs" / "lcrm-paper.md"
HEADINGS = [*(f"Table {n}" for n in range(2, 17)), *(f"Figure {n}" for n in range(5, 16))]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a folder without any results."""
    folder = tmp_path_factory.mktemp("empty")
    return markdown(parts(folder), folder)


def test_operations_are_the_papers_to_the_digit() -> None:
    for row in counting.table3().rows:
        assert [cell.text for cell in row.ours[:2]] == list(row.paper[:2]), row.what


def test_parameters_are_the_papers_to_the_digit() -> None:
    blocks = [row for row in counting.table4().rows if row.what.startswith("D")]
    assert len(blocks) == 5
    for row in blocks:
        assert [cell.text for cell in row.ours[:2]] == list(row.paper[:2]), row.what


def test_ratios_are_those_of_the_formulas() -> None:
    for row in counting.table2().rows:
        assert row.ours[0].text == row.paper[2], row.what


def test_whole_models_have_as_many_parameters_as_the_paper_says() -> None:
    assert counting.total("alexnet") == 11_150_602
    assert counting.total("alexnet", "equations") == 8_012_938
    assert counting.total("alexnet", "notebook", ("!conv2",)) // 10_000 == 819
    assert round(counting.total("alexnet", "notebook", ("!conv5",)) / 1e5) == 86
    for number, (_, _, printed, _) in paper()["table15"].items():
        found = searched.count(number)
        if found is not None:
            assert found / 1e6 == pytest.approx(float(printed.split()[0]), abs=0.1), number


def test_without_results_every_table_stands_there_and_says_what_to_run(empty: str) -> None:
    headings = " ".join(re.findall(r"^## (.*)$", empty, re.M))
    spelt = re.sub(r"Figures (\d+) and (\d+)", r"Figure \1 Figure \2", headings)
    spelt = spelt.replace("Tables 9 to 11", "")
    for heading in HEADINGS:
        assert re.search(rf"{heading}\b", spelt), heading
    for section in empty.split("\n## ")[1:]:
        if "| unavailable |" in section or "not drawn here" in section:
            assert "\nNot here: " in section, section.splitlines()[0]


def test_without_results_nothing_is_measured(empty: str) -> None:
    lines = [line for line in empty.splitlines() if line.startswith("| ")]
    assert not [line for line in lines if "measured" in line or "estimated" in line]
    assert "](lcrm-paper/" not in empty


def test_commands_of_the_page_are_commands(empty: str) -> None:
    commands = set(re.findall(r"`(edgekit (?:compare|profile) [^`]*)`", empty))
    assert len(commands) >= 4
    for command in commands:
        parser().parse_args(shlex.split(command)[1:])
    for module in set(re.findall(r"-m (benchmarks\.[a-z_.]+)", empty)):
        path = PAGE.parents[1] / module.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").is_file(), module


def test_training_profiles_fill_their_tables(tmp_path: Path) -> None:
    def row(model: str, step: float) -> dict[str, Any]:
        return {
            "model": model,
            "batch_size": 16,
            "step_ms": {"how": "measured", "value": step, "low": 1.0, "high": 999.0},
            "throughput_images_per_s": {"how": "measured", "value": 16e3 / step},
            "gpu_share": {"how": "unavailable", "reason": "no GPU"},
            "other_cpu_share": {"how": "measured", "value": step / 50},
        }

    told = {"device": "cpu", "gpu": None, "data": "glyphs", "backend": "tensorflow"}
    rows = [row("alexnet_small", 40.0), row("alexnet_small lcrm", 25.0)]
    (tmp_path / "training_profile.json").write_text(json.dumps({**told, "rows": rows}))
    first, second = training.table5(tmp_path).rows[:2]
    assert [cell.text for cell in first.ours] == [
        *("40.0 (1.0 to 999.0)", "400.0", "25.0 (1.0 to 999.0)", "640.0"),
    ]
    assert first.remark == "others: 80 and 50 % of the CPU"
    for table in (training.table5, training.table6, training.table7):
        assert "other programs took 50 to 80 % of the CPU" in table(tmp_path).why
    assert {cell.how for cell in second.ours} == {"unavailable"}
    assert training.table7(tmp_path).rows[0].ours[0].reason == "no GPU"


def test_applications_are_averaged_over_seeds(tmp_path: Path) -> None:
    def row(recipe: str, seed: int, score: float, reached: int | None) -> dict[str, Any]:
        # What benchmarks/applications.py writes.
        return {
            "task": "nuclei", "model": "unet_small", "recipe": recipe, "seed": seed,
            "metric": "IoU", "score": score, "metrics": {"pixel accuracy": 0.9},
            "parameters": 10, "macs": 100, "file_bytes": 1000, "latency_ms": 2.0,
            "epochs": 24, "to_parent": reached, "untrained": None, "validation": [0.1] * 24,
            "chosen": [], "score_int8": score, "metrics_int8": {"pixel accuracy": 0.9},
            "gzip_bytes": 900, "file_bytes_int8": 300, "gzip_bytes_int8": 200,
            "latency_ms_int8": 1.0,
        }  # fmt: skip

    rows = [row("base", 0, 0.9, 20), row("base", 1, 0.8, 23), row("lcrm(weights=fresh)", 0, 0.7, 7)]
    rows += [row("lcrm", 0, 0.7, 7), row("lcrm", 1, 0.7, None)]
    rows += [row("distill", seed, 0.7, None) for seed in (0, 1)]
    (tmp_path / "applications.json").write_text(json.dumps({"rows": rows}))
    ious = next(row for row in applications.table10(tmp_path).rows if row.what == "IoU")
    assert [cell.text for cell in ious.ours] == ["0.850 ± 0.071", "0.700"]
    told = applications.recipes(tmp_path).rows
    assert [row.what for row in told][1].endswith("`lcrm(weights=fresh)`")
    assert [row.ours[1].text for row in told] == ["21.5 ± 2.1", "7.0", "7, not in 24", "not in 24"]


def test_trials_of_a_search_find_their_place(tmp_path: Path) -> None:
    def trial(substitute: str, score: float, state: str = "complete") -> dict[str, Any]:
        return {"values": {"substitute": substitute}, "score": score, "state": state, "facts": {},
                "alexnet_parameters": 9}  # fmt: skip

    told = {"model": "alexnet_small", "task": "glyphs", "samples": 9, "epochs": 2}
    rows = [trial("group(8)+dilated", 0.5), trial("lcrm", 0.6, "pruned")]
    (tmp_path / "search.json").write_text(json.dumps({**told, "rows": rows}))
    rows = [
        {"values": {"optimizer": name, "batch_size": 16}, "score": score, "state": "complete"}
        for name, score in (("SGD", 0.2), ("Adam", 0.7))
    ]
    (tmp_path / "search_hyperparameters.json").write_text(json.dumps({**told, "rows": rows}))
    scores = {row.what: row.ours[1].text for row in searched.table15(tmp_path).rows}
    assert scores["model 5: group + dilated, parallel"] == "0.500"
    assert scores["model 7: depthwise + pointwise, parallel"] == "–"
    on = searched.table16(tmp_path).on
    assert on.startswith("the LCRM version of alexnet_small on glyphs")
    assert on.endswith("; TPE, 2 of 1875 points")
    assert searched.chosen(tmp_path) == {"optimiser": "Adam", "batch_size": 16}


def test_the_techniques_below_base_are_named(tmp_path: Path) -> None:
    def told(**accuracies: float) -> str:
        recipes = {name: {"accuracy": value, "gzip_bytes": 1} for name, value in accuracies.items()}
        (tmp_path / "cascades.json").write_text(json.dumps({"glyphs": {"recipes": recipes}}))
        return techniques.table12(tmp_path).why

    assert "every technique is above base" in told(base=0.5, P=0.6, lcrm=0.7)
    assert "every technique but lcrm is above base" in told(base=0.5, P=0.6, lcrm=0.4)
    assert "above base" not in told(base=0.5, P=0.4, lcrm=0.4)


@pytest.mark.parametrize("name", ["alexnet_small", "vgg9_small"])
def test_a_case_left_out_keeps_its_convolutions_and_no_others(name: str) -> None:
    found = ablation.variants(PARENTS[name]())
    whole = {layer.name for layer in ablation.build(name, "lcrm").layers}
    parent = {layer.name for layer in PARENTS[name]().layers}
    for variant, where in found.items():
        if where:
            layers = {layer.name for layer in ablation.build(name, variant).layers}
            kept = {pattern.removeprefix("!") for pattern in where}
            assert (layers & parent) - whole == kept, variant


def test_an_interrupted_ablation_trains_nothing_twice(tmp_path: Path) -> None:
    setup, log = ablation.Setup(train=1, epochs=1), tmp_path / "log.jsonl"
    rows = [
        {"setup": vars(setup), "model": "alexnet_small", "variant": variant, "seed": 0}
        for variant in ablation.variants(PARENTS["alexnet_small"]())
    ]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = ablation.train_all({"alexnet_small": setup}, [0], log)
    assert [row["variant"] for row in done] == [row["variant"] for row in rows]
    assert len(log.read_text().splitlines()) == len(rows)


@pytest.mark.slow
def test_the_page_is_what_the_results_give() -> None:
    assert markdown(parts(RESULTS), PAGE.parent) == PAGE.read_text("utf-8")
