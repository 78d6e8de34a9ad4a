"""The HTML report: whole, alone in its file, the same twice, and safe whatever the names."""

from __future__ import annotations

import dataclasses
import math
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from report_page import HOSTILE, checked

from edgekit.comparison import COLUMNS, Comparison, LayerSaving, Row, Stage
from edgekit.report import write_report
from edgekit.report.html import comparison_to_html
from edgekit.report.labels import place, shortened
from edgekit_device.number import Number

Twin = Callable[[Row, str], Row]
Idle = Callable[[Comparison, float], Comparison]


def test_whole_page(comparison: Comparison) -> None:
    page = checked(comparison)
    for words in ("digits_cnn.keras", "sklearn digits", "2026-03-14", "755 µs", "~10.7 ms",
                  "~2.34 mJ", "0.29x", "depthwise + pointwise", "kept: 1 input channel",
                  "passed: largest error 2.1e-06", "Raspberry Pi 4 Model B", "ai-edge-litert 2.3.0",
                  "signal 11", "3 input channels", "held-out images", "batch_size", "epochs 24",
                  "an emulated board draws no power"):  # fmt: skip
        assert words in page.text, words
    for row in comparison.rows:
        assert row.recipe in page.text
    assert page.tags["h1"] == 1
    # Three Pareto panels, training, and three plots for each board.
    assert page.tags["svg"] == page.tags["figcaption"] == 10
    labels = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")]
    assert len(labels) == 10
    assert all(labels)
    heads = [a for a in page.attributes if a[:2] == ("th", "scope")]
    assert len(heads) == page.tags["th"]


def test_page_is_deterministic(comparison: Comparison) -> None:
    small = dataclasses.replace(comparison, records=comparison.records[:2])
    assert comparison_to_html(small) == comparison_to_html(small)


def test_hostile_names_stay_text(comparison: Comparison) -> None:
    rows = list(comparison.rows)
    rows[1] = dataclasses.replace(rows[1], recipe=HOSTILE, error=HOSTILE)
    rows[2] = dataclasses.replace(rows[2], board=HOSTILE)
    rows[3] = dataclasses.replace(rows[3], recipe=HOSTILE, energy_j=Number.unavailable(HOSTILE))
    layer = LayerSaving(HOSTILE, HOSTILE, HOSTILE, 1, 1, 1, 1, True)
    record = {**comparison.records[0], "recipe": HOSTILE, "board": HOSTILE}
    page = checked(
        dataclasses.replace(
            comparison,
            model=HOSTILE,
            rows=tuple(rows),
            layers=(layer,),
            records=(record,),
            notes=(HOSTILE,),
            settings={HOSTILE: HOSTILE},
        )
    )
    assert page.text.count("<script>alert('x')</script>\"&$\\frac{1}$ {{ 7*7 }}") > 8


def replaced(comparison: Comparison, **numbers: Number) -> Comparison:
    rows = tuple(dataclasses.replace(row, **numbers) for row in comparison.rows)
    return dataclasses.replace(comparison, rows=rows, records=(), stages=())


def test_one_row(single: Comparison) -> None:
    page = checked(single)
    assert "Only base has a result" in page.text
    assert "nothing to show per layer" in page.text


def test_no_rows(single: Comparison) -> None:
    assert "Nothing was compared" in checked(dataclasses.replace(single, rows=())).text


def test_no_energy_anywhere(comparison: Comparison) -> None:
    page = checked(replaced(comparison, energy_j=Number.unavailable("no meter here")))
    assert page.text.count("no meter here") == 1


def test_no_latency_anywhere(comparison: Comparison) -> None:
    page = checked(replaced(comparison, latency_p50_ms=Number.unavailable("no board")))
    assert "smallest (no latency is known)" in page.text
    assert "Size of the file" in page.text
    assert "latency p50 (ms)" not in page.text


def test_nothing_but_errors(comparison: Comparison) -> None:
    none = dict.fromkeys(COLUMNS, Number.unavailable("the conversion failed"))
    rows = tuple(
        dataclasses.replace(row, error="boom", pareto=False, **none) for row in comparison.rows
    )
    page = checked(dataclasses.replace(comparison, rows=rows, records=(), layers=(), stages=()))
    assert "Nothing can be recommended" in page.text
    assert page.text.count("boom") == len(rows)
    assert page.tags["svg"] == 0


def many(comparison: Comparison, spread: float = 1.07) -> Comparison:
    """Sixteen recipes close together, with very long names, one board."""
    rows = tuple(
        dataclasses.replace(
            comparison.rows[1],
            recipe="base" if i == 0 else f"lcrm+prune(0.{i})+" + "cluster(16)+" * (i % 5) + "int8",
            accuracy=Number.measured(0.98 + 0.0004 * i, 0.97 + 0.0004 * i, 0.99),
            latency_p50_ms=Number.measured(10 * spread**i, 9.8 * spread**i, 10.3 * spread**i),
            pareto=i % 4 == 0,
        )
        for i in range(16)
    )
    records = tuple({**comparison.records[1], "recipe": row.recipe} for row in rows)
    return dataclasses.replace(comparison, rows=rows, records=records)


@pytest.mark.parametrize("spread", [1.0, 1.002, 2.5])
def test_sixteen_recipes(comparison: Comparison, spread: float) -> None:
    page = checked(many(comparison, spread))
    assert page.text.count("lcrm+prune(0.15)+int8") >= 1


def test_unknown_macs_of_a_layer_are_no_zero(single: Comparison) -> None:
    layers = (
        LayerSaving("conv", "spatial", "replaced", 100, 50, None, None, True),
        LayerSaving("last", "spatial", "replaced", 100, 50, 900, 450, True),
    )
    page = checked(dataclasses.replace(single, layers=layers))
    assert "parameters 200 → 100, MACs – → –" in page.text


