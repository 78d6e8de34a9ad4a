import json
import os
import threading
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import psutil
import pytest

from edgekit_device import Record, Settings, profile_models
from edgekit_device.progress import Event

Copy = Callable[..., Path]
Quick = Callable[..., Settings]


def workers() -> list[psutil.Process]:
    """The agent's children, in the order of their start."""
    found = [
        child
        for child in psutil.Process().children()
        if any("edgekit_device.worker" in part for part in child.cmdline())
    ]
    return sorted(found, key=lambda child: (child.create_time(), child.pid))


def test_counts_are_those_that_were_asked_for(model: Copy, quick: Quick) -> None:
    settings = quick(runs=7, rounds=3, warmup=4)
    (record,) = profile_models([model()], settings)
    assert record.runs == 9  # three rounds of ceil(7 / 3)
    assert len(record.round_medians_ms) == 3
    assert len(record.warmup_ms) == 4
    assert record.settings == settings.plan


def test_seconds_hold_where_they_ask_for_more_than_the_runs(model: Copy, quick: Quick) -> None:
    (record,) = profile_models([model()], quick(runs=1, seconds=0.4))
    inside_s = record.runs / (record.throughput_per_s.value or 0)
    assert record.runs > 100
    assert 0.1 < inside_s <= 0.6


def test_no_warm_up_is_possible(model: Copy, quick: Quick) -> None:
    (record,) = profile_models([model()], quick(warmup=0))
    assert (record.status, record.warmup_ms) == ("ok", ())


def test_numbers_of_a_run_agree_with_each_other(model: Copy, quick: Quick) -> None:
    (record,) = profile_models([model()], quick(seconds=0.6, idle_seconds=0.3))
    latency = record.latency_ms
    assert 0 < (latency.min.value or 0) <= (latency.p50.value or 0) <= (latency.max.value or 0)
    assert record.throughput_per_s.value == pytest.approx(1e3 / (latency.mean.value or 0))
    assert latency.p50.low == min(record.round_medians_ms)
    assert latency.p50.high == max(record.round_medians_ms)
    # One thread that does nothing but infer, on a machine that others may use too.
    assert 0.02 < (record.cpu_cores.value or 0) < 1.5
    share = (record.cpu_cores.value or 0) / record.machine.cores
    assert record.cpu_utilisation.value == pytest.approx(share)
    assert 0 < (record.machine_cpu_utilisation.value or 0) <= 1
    assert 0 <= (record.idle.cpu_utilisation.value or 0) <= 1
    assert record.machine.cores == os.cpu_count()


def test_the_memory_is_the_workers_own(model: Copy, quick: Quick) -> None:
    # A child's ru_maxrss may begin at its parent's size: make the parent large.
    ballast = bytearray(os.urandom(1 << 20)) * 300
    settings = quick(seconds=0.4, sample_interval_s=0.02)
    (record,) = profile_models([model()], settings)
    assert len(ballast) == 300 << 20
    baseline, peak = record.baseline_rss_bytes.value or 0, record.peak_rss_bytes.value or 0
    assert 15e6 < baseline < peak < 150e6
    assert len(record.samples) >= 2
    for sample in record.samples:
        assert 0.8 * baseline < sample.rss_bytes < peak + 4e6
        assert 0 <= sample.cpu_cores < 4
    times = [sample.t_s for sample in record.samples]
    assert times == sorted(times)


def test_many_runs_do_not_show_as_memory(model: Copy, quick: Quick) -> None:
    few, many = (
        profile_models([model()], quick(runs=runs, rounds=1))[0].peak_rss_bytes.value or 0
        for runs in (10, 200_000)
    )
    assert many - few < 1.5e6


def test_sampling_can_be_switched_off(model: Copy, quick: Quick) -> None:
    (record,) = profile_models([model()], quick(seconds=0.3, sample_interval_s=0.0))
    assert record.samples == ()
    assert record.peak_rss_bytes.how == "measured"


def test_models_take_turns_in_every_round(model: Copy, quick: Quick) -> None:
    paths = [model("conv_float32"), model("conv_int8")]
    settings = quick(seconds=1.2, rounds=3, sample_interval_s=0.02)
    events: list[Event] = []
    records = profile_models(paths, settings, progress=events.append)
    turns = [(event.model, event.round) for event in events if event.event == "round"]
    first, second = (path.name for path in paths)
    assert turns == [(first, 1), (second, 1), (second, 2), (first, 2), (first, 3), (second, 3)]
    assert [record.model.file for record in records] == [first, second]
    samples = sorted((s.t_s, record.model.file) for record in records for s in record.samples)
    in_turn = [file for file, _ in groupby(file for _, file in samples)]
    assert in_turn == [first, second, first, second]


