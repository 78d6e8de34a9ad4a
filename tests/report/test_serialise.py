from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.comparison import COLUMNS, SCHEMA, Advice, Comparison, LayerSaving, Row, Stage
from edgekit.report import ReportError, read_comparison, write_report
from edgekit.report.serialise import comparison_from_json, comparison_to_json
from edgekit.report.spreadsheet import comparison_to_csv, header
from edgekit_converters.proof import FileProof, FloatOperator, LayerProof, WeightTensor
from edgekit_device.number import Number

# Surrogates are no text: UTF-8 cannot hold them.
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
finite = st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(min_value=0, max_value=2**53)


@st.composite
def intervals(draw: st.DrawFn) -> tuple[float, float, float]:
    low, value, high = sorted(draw(st.tuples(finite, finite, finite)))
    return value, low, high


numbers = st.one_of(
    finite.map(Number.measured),
    intervals().map(lambda parts: Number.measured(*parts)),
    counts.map(Number.counted),
    finite.map(Number.emulated),
    st.builds(
        lambda parts, reason: Number.estimated(*parts, reason=reason),
        intervals(),
        st.none() | text,
    ),
    text.filter(bool).map(Number.unavailable),
)


def some(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(strategy, max_size=2).map(tuple)


shares = st.floats(min_value=0, max_value=1)
file_proofs = st.builds(
    FileProof,
    operators=counts,
    integer_operators=counts,
    floats=some(st.builds(FloatOperator, text, text, text)),
    weights=some(st.builds(WeightTensor, text, text, text, counts, shares, counts, counts)),
    not_found=some(text),
)
layer_proofs = st.builds(
    LayerProof,
    layer=text,
    weights=counts,
    sparsity=shares,
    distinct=counts,
    distinct_per_channel=counts,
    sparsity_asked=st.none() | shares,
    distinct_asked=st.none() | counts,
    per_channel=st.booleans(),
)
rows = st.builds(
    Row,
    recipe=text,
    board=text,
    file=text,
    accuracy_change=numbers,
    sha256=text,
    same_as=text,
    pareto=st.booleans(),
    error=st.none() | text,
    stages=some(text),
    proof=st.none() | file_proofs,
    **dict.fromkeys(COLUMNS, numbers),
)
layers = st.builds(
    LayerSaving,
    text,
    text,
    text,
    counts,
    counts,
    st.none() | counts,
    st.none() | counts,
    st.booleans(),
    text,
)
histories = st.dictionaries(
    text, st.lists(finite | st.sampled_from([math.inf, -math.inf]), max_size=3), max_size=2
)
stages = st.builds(
    Stage,
    recipe=text,
    name=text,
    seconds=finite,
    epochs=counts,
    history=histories,
    changed=st.lists(text, max_size=2).map(tuple),
    skipped=st.lists(st.tuples(text, text), max_size=2).map(tuple),
    reused=st.booleans(),
    best_epoch=counts,
    trainable_parameters=st.none() | counts,
    other_parameters=st.none() | counts,
    accuracy_before=st.none() | finite,
    accuracy_after=st.none() | finite,
    proof=some(layer_proofs),
)
plain = st.recursive(
    st.none() | st.booleans() | counts | finite | text,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(text, inner, max_size=2),
    max_leaves=4,
)
objects = st.dictionaries(text, plain, max_size=3)

comparisons = st.builds(
    Comparison,
    model=text,
    data=text,
    created=text,
    settings=objects,
    versions=st.dictionaries(text, text, max_size=2),
    rows=some(rows),
    layers=some(layers),
    stages=some(stages),
    records=some(objects),
    advice=some(st.builds(Advice, text, text)),
    notes=some(text),
    cautions=some(text),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(comparisons)
def test_round_trip_loses_nothing(value: Comparison) -> None:
    assert comparison_from_json(comparison_to_json(value)) == value


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(comparisons)
def test_csv_reads_back(value: Comparison) -> None:
    lines = list(csv.reader(io.StringIO(comparison_to_csv(value), newline="")))
    assert lines[0] == header()
    assert len(lines) == 1 + len(value.rows)
    for row, line in zip(value.rows, lines[1:], strict=True):
        cells = dict(zip(header(), line, strict=True))
        assert (cells["recipe"], cells["board"]) == (row.recipe, row.board)
        assert (cells["sha256"], cells["same_as"]) == (row.sha256, row.same_as)
        covers = "" if row.energy_j.value is None else "whole board, idle included"
        assert cells["energy_j_covers"] == covers
        for column in COLUMNS:
            number = getattr(row, column)
            assert cells[f"{column}_how"] == number.how
            assert cells[f"{column}_reason"] == (number.reason or "")
            for name, part in (("", number.value), ("_low", number.low), ("_high", number.high)):
                assert cells[column + name] == ("" if part is None else str(part))


def test_real_comparison_round_trips(comparison: Comparison) -> None:
    assert comparison_from_json(comparison_to_json(comparison)) == comparison


def test_csv_ratios_are_to_the_base_of_the_same_board(comparison: Comparison) -> None:
    lines = list(csv.DictReader(io.StringIO(comparison_to_csv(comparison), newline="")))
    int8 = next(x for x in lines if (x["recipe"], x["board"]) == ("int8", "qemu:pi4"))
    assert float(int8["file_bytes_ratio"]) == pytest.approx(55_688 / 193_560)
    assert float(int8["latency_p50_ms_ratio"]) == pytest.approx(0.41)
    assert int8["energy_j"] == int8["energy_j_ratio"] == ""
    assert comparison_to_csv(comparison).count("\r\n") == 1 + len(comparison.rows)


def test_comparisons_from_before_a_field_was_added_can_be_read(single: Comparison) -> None:
    data = json.loads(comparison_to_json(single))
    del data["cautions"], data["rows"][0]["sha256"], data["rows"][0]["same_as"]
    again = comparison_from_json(json.dumps(data))
    assert again == dataclasses.replace(
        single, rows=(dataclasses.replace(single.rows[0], sha256=""),)
    )


def test_comparisons_from_before_proofs_can_be_read(sixteen: Comparison) -> None:
    assert comparison_from_json(comparison_to_json(sixteen)) == sixteen
    data = json.loads(comparison_to_json(sixteen))
    for row in data["rows"]:
        del row["zstd_bytes"], row["stages"], row["proof"]
    for stage in data["stages"]:
        for name in ("best_epoch", "trainable_parameters", "other_parameters", "proof",
                     "accuracy_before", "accuracy_after"):  # fmt: skip
            del stage[name]
    again = comparison_from_json(json.dumps(data))
    assert again.rows[1].zstd_bytes == Number.unavailable("not recorded")
    assert (again.rows[1].stages, again.rows[1].proof) == ((), None)
    assert (again.stages[0].trainable_parameters, again.stages[0].proof) == (None, ())


def test_diverged_training_survives(single: Comparison) -> None:
    stage = Stage("P", "prune(0.5)", 1.0, 2, {"loss": [math.nan, math.inf]})
    again = comparison_from_json(comparison_to_json(dataclasses.replace(single, stages=(stage,))))
    assert math.isnan(again.stages[0].history["loss"][0])
    assert again.stages[0].history["loss"][1] == math.inf


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": "edgekit.comparison/2"}, r"schema 'edgekit.comparison/1'.*comparison/2"),
        ({"surprise": 1}, "unknown .'surprise'"),
        ({"rows": {}}, "comparison.rows: a JSON array"),
        ({"rows": [{}]}, r"comparison.rows\[0\]: keys do not fit: missing .'accuracy'"),
        ({"stages": [3]}, r"comparison.stages\[0\]: a JSON object"),
    ],
)
def test_what_does_not_fit_is_refused(
    single: Comparison, change: dict[str, Any], said: str
) -> None:
    data = {**json.loads(comparison_to_json(single)), **change}
    with pytest.raises(ReportError, match=said):
        comparison_from_json(json.dumps(data))


