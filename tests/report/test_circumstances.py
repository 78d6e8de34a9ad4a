"""Under which circumstances a board measured, as the tables and the page show them."""

import csv
import dataclasses
import io
from typing import Any

import pytest
from report_page import checked

from edgekit.comparison import Comparison
from edgekit.report import table_text
from edgekit.report.answer import answers
from edgekit.report.circumstances import circumstances
from edgekit.report.spreadsheet import comparison_to_csv
from edgekit.report.verdict import overlap
from edgekit_device import Number

HOT = "temperature limit at 82 °C"


def moment(t_s: float, temperature_c: float | None, clock_hz: float) -> dict[str, Any]:
    return {
        "t_s": t_s,
        "temperature_c": temperature_c,
        "clock_hz": clock_hz,
        "governor": "ondemand",
        "throttled": [],
    }


METERED = {
    "meter": "hwmon ina219",
    "scope": "whole board",
    "idle_before_w": Number.measured(2.31).to_json(),
    "idle_after_w": Number.measured(2.36).to_json(),
    "sample_rate_hz": 98.7,
    "jitter_s": 0.0012,
    "windows": [
        {"seconds": 10.2, "runs": 900, "mean_w": 4.1},
        {"seconds": 10.1, "runs": 890, "mean_w": 4.3},
    ],
    "flags": ["power drifts by 6 % within a window"],
}


@pytest.fixture
def hot(comparison: Comparison) -> Comparison:
    """int8 ran throttled on the first board, before a meter."""
    conditions = {
        "throttled": "yes",
        "reason": HOT,
        "moments": [moment(0, 61.2, 1.5e9), moment(9, 82.1, 6e8)],
    }
    rows = [
        dataclasses.replace(row, throttled=HOT)
        if (row.recipe, row.board) == ("int8", "local")
        else row
        for row in comparison.rows
    ]
    changes = {"conditions": conditions, "metered": METERED, "affinity": [2, 3]}
    records = [
        {**item, "record": {**item["record"], **changes}}
        if (item["recipe"], item["board"]) == ("int8", "local")
        else item
        for item in comparison.records
    ]
    return dataclasses.replace(comparison, rows=tuple(rows), records=tuple(records))


def test_a_throttled_run_is_marked_in_every_table(hot: Comparison) -> None:
    text = table_text(hot)
    assert "int8 ⚠" in text
    assert "⚠ the board was throttled while it ran" in text
    page = checked(hot)
    assert f"⚠ throttled while it ran: {HOT}" in page.text
    assert f"yes: {HOT}" in page.text
    rows = list(csv.DictReader(io.StringIO(comparison_to_csv(hot))))
    assert [row["recipe"] for row in rows if row["throttled"]] == ["int8"]
    local, _ = answers(hot)
    assert any(f"throttled while int8 ran ({HOT})" in caution for caution in local.cautions)


def test_what_was_not_throttled_is_not_marked(comparison: Comparison) -> None:
    assert "⚠" not in table_text(comparison)
    assert "throttled while it ran" not in checked(comparison).text


def test_the_evidence_names_cores_clock_and_meter(hot: Comparison) -> None:
    shown = checked(hot).text
    for words in ("2, 3", "61.2–82.1 °C", "600–1500 MHz", "ondemand", "hwmon ina219, whole board",
                  "2.31 W → 2.36 W", "2 of 10.1 s or more, 4.10–4.30 W, 98.7 readings/s",
                  "power drifts by 6 %"):  # fmt: skip
        assert words in shown, words


def test_what_a_board_does_not_tell_is_missing() -> None:
    record = {"conditions": {"throttled": "unknown", "reason": None, "moments": []}}
    told = circumstances({"recipe": "base", "record": record})
    assert (told.cores, told.throttled, told.is_throttled) == ("any", "unknown", False)
    assert {told.temperature, told.clock, told.governor, told.meter, told.windows} == {"–"}


def test_instructions_stand_with_their_ratio_to_base(comparison: Comparison) -> None:
    text = table_text(comparison)
    counted = text.partition("qemu:pi4, instructions per inference")[2]
    assert "2.62 M 0.41x" in counted
    assert "6.40 M\n" in counted
    assert "2.62 M†" in checked(comparison).text
    rows = csv.DictReader(io.StringIO(comparison_to_csv(comparison)))
    hows = {(row["board"], row["instructions_how"]) for row in rows}
    assert ("local", "unavailable") in hows
    assert ("qemu:pi4", "emulated") in hows


def test_two_estimates_of_a_board_are_told_apart_beyond_a_fifth(comparison: Comparison) -> None:
    one = next(row for row in comparison.rows if row.board == "qemu:pi4")

    def other(factor: float) -> Any:
        p50 = one.latency_p50_ms
        value = (p50.value or 0) * factor
        return dataclasses.replace(
            one, latency_p50_ms=Number.estimated(value, 0.63 * value, 2.5 * value)
        )

    assert overlap("latency_p50_ms", one, other(0.85))
    assert not overlap("latency_p50_ms", one, other(0.75))
