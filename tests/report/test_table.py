from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from edgekit.comparison import COLUMNS, Comparison, Row
from edgekit.evaluate import accuracy, accuracy_change
from edgekit.report import table_text
from edgekit.report.answer import Answer, answers
from edgekit.report.grid import grid, note_key
from edgekit.report.verdict import accuracy_verdict, overlap
from edgekit_device.number import Number

Twin = Callable[[Row, str], Row]
Idle = Callable[[Comparison, float], Comparison]

COMMAND = re.compile(r"^    edgekit .*$", re.MULTILINE)


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_everything_is_there(comparison: Comparison, width: int) -> None:
    text = table_text(comparison, width)
    # Long names go on in a second line after a "+".
    joined = re.sub(r"\s+", " ", text)
    for row in comparison.rows:
        assert row.recipe.replace("+cluster", "+").split("+")[0] in text
    assert "lcrm+int8" in text
    assert "cluster(16)+int8" in text
    for value in ("193.6 kB", "55.7 kB", "2.83 M", "0.987", "0.982–0.992", "755 µs", "733–793",
                  "~10.7 ms", "6.76–26.8", "43.6 MB†", "2.62 M", "~2.34 mJ", "1.81–2.87",
                  "0.29x", "−0.002", "43.6 MB"):  # fmt: skip
        assert value in text, value
    assert joined.count("an emulated board draws no power of its own") == 1
    assert "– [a]" in text
    assert "[b] the run ended in an error" in joined
    assert "✗ lcrm+int8 on qemu:pi4: the interpreter ended with signal 11" in joined
    assert "~ estimated" in joined
    assert "† emulated" in joined
    assert "★ Pareto-best" in joined
    (advice,) = (advice for advice in comparison.advice if advice.command)
    assert f"    {advice.command}\n" in text
    assert all(len(line) <= width for line in COMMAND.sub("", text).splitlines())


def test_pipe_gets_no_colour_and_terminal_does(comparison: Comparison) -> None:
    assert "\x1b" not in table_text(comparison)
    assert "\x1b[" in table_text(comparison, colour=True)


def test_names_cannot_control_the_terminal_or_the_markup(single: Comparison) -> None:
    row = dataclasses.replace(
        single.rows[0], recipe="[bold]x\x1b[2J\x07", error="[link=file:///]boom\x1b]0;t\x07"
    )
    text = table_text(dataclasses.replace(single, rows=(row,), model="m\x1b[31m"), 120)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[bold]x" in text
    assert "[link=file:///]boom" in text


def test_a_very_long_name_is_shown_whole(single: Comparison) -> None:
    name = "+".join(f"prune(0.{i})" for i in range(20)) + "x" * 90
    row = dataclasses.replace(single.rows[0], recipe=name)
    text = table_text(dataclasses.replace(single, rows=(row,)), 80)
    pieces = "".join(
        line[2:].split("  ")[0].strip()
        for line in text.splitlines()
        if line.startswith(("★", "  "))
    )
    assert name in pieces
    assert all(len(line) <= 80 for line in text.splitlines())


def test_marks_only_where_a_column_is_mixed(comparison: Comparison) -> None:
    rows = list(comparison.rows)
    assert "=" not in table_text(comparison, 120)
    rows[1] = dataclasses.replace(rows[1], macs=Number.estimated(2e6, 1e6, 3e6))
    text = table_text(dataclasses.replace(comparison, rows=tuple(rows)), 120)
    assert "~2.00 M" in text
    assert "=2.83 M" in text
    assert "= counted" in text
    assert "mixed" in text


def test_no_rows_and_no_base(comparison: Comparison) -> None:
    assert "digits_cnn" in table_text(dataclasses.replace(comparison, rows=()))
    rest = tuple(row for row in comparison.rows if row.recipe != "base")
    text = table_text(dataclasses.replace(comparison, rows=rest), 120)
    assert not re.search(r"\d\dx\b", text.split("Pareto-best:")[0])
    assert "The base was not compared" in text


def test_footnotes_are_grouped_and_lettered(comparison: Comparison) -> None:
    shown = grid(comparison)
    assert [key for key, _ in shown.notes] == ["a", "b"]
    assert [note_key(i) for i in (0, 25, 26, 27, 52)] == ["a", "z", "aa", "ab", "ba"]