def test_a_broken_number_is_named(single: Comparison) -> None:
    data = json.loads(comparison_to_json(single))
    data["rows"][0]["energy_j"] = {"how": "measured"}
    with pytest.raises(ReportError, match=r"comparison.rows\[0\].energy_j: Number: a value"):
        comparison_from_json(json.dumps(data))


@pytest.mark.parametrize("text_", ["", "[]", "null", '{"schema": "edgekit.record/2"}'])
def test_no_comparison_is_refused(text_: str) -> None:
    with pytest.raises(ReportError):
        comparison_from_json(text_)


def test_report_files(comparison: Comparison, tmp_path: Path) -> None:
    folder = tmp_path / "run" / "report"
    report = write_report(comparison, folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "comparison.csv",
        "comparison.json",
        "report.html",
    ]
    assert json.loads(report.json.read_text("utf-8"))["schema"] == SCHEMA
    assert read_comparison(folder) == read_comparison(report.json) == comparison
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    write_report(comparison, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_missing_comparison_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="is not a finished comparison"):
        read_comparison(tmp_path)


def test_a_failed_report_leaves_the_old_one(comparison: Comparison, tmp_path: Path) -> None:
    report = write_report(comparison, tmp_path)
    old = report.json.read_bytes()
    broken = dataclasses.replace(comparison, model="new", settings={"where": tmp_path})
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_report(broken, tmp_path)
    assert report.json.read_bytes() == old
    assert len(list(tmp_path.iterdir())) == 3
