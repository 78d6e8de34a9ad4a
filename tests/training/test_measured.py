"""From times and meters to numbers, tables and pictures."""

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from edgekit.training.energy import Meters
from edgekit.training.files import write_profile
from edgekit.training.measured import Block, Told, row_of
from edgekit.training.rows import NUMBERS, ProfiledModel, TrainingProfile, failed_row
from edgekit.training.table import print_profile
from edgekit_device.board import Power
from edgekit_device.errors import MeterError
from edgekit_device.machine import read_machine
from edgekit_device.meters.meter import Reading
from edgekit_device.meters.recording import Recording
from edgekit_device.number import Number
from edgekit_device.profiles import Board, load_profile

NONE = "nothing to read"
NOTHING = Meters(NONE, None, NONE, NONE, NONE)


class Scripted:
    """A meter with ten readings a second from 0 to 20 s, and then no more.

    5 W in the first ten seconds and 10 W behind them, as joules so far; or shares of 0.5 and of 1.
    """

    scope = "everything"

    def __init__(self, name: str, *, counts: bool) -> None:
        self.name, self.counts, self._over = name, counts, False

    def read(self) -> list[Reading]:
        if self._over:
            raise MeterError(f"{self.name} has told all")
        self._over = True
        return [Reading(tenth / 10, self._value(tenth / 10)) for tenth in range(201)]

    def _value(self, t_s: float) -> float:
        if self.counts:
            return 5 * min(t_s, 10) + 10 * max(t_s - 10, 0)
        return 0.5 if t_s < 10 else 1.0

    def shift_s(self) -> float:
        return 0.0

    def remarks(self) -> tuple[str, ...]:
        return ()

    def close(self) -> None:
        pass


def recording(name: str, *, counts: bool) -> Recording:
    found = Recording(Scripted(name, counts=counts))
    found.take()
    return found


def told(device: str = "cpu") -> Told:
    # Two turns of training, of 2 s and of 4 s, and two of inference; steps of 0.2 s and of 0.4 s.
    return Told(
        model="m",
        batch_size=16,
        backend="jax",
        version="1",
        device=device,
        first=(3.0, 0.5, 0.3),
        training=(Block(1, 2, 1, (0.2,) * 10, 2, 4), Block(11, 4, 4, (0.4,) * 10, 6, 8)),
        inference=(Block(4, 1, 1, (0.1,) * 10), Block(16, 1, 1, (0.1,) * 10)),
        peak_rss_bytes=900,
        rss_before_bytes=400,
        peak_device_bytes=None if device == "cpu" else 123,
    )


def test_steps_become_throughput_and_times_without_the_first_three() -> None:
    row = row_of(told(), NOTHING, 1000)
    through = row.throughput_images_per_s
    assert (through.value, through.low, through.high) == pytest.approx((320 / 6, 40, 80))
    assert row.step_ms.value == pytest.approx(300)
    assert (row.step_ms.low, row.step_ms.high) == pytest.approx((200, 400))
    assert row.step_p90_ms.value == pytest.approx(400)
    assert [n.value for n in row.first_steps_ms] == [3000, 500, 300]
    assert row.steps == 20
    # Of 8 busy CPU seconds 5 are its own, and there were 12.
    assert row.other_cpu_share.value == pytest.approx(3 / 12)
    assert row.inference_ms.value == pytest.approx(100 / 16)
    assert row.peak_rss_bytes.value == 900
    assert row.peak_rss_growth_bytes.value == 500


def test_few_steps_have_no_90th_percentile() -> None:
    few = replace(told(), training=(Block(1, 2, 1, (0.2,) * 9),))
    assert "10 steps, 9 were measured" in str(row_of(few, NOTHING, 1).step_p90_ms.reason)


def test_on_the_cpu_nothing_is_said_of_a_gpu() -> None:
    meters = Meters(NONE, None, NONE, recording("busy", counts=False), NONE)
    row = row_of(told(), meters, 1000)
    for number in (row.gpu_share, row.gpu_idle_ratio, row.device_memory_bytes):
        assert number == Number.unavailable("jax trains on the CPU here")
    assert row.energy_per_epoch_j == row.host_energy_per_epoch_j == Number.unavailable(NONE)


def test_joules_of_the_steps_are_scaled_to_the_epoch_and_to_one_image() -> None:
    row = row_of(told(), replace(NOTHING, host=recording("RAPL", counts=True)), 1000)
    # 2 s of 5 W and 4 s of 10 W for 320 images.
    assert row.energy_per_epoch_j.value == pytest.approx(50 / 320 * 1000)
    assert row.energy_per_epoch_j.low == pytest.approx(10 / 160 * 1000)
    assert row.energy_per_epoch_j.high == pytest.approx(40 / 160 * 1000)
    assert "320 images, scaled to 1000 images" in str(row.energy_per_epoch_j.reason)
    assert row.energy_per_inference_j.value == pytest.approx((5 + 10) / 320)