@pytest.mark.parametrize("width", [80, 112, 118, 160])
def test_all_cascades_stay_readable(sixteen: Comparison, width: int) -> None:
    text = table_text(sixteen, width)
    lines = text.splitlines()
    for row in sixteen.rows:
        assert any(line.removeprefix("★ ").split()[:1] == [row.recipe] for line in lines)
    # Name, value and ratio below: no row is taller than two lines, in one table or two.
    tables = 2 if width == 80 else 1
    assert sum(line.startswith("───") for line in lines) == tables
    body = text.split("Pareto-best")[0].splitlines()
    assert len(body) <= tables * (2 * len(sixteen.rows) + 7) + 3
    assert "P stands for prune(0.5), C for cluster(16), Q for qat" in text
    for value in ("43.6 kB", "41.8 kB", "gzip", "zstd"):
        assert value in text, value
    assert "makes no kernel of a CPU faster" in text
    assert all(len(line) <= width for line in COMMAND.sub("", text).splitlines())


def test_rows_that_are_weighed_together_are_told(sixteen: Comparison) -> None:
    said = "differ by pruning and clustering alone are weighed with the fastest of their latencies"
    assert said in table_text(sixteen, 160)
    assert said not in table_text(dataclasses.replace(sixteen, rows=sixteen.rows[:1]), 160)


def test_letters_are_explained_only_where_they_stand(comparison: Comparison) -> None:
    rows = tuple(row for row in comparison.rows if row.recipe in ("base", "int8", "LCRM"))
    assert "stands for" not in table_text(dataclasses.replace(comparison, rows=rows))
    rows = tuple(row for row in comparison.rows if row.recipe in ("base", "C"))
    assert "C stands for cluster(16)\n" in table_text(dataclasses.replace(comparison, rows=rows))


def test_comparisons_without_zstd_say_so_once(comparison: Comparison) -> None:
    rows = tuple(
        dataclasses.replace(row, zstd_bytes=Number.unavailable("not recorded"))
        for row in comparison.rows
    )
    for width in (80, 118, 160):
        assert table_text(dataclasses.replace(comparison, rows=rows), width).count("recorded") == 1


def answer_to(comparison: Comparison, *rows: Row) -> Answer:
    (answer,) = answers(dataclasses.replace(comparison, rows=rows, records=()))
    return answer


def changed(row: Row, lost: int, gained: int, samples: int) -> Row:
    """The row with accuracies of so many test samples, of which base has all but `gained`."""
    base = [i >= gained for i in range(samples)]
    ours = [i < samples - lost for i in range(samples)]
    return dataclasses.replace(
        row, accuracy=accuracy(ours), accuracy_change=accuracy_change(ours, base)
    )


def test_answer_takes_the_fastest_that_keeps_the_accuracy(comparison: Comparison) -> None:
    local, emulated = answers(comparison)
    assert (local.recipe, emulated.recipe) == ("lcrm+int8", "int8")
    assert "stay within 0.02 (2 points) of base: it is the fastest that is shown to" in local.text
    assert "0.981 against 0.989: −0.008 (95 % interval −0.016 to −0.000), which is" in local.text
    last = "lcrm+prune(0.5)+cluster(16)+int8"
    assert f"Ship {last} only if 0.023 of accuracy may be lost" in emulated.text
    assert any("estimated from published figures" in caution for caution in emulated.cautions)
    assert any("No result for lcrm+int8" in caution for caution in emulated.cautions)


@pytest.mark.parametrize(
    ("lost", "gained", "samples", "verdict"),
    [
        (3, 0, 10, "unknown"),
        (0, 0, 10, "unknown"),
        (30, 0, 100, "lost"),
        (3, 2, 540, "kept"),
        (0, 0, 540, "kept"),
        (15, 0, 540, "lost"),
        (20, 12, 540, "unknown"),
    ],
)
def test_accuracy_is_kept_only_where_the_data_show_it(
    comparison: Comparison, lost: int, gained: int, samples: int, verdict: str
) -> None:
    base, row = comparison.rows[:2]
    assert accuracy_verdict(changed(row, lost, gained, samples), base) == verdict


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        (Number.measured(-0.002, -0.008, 0.004), "kept"),
        (Number.measured(-0.01, -0.02, -0.001), "kept"),
        (Number.measured(-0.01, -0.021, 0.001), "unknown"),
        (Number.measured(-0.012, -0.021, -0.003), "lost"),
    ],
)
def test_the_margin_is_two_points(comparison: Comparison, change: Number, verdict: str) -> None:
    base, row = comparison.rows[:2]
    row = dataclasses.replace(row, accuracy_change=change)
    assert accuracy_verdict(row, base) == verdict


def test_without_a_paired_interval_the_rows_own_must_do(comparison: Comparison) -> None:
    base, row = comparison.rows[:2]
    for accuracy_, verdict in (
        (Number.measured(0.987, 0.982, 0.992), "kept"),
        (Number.measured(0.987, 0.9, 0.999), "unknown"),
        (Number.measured(0.9, 0.88, 0.92), "lost"),
        (Number.measured(0.987), "unknown"),
        (Number.unavailable("no test data"), "unknown"),
    ):
        assert accuracy_verdict(dataclasses.replace(row, accuracy=accuracy_), base) == verdict