def test_no_model_always_follows_the_same_other(model: Copy, quick: Quick) -> None:
    paths = [model(name) for name in ("conv_float32", "conv_int8", "two_by_two")]
    events: list[Event] = []
    profile_models(paths, quick(runs=1, rounds=4), progress=events.append)
    starts = [event.model for event in events if event.event == "round"][::3]
    assert starts == [paths[index].name for index in (0, 1, 2, 0)]


@pytest.mark.parametrize("bare", [True, False])
def test_the_batch_size_is_that_of_the_file(model: Copy, quick: Quick, bare: bool) -> None:
    records = profile_models(
        [model("batch_of_8", bare=bare), model(bare=bare)], quick(runs=1, rounds=1)
    )
    assert [record.batch for record in records] == [8, 1]
    assert [record.golden.status for record in records] == [("passed", "absent")[bare]] * 2


def test_waiting_models_do_not_use_the_cpu(model: Copy, quick: Quick) -> None:
    used: list[float] = []

    def watch(event: Event) -> None:
        if event.event == "round" and event.model == "conv_int8.tflite":
            times = workers()[0].cpu_times()
            used.append(times.user + times.system)
        if event.event == "done" and event.model == "conv_float32.tflite":
            times = workers()[0].cpu_times()
            used.append(times.user + times.system)

    paths = [model("conv_float32"), model("conv_int8")]
    profile_models(paths, quick(runs=1, seconds=0.5, rounds=1), progress=watch)
    assert used[1] - used[0] <= 0.05


def test_energy_is_that_of_the_profile(
    model: Copy, quick: Quick, tmp_path: Path, board_text: str
) -> None:
    file = tmp_path / "bench.toml"
    file.write_text(board_text)
    (record,) = profile_models([model()], quick(seconds=0.5, profile=str(file)))
    assert record.machine.board == "bench"
    p50 = record.latency_ms.p50
    seconds, low_s, high_s = ((ms or 0) / 1e3 for ms in (p50.value, p50.low, p50.high))
    machine, own = record.machine_cpu_utilisation.value or 0, record.cpu_utilisation.value or 0
    a_w, b_w = 2 + 4 * machine, 1 + 6 * machine
    assert record.energy_j.how == "estimated"
    assert record.energy_j.value == pytest.approx((a_w + b_w) / 2 * seconds)
    assert (record.energy_j.low, record.energy_j.high) == (
        pytest.approx(min(a_w, b_w) * low_s),
        pytest.approx(max(a_w, b_w) * high_s),
    )
    assert record.energy_above_idle_j.value == pytest.approx((4 + 6) / 2 * own * seconds)


def test_an_estimate_says_which_meter_here_was_not_used(
    model: Copy, quick: Quick, tmp_path: Path, board_text: str
) -> None:
    file = tmp_path / "bench.toml"
    file.write_text(board_text)
    for sensor in ("hwmon0", "hwmon1"):
        folder = tmp_path / "sys/class/hwmon" / sensor
        folder.mkdir(parents=True)
        (folder / "name").write_text("ina219\n")
        (folder / "power1_input").write_text("3000000\n")
    settings = quick(seconds=0.5, profile=str(file), meter="auto")
    (record,) = profile_models([model()], settings, root=tmp_path)
    assert record.energy_j.how == "estimated"
    assert "meter hwmon: there are several sensors" in str(record.energy_j.reason)


