from __future__ import annotations

import dataclasses
import re
import subprocess
import sys

import pytest

from edgekit.comparison import COLUMNS, Comparison
from edgekit.report import table_text
from edgekit.report.answer import answers
from edgekit.report.grid import grid, note_key
from edgekit_device.number import Number

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
                  "10.7 ms†", "~2.34 mJ", "1.81–2.87", "0.29x", "−0.002", "43.6 MB"):  # fmt: skip
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


def test_answer_takes_the_fastest_that_keeps_the_accuracy(comparison: Comparison) -> None:
    local, emulated = answers(comparison)
    assert (local.recipe, emulated.recipe) == ("int8", "int8")
    assert "intervals overlap" in local.text
    assert "Ship lcrm+int8 only if 0.008 of accuracy may be lost" in local.text
    assert any("emulator" in caution for caution in emulated.cautions)
    assert any("lcrm+int8" in caution for caution in emulated.cautions)


def test_answer_admits_latencies_that_cannot_be_told_apart(comparison: Comparison) -> None:
    rows = [row for row in comparison.rows if row.board == "local"][:2]
    rows[1] = dataclasses.replace(rows[1], latency_p50_ms=Number.measured(1.80, 1.70, 1.95))
    (answer,) = answers(dataclasses.replace(comparison, rows=tuple(rows)))
    assert answer.recipe == "int8"
    assert "overlaps that of base" in answer.text


def test_answer_without_latency_goes_by_size(comparison: Comparison) -> None:
    none = Number.unavailable("no board")
    rows = tuple(dataclasses.replace(row, latency_p50_ms=none) for row in comparison.rows[:8])
    (answer,) = answers(dataclasses.replace(comparison, rows=rows))
    assert answer.recipe == "int8"
    assert "smallest (no latency is known)" in answer.text


def test_answer_refuses_a_recipe_whose_golden_check_failed(comparison: Comparison) -> None:
    records = [dict(item) for item in comparison.records]
    records[1] = {**records[1], "record": {**records[1]["record"], "golden": {"status": "failed"}}}
    local, _ = answers(dataclasses.replace(comparison, records=tuple(records)))
    assert local.recipe == "LCRM"
    assert any("int8 computed something else" in caution for caution in local.cautions)


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
