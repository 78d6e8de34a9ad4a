"""The sections on techniques, curves and proofs in the HTML report."""

from __future__ import annotations

import dataclasses

import pytest
from report_page import checked

from edgekit.comparison import Comparison
from edgekit.report.resources import end_to_end, turns
from edgekit_converters.proof import LayerProof
from edgekit_device.number import Number


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


def test_bits_of_a_grid_stand_beside_what_was_taken(sixteen: Comparison) -> None:
    def on_grid(levels: int) -> Comparison:
        proof = LayerProof("conv", 100, 0.0, 9, 9, bits_asked=4, levels=levels)
        stage = dataclasses.replace(sixteen.stages[0], proof=(proof,))
        return dataclasses.replace(sixteen, stages=(stage,))

    page = checked(on_grid(14))
    assert "14 of 15 ✓" in page.text
    assert "bits as asked in 1 of 1 kernels" in page.text
    assert "17 of 15 ✗" in checked(on_grid(17)).text
    assert "levels taken" not in checked(sixteen).text