def test_energy_of_a_run_too_short_to_tell_is_unavailable(
    model: Copy, quick: Quick, tmp_path: Path, board_text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One run may take any time on a busy machine.
    monkeypatch.setattr("edgekit_device.machine._LEAST_SECONDS", 1e9)
    file = tmp_path / "bench.toml"
    file.write_text(board_text)
    (record,) = profile_models([model()], quick(runs=1, profile=str(file)))
    assert record.energy_j.how == "unavailable"
    assert "--seconds" in str(record.energy_j.reason)


def test_energy_without_a_profile_says_how_to_give_one(
    model: Copy, quick: Quick, tmp_path: Path
) -> None:
    (record,) = profile_models([model()], quick(), root=tmp_path)
    assert record.machine.board is None
    assert record.energy_j.how == record.energy_above_idle_j.how == "unavailable"
    assert "--profile" in str(record.energy_j.reason)


def check_error(record: Record, kind: str) -> str:
    assert record.status == "error"
    assert record.error is not None
    assert record.error.kind == kind
    assert record.latency_ms.p50.how == record.peak_rss_bytes.how == "unavailable"
    assert kind in str(record.peak_rss_bytes.reason)
    assert (record.runs, record.samples, record.round_medians_ms) == (0, (), ())
    assert Record.from_json(json.loads(json.dumps(record.to_json()))) == record
    return record.error.message


def test_what_is_no_model_gives_a_record_in_its_place(
    model: Copy, quick: Quick, tmp_path: Path
) -> None:
    text, empty = tmp_path / "text.tflite", tmp_path / "empty.tflite"
    text.write_text("hello, world")
    empty.touch()
    missing, folder = tmp_path / "missing.tflite", tmp_path / "folder.tflite"
    folder.mkdir()
    good = model()
    records = profile_models([text, missing, good, empty, folder], quick())
    assert "'TFL3'" in check_error(records[0], "not-tflite")
    assert str(missing) in check_error(records[1], "missing-file")
    check_error(records[3], "not-tflite")
    check_error(records[4], "unreadable-file")
    assert records[0].model.file == "text.tflite"
    assert records[1].model.sha256 is None
    assert [record.batch for record in records] == [None, None, 1, None, None]
    assert (records[2].status, records[2].model.file) == ("ok", good.name)


def test_damaged_files_never_end_the_agent(model: Copy, quick: Quick, tmp_path: Path) -> None:
    good = model("conv_float32", bare=True)
    content = good.read_bytes()
    cut = [tmp_path / f"cut{percent}.tflite" for percent in (1, 20, 40, 60, 80)]
    for file, percent in zip(cut, (1, 20, 40, 60, 80), strict=True):
        file.write_bytes(content[: max(len(content) * percent // 100, 12)])
    flipped = [tmp_path / f"flip{place}.tflite" for place in (0, 16, 40, 400, 5000, 7000)]
    for file, place in zip(flipped, (0, 16, 40, 400, 5000, 7000), strict=True):
        damaged = bytearray(content)
        for offset in range(place, min(place + 200, len(damaged)), 7):
            damaged[offset] ^= 0x55
        damaged[4:8] = b"TFL3"
        file.write_bytes(damaged)
    records = profile_models([*cut, *flipped, good], quick(runs=1, rounds=1, timeout_s=20))
    for record in records[: len(cut)]:
        assert record.status == "error", record.model.file
        assert record.error is not None
        assert record.error.kind in ("load", "crash", "inference", "inputs")
    assert records[-1].status == "ok"
    assert len(records) == len(cut) + len(flipped) + 1


def in_round_two(act: Callable[[psutil.Process], None]) -> Callable[[Event], None]:
    """Do something to the first worker when the second round begins."""

    def watch(event: Event) -> None:
        if (event.event, event.round, event.model) == ("round", 2, "conv_float32.tflite"):
            act(workers()[0])

    return watch


def test_a_killed_worker_gives_a_record_and_the_others_go_on(model: Copy, quick: Quick) -> None:
    paths = [model("conv_float32"), model("conv_int8")]
    # Late enough to be in the middle of the 1.2 s of the round.
    kill = in_round_two(lambda worker: threading.Timer(0.3, worker.kill).start())
    records = profile_models(paths, quick(seconds=2.4, sample_interval_s=0.05), progress=kill)
    assert "SIGKILL at 'run'" in check_error(records[0], "crash")
    assert records[0].golden.status == "passed"
    assert records[1].status == "ok"
    assert len(records[1].round_medians_ms) == 2


def test_a_hanging_worker_gives_a_record_and_is_ended(model: Copy, quick: Quick) -> None:
    paths = [model("conv_float32"), model("conv_int8")]
    stop = in_round_two(lambda worker: worker.suspend())
    records = profile_models(paths, quick(timeout_s=5), progress=stop)
    assert "within 5 s" in check_error(records[0], "timeout")
    assert "--timeout" in check_error(records[0], "timeout")
    assert records[1].status == "ok"
    assert workers() == []


def test_a_failed_models_worker_does_not_stay_while_others_run(
    model: Copy, quick: Quick, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"\0\0\0\0TFL3" + bytes(40))
    alive: list[int] = []

    def count(event: Event) -> None:
        if event.event == "round":
            alive.append(len(workers()))

    records = profile_models([broken, model()], quick(rounds=1), progress=count)
    assert [record.status for record in records] == ["error", "ok"]
    assert alive == [1]


def test_no_worker_is_left_behind(model: Copy, quick: Quick, tmp_path: Path) -> None:
    profile_models([model(), tmp_path / "missing.tflite"], quick())
    assert workers() == []


def test_an_interruption_ends_the_workers(model: Copy, quick: Quick) -> None:
    def interrupt(event: Event) -> None:
        if event.event == "round":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        profile_models([model()], quick(), progress=interrupt)
    assert workers() == []
