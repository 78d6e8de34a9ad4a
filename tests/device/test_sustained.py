"""A sustained run: one model, without a pause, through all its golden samples."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_device import Settings, profile_models
from edgekit_device.errors import UsageError
from edgekit_device.golden import file_sha256, read_reference
from edgekit_device.progress import Event
from edgekit_device.runtime import choose, import_interpreter, installed
from edgekit_device.summary import record_text
from edgekit_device.worker import Worker

Copy = Callable[..., Path]
_PAUSE_S = 0.005


@pytest.fixture
def watched_worker(monkeypatch: pytest.MonkeyPatch) -> tuple[Worker, list[Any]]:
    """A worker, and what is set as the inputs of its real interpreter; setting takes 5 ms."""
    runtime, inputs = choose("auto", installed()).name, []

    class Interpreter(import_interpreter(runtime)):  # type: ignore[misc]
        def set_tensor(self, index: int, value: Any) -> None:
            super().set_tensor(index, value)
            inputs.append(np.array(value))
            time.sleep(_PAUSE_S)

    monkeypatch.setattr("edgekit_device.worker.import_interpreter", lambda name: Interpreter)
    worker = Worker()
    worker.import_runtime({"runtime": runtime, "affinity": None})
    return worker, inputs


def golden_of(path: Path) -> dict[str, Any]:
    reference = read_reference(path, file_sha256(path))
    assert not isinstance(reference, str)
    return {**vars(reference), "file": str(reference.file)}


@pytest.mark.parametrize("name", ["conv_int8", "two_by_two"])
def test_each_inference_gets_the_next_sample(
    model: Copy, watched_worker: tuple[Worker, list[Any]], name: str
) -> None:
    path = model(name)
    worker, inputs = watched_worker
    worker.load({"model": str(path), "threads": 1})
    golden = golden_of(path)
    samples, tensors = golden["samples"], len(golden["inputs"])
    shares = worker.run({"runs": samples, "seconds": 0, "parts": 2, "cycle": golden})
    assert [share.tally.runs for share in shares.parts] == [samples] * 2
    arrays = np.load(golden["file"])
    expected = [
        arrays[f"input_{index}"][sample]
        for sample in [*range(samples)] * 2
        for index in range(tensors)
    ]
    assert len(inputs) == len(expected)
    assert all(np.array_equal(got, want) for got, want in zip(inputs, expected, strict=True))


def test_setting_inputs_is_no_latency(
    model: Copy, watched_worker: tuple[Worker, list[Any]]
) -> None:
    path = model()
    worker, _ = watched_worker
    worker.load({"model": str(path), "threads": 1})
    (share,) = worker.run({"runs": 20, "seconds": 0, "parts": 1, "cycle": golden_of(path)}).parts
    assert share.wall_ns - share.tally.total_ns >= 20 * _PAUSE_S * 1e9


def test_models_run_one_after_another_for_as_long_as_asked(
    model: Copy, quick: Callable[..., Settings]
) -> None:
    paths, events = [model("conv_float32"), model("two_by_two", bare=True)], list[Event]()
    settings = quick(duration_s=1.5, rounds=4, runs=10**6, sample_interval_s=0.05)
    records = profile_models(paths, settings, progress=events.append)
    turns = [(event.model, event.round) for event in events if event.event == "round"]
    assert turns == [(path.name, 1) for path in paths]
    for record in records:
        assert record.status == "ok"
        assert (record.settings.seconds, record.settings.rounds, record.settings.runs) == (
            1.5,
            1,
            1,
        )
        # The medians of its fifths say how far it drifted.
        assert len(record.round_medians_ms) == 5
        assert record.latency_ms.p50.low == min(record.round_medians_ms)
        assert record.samples[-1].t_s - record.samples[0].t_s >= 0.5
        assert "over 1.5 s without a pause" in record_text(record)
    assert records[0].samples[-1].t_s < records[1].samples[0].t_s


@pytest.mark.parametrize("value", [0, -1, 0.5, float("nan"), float("inf"), True])
def test_a_duration_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(UsageError, match="duration_s: must be a finite number of at least 1"):
        Settings(duration_s=value)
