"""From what a child told to a row of numbers."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np

from edgekit.training.energy import Meters, Stretch
from edgekit.training.rows import TrainingRow
from edgekit_device.machine import cores
from edgekit_device.number import Number

_LEAST_FOR_P90 = 10

# The kernel counts the machine's CPU time in ticks of 10 ms.
_LEAST_TOTAL_S = 0.5


@dataclass(frozen=True)
class Block:
    """One turn: when it began, how long it took, its CPU seconds, and those of its steps.

    `machine_busy_s` and `machine_total_s` are CPU seconds of all programs and cores meanwhile.
    """

    start_s: float
    wall_s: float
    cpu_s: float
    seconds: tuple[float, ...]
    machine_busy_s: float = 0.0
    machine_total_s: float = 0.0

    @classmethod
    def of(cls, answer: dict[str, Any]) -> Block:
        """What a child answered."""
        return cls(**{**answer, "seconds": tuple(answer["seconds"])})


@dataclass(frozen=True)
class Told:
    """All that a child has told so far."""

    model: str
    batch_size: int
    backend: str
    version: str
    device: str
    first: tuple[float, ...] = ()
    training: tuple[Block, ...] = ()
    inference: tuple[Block, ...] = ()
    peak_rss_bytes: int | None = None
    rss_before_bytes: int | None = None
    peak_device_bytes: int | None = None

    @classmethod
    def hello(cls, model: str, batch_size: int, answer: dict[str, Any]) -> Told:
        """A child's hello."""
        return cls(model, batch_size, answer["backend"], answer["version"], answer["device"])

    def with_first(self, answer: dict[str, Any]) -> Told:
        """The steps that are shown apart."""
        return replace(self, first=tuple(answer["seconds"]))

    def with_training(self, answer: dict[str, Any]) -> Told:
        """A turn of training."""
        return replace(self, training=(*self.training, Block.of(answer)))

    def with_inference(self, answer: dict[str, Any]) -> Told:
        """A turn of inference."""
        return replace(self, inference=(*self.inference, Block.of(answer)))

    def with_memory(self, answer: dict[str, Any]) -> Told:
        """Memory after training."""
        return replace(self, **answer)

    def unchanged(self, _: dict[str, Any]) -> Told:
        """Steps in which the libraries warm up."""
        return self


def row_of(told: Told, meters: Meters, images: int) -> TrainingRow:
    """The numbers of one model and batch size; `images` are those of an epoch."""
    size = told.batch_size
    taken = [s for block in told.training for s in block.seconds]
    step_ms = _median_ms(told.training)
    share = _cpu_share(told.training)
    stretches, asked = _stretches(told.training, size), _stretches(told.inference, size)
    host_j = meters.host_j(stretches, images, size, share, _mean_ms(told.training))
    batch_ms = _median_ms(told.inference)
    asked_ms = _mean_ms(told.inference)
    each_j = meters.host_j(asked, 1, size, _cpu_share(told.inference), asked_ms)
    busy = gpu_j = Number.unavailable(f"{told.backend} trains on the CPU here")
    if told.device != "cpu":
        busy, gpu_j = meters.gpu_share(stretches), meters.gpu_j(stretches, images)
        each_j = meters.gpu_j(asked, 1)
    return TrainingRow(
        model=told.model,
        batch_size=size,
        steps=len(taken),
        throughput_images_per_s=_throughput(told.training, size),
        step_ms=step_ms,
        step_p90_ms=_p90_ms(taken),
        first_steps_ms=tuple(Number.measured(s * 1e3) for s in told.first),
        peak_rss_bytes=_peak(told),
        peak_rss_growth_bytes=_growth(told),
        device_memory_bytes=_device_memory(told),
        cpu_share=share,
        other_cpu_share=_other_share(told.training),
        gpu_share=busy,
        gpu_idle_ratio=_idle(busy),
        energy_per_epoch_j=host_j if told.device == "cpu" else gpu_j,
        host_energy_per_epoch_j=host_j,
        inference_ms=_scaled(batch_ms, 1 / size),
        energy_per_inference_j=each_j,
    )