def test_partial_records_and_odd_histories(comparison: Comparison) -> None:
    records = (
        {"recipe": "base", "board": "local", "record": {}},
        {"recipe": "int8", "board": "local", "record": {
            "status": "error", "error": "text", "samples": [{"t_s": 0.0, "cpu_cores": None}],
            "warmup_ms": list(range(1, 30)), "golden": None}},
    )  # fmt: skip
    stages = (
        Stage("a", "diverged", 1.0, 2, {"loss": [math.nan, math.inf]}),
        Stage("b", "one epoch", 5000.0, 1, {"loss": [0.3]}),
        Stage("c", "metric only", 75.0, 2, {"psnr": [30.0, 31.0]}),
        Stage("d", "no history", 75.0, 3),
    )
    page = checked(dataclasses.replace(comparison, records=records, stages=stages))
    assert "machine not recorded" in page.text
    assert "1 h 23 min" in page.text
    assert "1.00 ms … 29.0 ms (29)" in page.text


def test_fonts_of_the_plots_need_not_know_every_letter(comparison: Comparison) -> None:
    rows = [dataclasses.replace(comparison.rows[0], recipe="量化 🙂"), *comparison.rows[1:]]
    assert "量化 🙂" in checked(dataclasses.replace(comparison, rows=tuple(rows), records=())).text


def test_labels_do_not_overlap() -> None:
    points = [(100 + 7 * i, 100 + 3.0 * (i % 3)) for i in range(12)]
    placed = place(points, [f"recipe{i}" for i in range(12)], (0, 0, 400, 300))
    assert placed is not None
    for i, one in enumerate(placed):
        for other in placed[:i]:
            apart_x = abs(one.x - other.x) >= 0.6 * 8 * (len(one.text) + len(other.text)) / 2 - 1e-6
            assert apart_x or abs(one.y - other.y) >= 10 - 1e-6
    assert place(points, ["x" * 200] * 12, (0, 0, 400, 300)) is None
    assert len(shortened("y" * 99)) == 26


def test_twins_are_told_and_not_drawn_again(comparison: Comparison, twin_of: Twin) -> None:
    rows = (*comparison.rows[:2], twin_of(comparison.rows[1], "prune(0.5)+int8"))
    page = checked(dataclasses.replace(comparison, rows=rows, records=(), stages=()))
    assert "prune(0.5)+int8same file as int8" in page.text
    assert "The file of prune(0.5)+int8 is the very same." in page.text
    assert page.text.count("Not drawn again: 1 whose file is another's.") == 2


def test_cautions_stand_in_the_answer(comparison: Comparison) -> None:
    doubtful = dataclasses.replace(comparison, cautions=("base is no better than guessing",))
    text = checked(doubtful).text
    assert text.index("The short answer") < text.index("no better than guessing")
    assert text.index("no better than guessing") < text.index("All recipes")


def test_layers_stand_under_the_stage_that_decided_on_them(comparison: Comparison) -> None:
    layers = tuple(
        dataclasses.replace(layer, recipe=recipe)
        for recipe in ("lcrm", "lcrm(style=paper)")
        for layer in comparison.layers
    )
    page = checked(dataclasses.replace(comparison, layers=layers, records=(), stages=()))
    section = page.text.split("What was saved, layer by layer")[1]
    first, second = section.split("lcrm(style=paper)")[:2]
    for block in (first, second):
        assert block.count("depthwise + pointwise") == 1
        assert "parameters 46.5 k → 17.7 k" in block


def test_idle_machine_and_batches_in_the_evidence(comparison: Comparison, with_idle: Idle) -> None:
    assert "CPU in use before the run: 3.1% of all cores over 2.00 s" in checked(comparison).text
    busy = with_idle(comparison, 0.42)
    records = [{**item, "record": {**item["record"], "batch": 8}} for item in busy.records]
    text = checked(dataclasses.replace(busy, records=tuple(records))).text
    # In the answer and with the evidence, for each of two boards.
    assert text.count("The machine was busy before the run (42% of its CPU)") == 4
    assert text.count("per invoke of 8 samples") == 2 * len(records)
    assert "invokes/s" in text


def test_energy_says_that_idle_is_included(comparison: Comparison) -> None:
    assert "energy/inferenceidle included" in checked(comparison).text


def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        if os.environ.get("EDGEKIT_NO_SKIP") == "1":
            pytest.fail("chromium is missing and EDGEKIT_NO_SKIP=1")
        pytest.skip("chromium is missing: apt-get install chromium")
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_real_browser_shows_it(comparison: Comparison, tmp_path: Path, scheme: str) -> None:
    program = chromium()
    report = write_report(comparison, tmp_path / "report")
    picture = tmp_path / "page.png"
    command = [
        program, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--hide-scrollbars", f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1200,3600",
        f"--blink-settings=preferredColorScheme={int(scheme == 'light')}",
        f"--screenshot={picture}", report.html.as_uri(),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    from PIL import Image

    with Image.open(picture) as opened:
        image = opened.convert("L").resize((120, 360))
    tones = image.histogram()
    page_tone = max(range(256), key=lambda tone: tones[tone])
    assert (page_tone > 200) if scheme == "light" else (page_tone < 60)
    # Something is drawn in the top, where the answer is, and further down, where the plots are.
    for box in ((0, 0, 120, 60), (0, 210, 120, 300)):
        low, high = image.crop(box).getextrema()
        assert high - low > 60
