from __future__ import annotations

import dataclasses
import math
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from edgekit.comparison import COLUMNS, Comparison, LayerSaving, Row, Stage
from edgekit.report import write_report
from edgekit.report.html import comparison_to_html
from edgekit.report.labels import place, shortened
from edgekit.report.resources import end_to_end, turns
from edgekit_converters.proof import LayerProof
from edgekit_device.number import Number

Twin = Callable[[Row, str], Row]
Idle = Callable[[Comparison, float], Comparison]

VOID = {"meta", "br", "wbr", "img", "input", "hr", "link"}
HOSTILE = "<script>alert('x')</script>\"&$\\frac{1}$ {{ 7*7 }}"


class Page(HTMLParser):
    """Tags balanced, ids unique, references answered, text collected."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.ids: Counter[str] = Counter()
        self.links: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.parts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == [], self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.note(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.note(tag, attrs)

    def note(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        for name, value in attrs:
            self.attributes.append((tag, name, value or ""))
            if name == "id":
                self.ids[value or ""] += 1
            if name in ("href", "xlink:href"):
                self.links.add(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.parts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.parts))


def checked(comparison: Comparison) -> Page:
    html = comparison_to_html(comparison)
    page = Page(html)
    namespaces = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert set(re.findall(r"https?://[^\"' )<]+", html)) <= namespaces
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
    assert not {"script", "img", "link", "iframe", "object", "image"} & set(page.tags)
    assert not any(name == "src" or name.startswith("on") for _, name, _ in page.attributes)
    assert [id_ for id_, count in page.ids.items() if count > 1] == []
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert {used for used in re.findall(r"url\(#([^)]+)\)", html)} <= set(page.ids)
    # None of the colours that stand for CSS variables is left over.
    assert "#0102" not in html
    return page


def test_whole_page(comparison: Comparison) -> None:
    page = checked(comparison)
    for words in ("digits_cnn.keras", "sklearn digits", "2026-03-14", "755 µs", "10.7 ms†",
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


def test_curves_break_at_pauses() -> None:
    times = [[start + 0.1 * i for i in range(4)] for start in (0.0, 3.0, 9.0)]
    samples = [{"t_s": t, "cpu_cores": 1.0} for turn in times for t in turn]
    found = [[t for t, _ in turn] for turn in turns(samples, "cpu_cores", 1.0)]
    assert found == times
    assert turns(samples[:1], "cpu_cores", 1.0) == [[(0.0, 1.0)]]
    assert turns([], "cpu_cores", 1.0) == []
    long = [{"t_s": i * 0.1, "rss_bytes": 2e6 if i == 777 else 1e6} for i in range(1000)]
    (turn,) = turns(long, "rss_bytes", 1e6)
    assert len(turn) <= 241
    assert turn[-1][0] == pytest.approx(99.9)
    assert max(value for _, value in turn) == 2.0
    pair = [{"t_s": t, "rss_bytes": 1e6} for t in (0.0, 0.1, 5.0, 5.1, 10.0, 10.1, 15.0)]
    assert [len(turn) for turn in turns(pair, "rss_bytes", 1e6)] == [2, 2, 2, 1]


def test_turns_are_put_end_to_end() -> None:
    samples = [
        {"t_s": start + 0.1 * i, "cpu_cores": 1.0} for start in (0.1, 7.1, 20.1) for i in range(3)
    ]
    joined = end_to_end(turns(samples, "cpu_cores", 1.0))
    assert [t for turn in joined for t, _ in turn] == pytest.approx(
        [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    )
    assert end_to_end([]) == []
    assert end_to_end([[(5.0, 1.0)]]) == [[(0.0, 1.0)]]


def test_all_cascades_side_by_side(sixteen: Comparison) -> None:
    page = checked(sixteen)
    section = page.text.split("Techniques side by side")[1]
    for words in ("20+10+10+10best 17+7+7+7", "10+10best 7+7", "46.9 k", "0.04x", "0.26x",
                  "In the names P stands for prune(0.5), C for cluster(16), Q for qat.",
                  "parameters (thousand)", "not trained here", "46.8 k + 46.9 k"):  # fmt: skip
        assert words in section, words
    # The plain word on what pruning does not do stands by the table.
    text = page.text
    assert text.index("All recipes") < text.index("makes no kernel of a CPU faster")
    assert text.index("makes no kernel of a CPU faster") < text.index("Parameters in training")
    assert "For updates over the air, lcrm+PCQ packs smallest" in text


def test_without_trained_stages_there_is_nothing_side_by_side(comparison: Comparison) -> None:
    assert "Techniques side by side" not in checked(comparison).text


def test_what_a_stage_does_not_say_is_missing_and_not_zero(sixteen: Comparison) -> None:
    """As in files from before these fields: a bar is not drawn, a count is a dash."""
    stages = tuple(
        dataclasses.replace(
            stage,
            best_epoch=0,
            trainable_parameters=None if stage.recipe != "P" else 5,
            other_parameters=None,
            accuracy_before=None,
            accuracy_after=None,
            proof=(),
        )
        for stage in sixteen.stages
    )
    page = checked(dataclasses.replace(sixteen, stages=stages, records=()))
    assert "5 + –" in page.text
    assert "not recorded" in page.text
    rows = tuple(dataclasses.replace(row, stages=("gone",)) for row in sixteen.rows)
    lost = checked(dataclasses.replace(sixteen, rows=rows, records=()))
    assert "Techniques side by side" not in lost.text


@pytest.mark.parametrize("count", [0, 1, 40])
def test_a_model_of_few_parameters_is_drawn(sixteen: Comparison, count: int) -> None:
    stages = tuple(
        dataclasses.replace(stage, trainable_parameters=count, other_parameters=0)
        for stage in sixteen.stages
    )
    rows = tuple(dataclasses.replace(row, parameters=Number.counted(count)) for row in sixteen.rows)
    page = checked(dataclasses.replace(sixteen, stages=stages, rows=rows, records=()))
    assert f"{count} + 0" in page.text


def test_a_stage_without_training_has_a_place_among_the_best_epochs(sixteen: Comparison) -> None:
    stages = tuple(
        dataclasses.replace(stage, epochs=0, best_epoch=0) if stage.recipe == "P" else stage
        for stage in sixteen.stages
    )
    page = checked(dataclasses.replace(sixteen, stages=stages, records=()))
    assert "0+10best –+7" in page.text


def test_rows_that_are_weighed_together_are_told(sixteen: Comparison) -> None:
    said = "differ by pruning and clustering alone are weighed with the fastest of their latencies"
    assert said in checked(dataclasses.replace(sixteen, records=())).text
    alone = dataclasses.replace(sixteen, rows=sixteen.rows[:1], records=())
    assert said not in checked(alone).text


def test_every_stage_is_proved_in_a_closed_block(sixteen: Comparison) -> None:
    page = checked(sixteen)
    assert not [a for a in page.attributes if a[:2] == ("details", "open")]
    # A block for each stage and each file, and the curves.
    assert page.tags["details"] == len(sixteen.stages) + len(sixteen.rows) + 1
    for words in ("PC cluster(16): 3 changed, 1 left; zeros as asked in 3 of 3 kernels, distinct "
                  "values as asked in 3 of 3 kernels", "0.987 → 0.984", "10, best 7",
                  "50.0% ✓", "≤ 16 in all", "16 ✓",
                  "PCQ 9 operators, 8 in integers, 1 in float; 3 weight tensors (int8), 50.0% "
                  "zeros, at most 16 distinct values in one", "base 9 operators, all in float",
                  "its input is float by request", "digits/conv2d_1/kernel"):  # fmt: skip
        assert words in page.text, words


def test_a_broken_proof_is_told(sixteen: Comparison) -> None:
    proof = (
        LayerProof("a", 100, 0.49, 40, 16, 0.5, 16, per_channel=True),
        LayerProof("b", 100, 0.5, 17, 9, 0.5, 16),
        LayerProof("c", 3, 1 / 3, 3, 2, 0.5),
    )
    stage = dataclasses.replace(sixteen.stages[0], proof=proof)
    page = checked(dataclasses.replace(sixteen, stages=(stage,), records=()))
    assert "zeros as asked in 2 of 3 kernels" in page.text
    assert "distinct values as asked in 1 of 2 kernels" in page.text
    assert "49.0% ✗" in page.text
    assert "17 ✗" in page.text
    assert "≤ 16 in a channel" in page.text
    assert "16 ✓" in page.text


def test_the_time_axis_says_what_it_is(sixteen: Comparison) -> None:
    page = checked(sixteen)
    assert "The 16 models ran in interleaved turns within 80.0 s" in page.text
    assert "running time of the model itself (s)" in page.text
    assert "1 core is 25% of the machine" in page.text
    labels = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")]
    assert "CPU cores in use over time on local, one panel per recipe" in labels
    assert "Memory (RSS) over time on local, one panel per recipe" in labels


def with_samples(comparison: Comparison, *starts: float) -> Comparison:
    """The first recipes with one turn each, which begin then."""
    records = []
    for item, start in zip(comparison.records, starts, strict=False):
        samples = [
            {"t_s": start + 0.1 * i, "cpu_cores": 1.0, "rss_bytes": 4e7} for i in range(1, 8)
        ]
        records.append({**item, "record": {**item["record"], "samples": samples}})
    rows = comparison.rows[: len(starts)]
    return dataclasses.replace(comparison, rows=rows, records=tuple(records), stages=())


def test_models_that_did_not_take_turns_are_not_said_to(sixteen: Comparison) -> None:
    apart = checked(with_samples(sixteen, 0.0, 2.0)).text
    assert "The 2 models ran one after another." in apart
    alone = checked(with_samples(sixteen, 0.0, 0.0)).text
    assert "interleaved" not in alone
    assert "one after another" not in alone


def test_missing_curves_say_why(sixteen: Comparison) -> None:
    def without(place: int, **more: object) -> dict[str, object]:
        item = sixteen.records[place]
        return {**item, "record": {**item["record"], "samples": [], **more}}

    records = (
        *sixteen.records[:1],
        without(1, settings={"sample_interval_s": 0}),
        without(2, settings={"sample_interval_s": 0.1}),
        without(3, settings={"sample_interval_s": 0.1}),
        without(4, error={"kind": "crash", "message": "it died"}),
        without(5),
    )
    rows = list(sixteen.rows[:8])
    rows[6] = dataclasses.replace(rows[6], error="not convertible")
    page = checked(dataclasses.replace(sixteen, rows=tuple(rows), records=records, stages=()))
    for words in ("P: sampling was switched off.", "C, Q: its turns were shorter than the sampling "
                  "interval of 0.100 s.", "PQ: the run failed (it died).",
                  "CQ: the record holds no samples.", "PC: there is no file to run.",
                  "PCQ: its run was not recorded."):  # fmt: skip
        assert f"No curves of CPU and memory for {words}" in page.text, words


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