def _throughput(blocks: tuple[Block, ...], size: int) -> Number:
    turns = [size * len(block.seconds) / math.fsum(block.seconds) for block in blocks]
    seconds = [s for block in blocks for s in block.seconds]
    value = size * len(seconds) / math.fsum(seconds)
    return Number.measured(value, min(value, *turns), max(value, *turns))


def _mean_ms(blocks: tuple[Block, ...]) -> Number:
    """The mean step: of energy every step counts, the slow ones too."""
    rate = _throughput(blocks, 1000)
    value, low, high = rate.value, rate.low, rate.high
    if not value or not low or not high:
        return rate
    return Number.measured(1e6 / value, 1e6 / high, 1e6 / low)


def _median_ms(blocks: tuple[Block, ...]) -> Number:
    turns = [median(block.seconds) * 1e3 for block in blocks]
    value = median([s for block in blocks for s in block.seconds]) * 1e3
    return Number.measured(value, min(value, *turns), max(value, *turns))


def _p90_ms(seconds: list[float]) -> Number:
    if len(seconds) < _LEAST_FOR_P90:
        return Number.unavailable(
            f"the 90th percentile needs {_LEAST_FOR_P90} steps, {len(seconds)} were measured: "
            "give more --steps"
        )
    return Number.measured(float(np.percentile(seconds, 90)) * 1e3)


def _cpu_share(blocks: tuple[Block, ...]) -> Number:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores()
    busy, wall = (
        math.fsum(block.cpu_s for block in blocks),
        math.fsum(block.wall_s for block in blocks),
    )
    reason = f"CPU time of the training process over that of {allowed} cores"
    return Number.measured(min(busy / (wall * allowed), 1.0), reason=reason)


def _other_share(blocks: tuple[Block, ...]) -> Number:
    """What other programs took: of a machine that is busy with them, times say little."""
    total = math.fsum(block.machine_total_s for block in blocks)
    if total < _LEAST_TOTAL_S:
        return Number.unavailable(
            f"{total:.2f} s of CPU time are too few to tell what other programs took: give more "
            "--seconds"
        )
    others = math.fsum(block.machine_busy_s - block.cpu_s for block in blocks)
    return Number.measured(min(max(others / total, 0.0), 1.0))


def _peak(told: Told) -> Number:
    if told.peak_rss_bytes is None:
        return Number.unavailable(
            "this system does not let a process begin its high-water mark of memory anew"
        )
    return Number.measured(told.peak_rss_bytes, reason="of the process, libraries included")


def _growth(told: Told) -> Number:
    peak = _peak(told)
    if peak.value is None or told.rss_before_bytes is None:
        return peak
    growth = max(peak.value - told.rss_before_bytes, 0.0)
    return Number.measured(growth, reason="above the process with libraries, samples and model")


def _device_memory(told: Told) -> Number:
    if told.device == "cpu":
        return Number.unavailable(f"{told.backend} trains on the CPU here")
    if told.peak_device_bytes is None:
        return Number.unavailable(f"{told.backend} does not count the memory of this device")
    reason = f"the most that {told.backend}'s tensors took"
    return Number.measured(told.peak_device_bytes, reason=reason)


def _idle(busy: Number) -> Number:
    return busy if busy.value is None else Number.measured(1 - busy.value, reason=busy.reason)


def _scaled(number: Number, factor: float) -> Number:
    value, low, high = (
        None if part is None else part * factor for part in (number.value, number.low, number.high)
    )
    return replace(number, value=value, low=low, high=high)


def _stretches(blocks: tuple[Block, ...], size: int) -> list[Stretch]:
    return [Stretch(b.start_s, b.wall_s, size * len(b.seconds)) for b in blocks]
