"""A file in an NPU's arithmetic: its answers, its counts, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from delegate_models import need_delegate
from hypothesis import given
from hypothesis import strategies as st
from tflite_file import SOFTMAX, ModelFile

from edgekit_device.arithmetic import Arithmetic, changed, settings_of
from edgekit_device.cli import main
from edgekit_device.delegate import Nepu
from edgekit_device.emulation import Emulation, emulate
from edgekit_device.emulation_cli import read_arrays
from edgekit_device.errors import ArithmeticSettingError, ModelError, RecordError, UsageError
from edgekit_device.runtime import choose, installed

Model = Callable[..., Path]


@pytest.fixture(autouse=True)
def _delegate() -> None:
    need_delegate()


def run(model: Path, inputs: Any = None, **arithmetic: Any) -> tuple[Emulation, list[Any]]:
    runtime = choose("auto", installed())
    return emulate(model, "a", Arithmetic(**arithmetic), runtime, inputs)


def golden(model: Path, what: str) -> Any:
    with np.load(model.with_suffix(".golden.npz")) as arrays:
        return arrays[what]


def test_exact_arithmetic_gives_the_golden_answers(model: Model) -> None:
    file = model("conv_int8")
    done, (answers,) = run(file)
    assert (done.inputs, done.inferences) == ("golden", len(golden(file, "output_0")))
    assert np.array_equal(answers, golden(file, "output_0"))
    assert [node.reason for node in done.nodes] == [None] * len(done.nodes)


def test_counts_are_sums_over_all_inferences(model: Model) -> None:
    file = model("conv_int8")
    samples = golden(file, "input_0")
    many, _ = run(file, [np.concatenate([samples] * 40)], skip_zero_activations=True)
    few, _ = run(file, [samples], skip_zero_activations=True)
    assert many.inferences == 40 * few.inferences > 64  # events are taken in several goes
    for one, all_ in zip(few.totals, many.totals, strict=True):
        assert all_.runs == 40 * one.runs
        assert all_.macs == 40 * one.macs
        assert all_.skipped_macs == 40 * one.skipped_macs
    assert sum(node.skipped_macs for node in few.totals) > 0


def test_noise_differs_between_inferences_and_not_between_runs(model: Model) -> None:
    file = model("conv_int8")
    same = [np.repeat(golden(file, "input_0")[:1], 70, axis=0)]
    _, (once,) = run(file, same, noise=0.02, seed=4)
    _, (again,) = run(file, same, noise=0.02, seed=4)
    assert np.array_equal(once, again)
    assert len(np.unique(once.reshape(70, -1), axis=0)) > 1


def test_a_file_without_golden_samples_runs_on_a_random_one(model: Model) -> None:
    done, (answer,) = run(model("conv_int8", bare=True))
    assert (done.inputs, done.inferences, len(answer)) == ("random", 1, 1)


def test_several_inputs_and_outputs_keep_the_order_of_the_file(model: Model) -> None:
    file = model("two_by_two")
    done, answers = run(file)
    details = Nepu(Arithmetic()).interpreter(file).get_output_details()
    assert [answer.shape[1:] for answer in answers] == [tuple(d["shape"]) for d in details]
    assert done.inferences == len(golden(file, "input_0"))


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        ([], "has 1 inputs, but arrays of the lengths \\[\\]"),
        ([np.zeros((2, 1, 16, 16, 4), np.int8)], r"\(inferences, 1, 16, 16, 3\)"),
        ([np.zeros((2, 1, 16, 16, 3), np.float32)], "takes int8.*Received: float32"),
        ([np.zeros((0, 1, 16, 16, 3), np.int8)], "Received: int8 of shape \\(0,"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(model: Model, given_: Any, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        run(model("conv_int8"), given_)


def test_a_missing_or_foreign_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        run(tmp_path / "none.tflite")
    other = tmp_path / "other.tflite"
    other.write_text("no flatbuffer")
    with pytest.raises(ModelError, match=r"other\.tflite"):
        run(other)


def test_an_emulation_is_read_back_as_it_was(model: Model) -> None:
    done, _ = run(model("conv_int8"), weight_bits=4)
    assert Emulation.from_json(json.loads(json.dumps(done.to_json()))) == done
    with pytest.raises(RecordError, match="the schema must be"):
        Emulation.from_json({**done.to_json(), "schema": "edgekit.record/2"})


@given(
    st.integers(2, 8), st.integers(16, 32), st.sampled_from(["exact", "drum(4)", "table(a=b.bin)"]),
    st.floats(0, 1), st.booleans(),
)  # fmt: skip
def test_settings_are_read_as_they_are_written(
    bits: int, accumulator: int, multiplier: str, noise: float, skip: bool
) -> None:
    wanted = Arithmetic(
        weight_bits=bits,
        accumulator_bits=accumulator,
        multiplier=multiplier,
        noise=noise,
        skip_zero_weights=skip,
    )
    assert changed(Arithmetic(), settings_of(wanted)) == wanted


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("weight_bits", "NAME=VALUE"),
        ("bits=4", "'bits=4' is no setting"),
        ("weight_bits=four", "a whole number. Received: 'four'"),
        ("weight_bits=1", "from 2 to 8. Received: 1"),
        ("noise=loud", "a number. Received: 'loud'"),
        ("skip_zero_weights=maybe", "true or false"),
        ("multiplier=abacus", "exact, truncated"),
    ],
)
def test_a_setting_that_is_none_is_refused(setting: str, says: str) -> None:
    with pytest.raises(ArithmeticSettingError, match=says):
        changed(Arithmetic(), [setting])


def test_inputs_that_are_no_arrays_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "in.npz"
    file.write_text("no zip")
    with pytest.raises(UsageError, match=r"give an \.npz file with the arrays input_0"):
        read_arrays(file)
    np.savez(file, x=np.zeros(3))
    with pytest.raises(UsageError, match="input_0"):
        read_arrays(file)


def test_the_command_writes_answers_and_counts(
    model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, answers = model("conv_int8"), tmp_path / "answers.npz"
    words = ["emulate", str(file), "--npu", "nepu-v1"]
    assert main([*words, "--json", "--outputs", str(answers)]) == 0
    told = Emulation.from_json(json.loads(capsys.readouterr().out))
    assert told.npu == "nepu-v1"
    with np.load(answers) as arrays:
        assert np.array_equal(arrays["output_0"], golden(file, "output_0"))
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "5 of 5 nodes, 1 partition" in text
    assert "mean of 4 (golden inputs)" in text
    assert main([*words, "--arithmetic", "bits=4"]) == 2
    assert "is no setting" in capsys.readouterr().err


def test_the_command_writes_every_inference_s_events(
    model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, events = model("conv_int8"), tmp_path / "events.jsonl"
    words = ["emulate", str(file), "--npu", "nepu-v1", "--json"]
    assert main([*words, "--events", str(events)]) == 0
    told = Emulation.from_json(json.loads(capsys.readouterr().out))
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    assert {line["inference"] for line in lines} == set(range(told.inferences))
    for node in told.totals:
        own = [line for line in lines if line["node"] == node.node]
        assert len(own) == told.inferences
        assert sum(line["macs"] for line in own) == node.macs
        assert sum(line["wall_ns"] for line in own) == node.wall_ns
    assert main([*words, "--events", str(tmp_path / "no" / "events.jsonl")]) == 2
    assert "cannot be written: No such file" in capsys.readouterr().err
    assert main([*words, "--events", "/dev/full"]) == 2
    assert "--events /dev/full cannot be written: No space" in capsys.readouterr().err


def test_a_file_that_the_npu_takes_nothing_of_is_an_error_when_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = ModelFile()
    x = odd.tensor((1, 4), dtype=np.float32, is_input=True)
    odd.outputs = [odd.node(SOFTMAX, [x], odd.tensor((1, 4), dtype=np.float32), beta=1.0)]
    file = tmp_path / "softmax.tflite"
    file.write_bytes(odd.to_bytes())
    assert main(["emulate", str(file), "--npu", "nepu-v1"]) == 0
    assert "0 of 1 nodes" in capsys.readouterr().out
    assert main(["emulate", str(file), "--npu", "nepu-v1", "--require-claims"]) == 2
    assert "takes none of its nodes" in capsys.readouterr().err