def test_on_a_gpu_energy_and_idle_ratio_are_the_gpus() -> None:
    meters = Meters(
        NONE, None, NONE, recording("busy", counts=False), recording("joules", counts=True)
    )
    row = row_of(told("gpu"), meters, 1000)
    # Half busy for 2 s, wholly for 4 s (equations 17 and 18), less the first second of each.
    assert row.gpu_share.value == pytest.approx(7 / 8, abs=1e-3)
    assert row.gpu_idle_ratio.value == pytest.approx(1 / 8, abs=1e-3)
    assert row.energy_per_epoch_j.value == pytest.approx(50 / 320 * 1000)
    assert row.host_energy_per_epoch_j.value is None
    assert row.device_memory_bytes.value == 123


def test_turns_too_short_for_the_meter_give_no_joules() -> None:
    short = replace(told(), training=(Block(1, 0.15, 0.1, (0.15,)),))
    row = row_of(short, replace(NOTHING, host=recording("RAPL", counts=True)), 1000)
    assert "give more --seconds" in str(row.energy_per_epoch_j.reason)


def test_a_board_profile_estimates_with_an_interval() -> None:
    profile = replace(load_profile("pi4"), power=(Power(2.0, 6.0, "somebody", low=0.5, high=2.0),))
    row = row_of(told(), replace(NOTHING, board=Board(profile, None)), 1600)
    share = row.cpu_share.value or 0.0
    expected = (2 + 4 * share) * 0.3 * 100
    assert row.energy_per_epoch_j.how == "estimated"
    assert row.energy_per_epoch_j.value == pytest.approx(expected)
    assert row.energy_per_epoch_j.low == pytest.approx(expected / 0.3 * 0.2 / 2)


def test_an_estimate_takes_the_mean_step_not_the_median() -> None:
    profile = replace(load_profile("pi4"), power=(Power(2.0, 6.0, "somebody", low=0.5, high=2.0),))
    # Nine steps of 0.1 s and one of 1.1 s: the median is 0.1 s, the mean 0.2 s.
    slow = (Block(1, 2, 1, (*(0.1,) * 9, 1.1), 2, 4),)
    row = row_of(
        replace(told(), training=slow, inference=slow),
        replace(NOTHING, board=Board(profile, None)),
        1600,
    )
    assert row.step_ms.value == pytest.approx(100)
    expected = (2 + 4 * (row.cpu_share.value or 0.0)) * 0.2
    assert row.energy_per_epoch_j.value == pytest.approx(expected * 100)
    assert row.energy_per_inference_j.value == pytest.approx(expected / 16)


def test_what_the_gpu_did_before_a_turn_is_not_in_its_share() -> None:
    meters = Meters(NONE, None, NONE, recording("busy", counts=False), NONE)
    # Readings of 0.5 until 10 s, and of 1 from then on, which is within the turn's first second.
    late = (Block(9.5, 3, 1, (0.3,) * 10),)
    row = row_of(replace(told("gpu"), training=late), meters, 1000)
    assert row.gpu_share.value == pytest.approx(1)
    brief = (Block(9.5, 0.9, 1, (0.3,) * 3),)
    row = row_of(replace(told("gpu"), training=brief), meters, 1000)
    assert "a turn took 0.90 s: give more --seconds" in str(row.gpu_share.reason)
    assert row.gpu_idle_ratio == row.gpu_share


def profile_of(device: str = "cpu") -> TrainingProfile:
    first = row_of(told(device), NOTHING, 1000)
    faster = replace(first, model="m lcrm", throughput_images_per_s=Number.measured(106.67))
    return TrainingProfile(
        created="2026-01-01",
        data="some",
        images_per_epoch=1000,
        backend="jax",
        backend_version="1",
        device=device,
        gpu=None,
        machine=read_machine(Path("/"), None),
        batch_sizes=(16, 32),
        steps=20,
        seconds=4.0,
        models=(
            ProfiledModel("m", 10, Number.counted(100)),
            ProfiledModel("m lcrm", 5, Number.counted(50), "lcrm"),
        ),
        rows=(first, faster, failed_row("m", 32, "no memory"), failed_row("m lcrm", 32, "no luck")),
    )


def test_the_table_has_ratios_and_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    print_profile(profile_of())
    shown = capsys.readouterr().out
    assert "107 2.00x" in shown
    assert "m lcrm: no luck." in shown
    assert "Other programs took up to 25% of the CPU" in shown
    assert "GPU memory, GPU, GPU idle: unavailable, jax trains on the CPU here." in shown


def test_the_files_hold_every_number_and_lines_where_there_are_values(tmp_path: Path) -> None:
    text, picture = write_profile(profile_of(), tmp_path / "new")
    told = json.loads(text.read_text())
    assert told["schema"] == "edgekit.training-profile/1"
    assert all(set(row) >= {*NUMBERS, "model", "batch_size", "error"} for row in told["rows"])
    assert {Number.from_json(row[name]).how for row in told["rows"] for name in NUMBERS} == {
        "measured",
        "unavailable",
    }
    titles = [element.text for element in ET.parse(picture).iter() if element.text]
    assert "training, images/s" in titles
    assert "GPU idle, %" not in titles
