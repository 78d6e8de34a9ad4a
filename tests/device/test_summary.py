from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgekit_device import Number, Record, Settings, profile_models
from edgekit_device.record import Idle
from edgekit_device.summary import record_text


@pytest.fixture
def profiled(model: Callable[..., Path], quick: Callable[..., Settings]) -> Callable[..., Record]:
    def run(name: str = "conv_float32", rounds: int = 2) -> Record:
        return profile_models([model(name)], quick(rounds=rounds))[0]

    return run


def line(record: Record, name: str) -> str:
    """The line of the summary with this name, or an empty text."""
    lines = (line.strip() for line in record_text(record).splitlines()[1:])
    return next((line for line in lines if line.startswith(name)), "")


def test_several_rounds_have_a_range_and_one_has_none(profiled: Callable[..., Record]) -> None:
    several = line(profiled(rounds=2), "latency p50")
    assert several.endswith("] over 2 rounds")
    alone = line(profiled(rounds=1), "latency p50")
    assert alone.endswith(" ms over 1 round")
    assert "[" not in alone


def test_a_batch_is_named_and_its_samples_are_counted(profiled: Callable[..., Record]) -> None:
    record = replace(profiled("batch_of_8"), throughput_per_s=Number.measured(25.0))
    assert "inferences of 8 samples" in line(record, "batch")
    assert line(record, "throughput").endswith("25 inferences/s, 200 samples/s")


def test_one_sample_at_a_time_is_not_called_a_batch(profiled: Callable[..., Record]) -> None:
    text = record_text(profiled())
    assert "batch" not in text
    assert "samples/s" not in text


@pytest.mark.parametrize(("share", "cautious"), [(0.03, False), (0.1, False), (0.42, True)])
def test_a_machine_that_was_busy_before_is_cautioned_about(
    profiled: Callable[..., Record], share: float, cautious: bool
) -> None:
    record = replace(profiled(), idle=Idle(Number.measured(share), 2.0))
    assert line(record, "idle before").endswith(f"CPU {share * 100:.0f} % busy")
    assert ("close it and profile again" in line(record, "caution")) == cautious


def test_no_idle_baseline_says_why(profiled: Callable[..., Record]) -> None:
    assert "unavailable: the idle baseline is switched off" in line(profiled(), "idle before")