def test_what_few_samples_cannot_show_is_a_caution(comparison: Comparison) -> None:
    base = changed(comparison.rows[0], 0, 0, 10)
    answer = answer_to(comparison, base, changed(comparison.rows[1], 3, 0, 10))
    assert answer.recipe == "base"
    (caution,) = (text for text in answer.cautions if "cannot show" in text)
    assert caution == (
        "int8 is faster, but these test data cannot show whether it keeps the accuracy "
        "(−0.300, interval −0.544 to +0.044): test it on more samples."
    )
    more = [changed(row, 3, 0, 10) for row in comparison.rows[1:6]]
    (caution,) = (x for x in answer_to(comparison, base, *more).cautions if "cannot show" in x)
    assert caution.startswith("int8 is faster")
    assert caution.endswith("So it is with PCQ and LCRM.")


def test_answer_admits_latencies_that_cannot_be_told_apart(comparison: Comparison) -> None:
    base, int8, pruned = comparison.rows[:3]
    int8 = dataclasses.replace(int8, latency_p50_ms=Number.measured(1.80, 1.70, 1.95))
    answer = answer_to(comparison, base, int8)
    assert answer.recipe == "int8"
    assert "as fast as any" in answer.text
    assert "does not tell its latency from that of base" in answer.text
    # Faster by noise alone, and of the same size: no pass is worth it.
    pruned = dataclasses.replace(pruned, latency_p50_ms=Number.measured(1.80, 1.75, 1.85))
    answer = answer_to(comparison, base, pruned)
    assert answer.recipe == "base"
    assert "measurably faster" in answer.text


def test_ties_go_to_the_smaller_file_then_to_fewer_passes(comparison: Comparison) -> None:
    base, int8, *_ = comparison.rows
    p50 = int8.latency_p50_ms
    quick = Number.measured(p50.value or 0.0, p50.low, p50.high)
    longer = dataclasses.replace(int8, recipe="prune(0.5)+int8", latency_p50_ms=quick)
    slower = dataclasses.replace(int8, latency_p50_ms=Number.measured(0.77, 0.75, 0.8))
    assert answer_to(comparison, base, longer, slower).recipe == "int8"
    smaller = dataclasses.replace(longer, file_bytes=Number.counted(41_000))
    assert answer_to(comparison, base, smaller, slower).recipe == "prune(0.5)+int8"


def test_a_latency_without_an_interval_is_not_exact(comparison: Comparison) -> None:
    base, row = comparison.rows[:2]

    def apart(one: Number, other: Number) -> bool:
        pair = (dataclasses.replace(row, latency_p50_ms=number) for number in (one, other))
        return not overlap("latency_p50_ms", *pair)

    assert not apart(Number.measured(10.0), Number.measured(9.6))
    assert apart(Number.measured(10.0), Number.measured(9.4))
    assert not apart(Number.measured(10.0, 9.9, 10.1), Number.emulated(9.6))
    assert apart(Number.measured(10.0, 9.9, 10.1), Number.measured(9.6, 9.5, 9.7))
    single_round = dataclasses.replace(base, latency_p50_ms=Number.measured(1.8))
    answer = answer_to(comparison, single_round)
    assert any("differences below 5% are not told apart" in text for text in answer.cautions)


def test_pruning_and_clustering_make_no_latency_that_counts(sixteen: Comparison) -> None:
    base, pruned, clustered = sixteen.rows[:3]
    quick = Number.measured(1.5, 1.45, 1.55)
    fast = dataclasses.replace(pruned, latency_p50_ms=quick)
    answer = answer_to(sixteen, base, fast, clustered)
    assert answer.recipe == "base"
    assert "no other recipe that is shown to keep it is measurably faster" in answer.text
    assert "P and C run the same kernels (pruning and clustering make none faster)" in answer.text
    # Nor does one whose accuracy is unknown or lost seem faster.
    for change in (Number.measured(-0.1, -0.2, 0.1), Number.measured(-0.1, -0.2, -0.05)):
        row = dataclasses.replace(fast, accuracy_change=change, pareto=True)
        answer = answer_to(sixteen, base, row)
        assert answer.recipe == "base"
        assert "P is faster" not in " ".join(answer.cautions)
        assert "Ship P" not in answer.text


def test_a_pruned_file_with_other_operators_is_timed_for_itself(sixteen: Comparison) -> None:
    base, pruned = sixteen.rows[:2]
    assert pruned.proof is not None
    fast = dataclasses.replace(
        pruned,
        latency_p50_ms=Number.measured(1.0, 0.98, 1.02),
        proof=dataclasses.replace(pruned.proof, operators=pruned.proof.operators - 1),
    )
    answer = answer_to(sixteen, base, fast)
    assert answer.recipe == "P"
    assert "the same kernels" not in answer.text


def test_noise_of_a_pruned_twin_does_not_hide_the_faster_kernels(sixteen: Comparison) -> None:
    base, pruned, clustered, quantised = sixteen.rows[:4]
    answer = answer_to(sixteen, base, pruned, clustered, quantised)
    assert answer.recipe == "Q"
    assert "run the same kernels" not in answer.text


def test_the_smallest_download_is_named_beside_the_pick(sixteen: Comparison) -> None:
    (answer,) = answers(dataclasses.replace(sixteen, records=()))
    assert answer.recipe == "lcrm+Q"
    assert (
        "For updates over the air, lcrm+PCQ packs smallest of those that keep the accuracy: "
        "2.56 kB with zstd -19 (0.02x of base), against 18.7 kB of lcrm+Q."
    ) in answer.text
    unpacked = Number.unavailable("not recorded")
    rows = [dataclasses.replace(row, zstd_bytes=unpacked) for row in sixteen.rows]
    assert "2.67 kB with gzip -9" in answer_to(sixteen, *rows).text
    rows = [dataclasses.replace(row, gzip_bytes=unpacked) for row in rows]
    assert "over the air" not in answer_to(sixteen, *rows).text
    assert "over the air" not in answer_to(sixteen, *sixteen.rows[:1]).text


def test_answer_without_latency_goes_by_size(comparison: Comparison) -> None:
    none = Number.unavailable("no board")
    rows = tuple(dataclasses.replace(row, latency_p50_ms=none) for row in comparison.rows[:8])
    answer = answer_to(comparison, *rows)
    assert answer.recipe == "lcrm+int8"
    assert "smallest (no latency is known)" in answer.text


def test_answer_refuses_a_recipe_whose_golden_check_failed(comparison: Comparison) -> None:
    records = [dict(item) for item in comparison.records]
    place = next(i for i, item in enumerate(records) if item["recipe"] == "lcrm+int8")
    wrong = {**records[place]["record"], "golden": {"status": "failed"}}
    records[place] = {**records[place], "record": wrong}
    local, _ = answers(dataclasses.replace(comparison, records=tuple(records)))
    assert local.recipe == "int8"
    assert any("lcrm+int8 computed something else" in caution for caution in local.cautions)


def test_a_file_that_another_recipe_gave_is_no_candidate(
    comparison: Comparison, twin_of: Twin
) -> None:
    base, int8 = comparison.rows[:2]
    twin = twin_of(int8, "prune(0.5)+cluster(16)+int8")
    rows = (base, int8, twin)
    answer = answer_to(comparison, *rows)
    assert answer.recipe == "int8"
    assert f"The file of {twin.recipe} is the very same." in answer.text
    for width in (80, 118, 200):
        text = table_text(dataclasses.replace(comparison, rows=rows, records=()), width)
        assert "same file as int8" in re.sub(r"\s+", " ", text)
        assert all(len(line) <= width for line in COMMAND.sub("", text).splitlines())


def test_cautions_stand_above_the_answer(comparison: Comparison) -> None:
    text = table_text(dataclasses.replace(comparison, cautions=("base only guesses",)), 118)
    assert text.index("! base only guesses") < text.index("local: Ship")


def test_a_busy_machine_is_a_caution(comparison: Comparison, with_idle: Idle) -> None:
    def busy(share: float) -> list[bool]:
        found = answers(with_idle(comparison, share))
        return ["busy before the run" in " ".join(answer.cautions) for answer in found]

    assert busy(0.1) == [False, False]
    assert busy(0.11) == [True, True]


def test_energy_says_that_idle_is_included(comparison: Comparison) -> None:
    note = "energy/inference: of the whole board, idle included"
    assert note in table_text(comparison)
    none = dataclasses.replace(comparison, rows=comparison.rows[8:])
    assert note not in table_text(none)


def test_answer_when_everything_failed(comparison: Comparison) -> None:
    rows = tuple(dataclasses.replace(row, error="boom") for row in comparison.rows[:3])
    (answer,) = answers(dataclasses.replace(comparison, rows=rows))
    assert answer.recipe is None
    assert "Nothing can be recommended" in answer.text


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, edgekit.report; "
        "print([m for m in ('rich', 'jinja2', 'matplotlib', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_columns_are_all_in_one_of_the_narrow_tables() -> None:
    from edgekit.report import table

    for layout in table._LAYOUTS:
        assert sorted(sum(layout.tables, ())) == sorted(COLUMNS)
