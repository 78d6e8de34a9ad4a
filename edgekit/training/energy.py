"""Joules and shares of stretches of work, from meters that are read all the while."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from edgekit.training.nvml import WINDOW_S, Gpu, open_gpu
from edgekit_device.energy import energy_j, power_w
from edgekit_device.errors import MeterError
from edgekit_device.meters.choosing import choose_meter
from edgekit_device.meters.recording import Recording, recorded
from edgekit_device.number import Number
from edgekit_device.profiles import Board, board_here

_LEAST_READINGS = 3


@dataclass(frozen=True)
class Stretch:
    """Some work: when it began on the monotonic clock, how long it took, how many images it did."""

    start_s: float
    seconds: float
    images: int


@dataclass(frozen=True)
class Meters:
    """What is read while models are trained; a text is why there is nothing to read."""

    host: Recording | str
    board: Board | None
    gpu: Gpu | str
    gpu_busy: Recording | str
    gpu_joules: Recording | str

    def host_j(
        self,
        stretches: Sequence[Stretch],
        images: int,
        batch_size: int,
        cpu_share: Number,
        step_ms: Number,
    ) -> Number:
        """Joules of the host for so many images: its meter's, else those of the board's profile.

        `cpu_share` and `step_ms`, the mean step, are those of one batch, for the power model.
        """
        if isinstance(self.host, Recording):
            return _scaled_j(self.host, stretches, images)
        if self.board is None:
            return Number.unavailable(self.host)
        if self.board.profile is None:
            return Number.unavailable(self.board.reason or self.host)
        step = energy_j(self.board.profile.power, power_w, cpu_share, step_ms)
        if step.value is None or step.low is None or step.high is None:
            return step
        factor = images / batch_size
        many = _counted(images)
        reason = f"of one batch, scaled from its {_counted(batch_size)} to {many}; {step.reason}"
        return Number.estimated(step.value * factor, step.low * factor, step.high * factor, reason)

    def gpu_j(self, stretches: Sequence[Stretch], images: int) -> Number:
        """Joules of the GPU for so many images."""
        if isinstance(self.gpu_joules, str):
            return Number.unavailable(self.gpu_joules)
        return _scaled_j(self.gpu_joules, stretches, images)

    def gpu_share(self, stretches: Sequence[Stretch]) -> Number:
        """The share of time in which the GPU was busy (LCRM paper, equation 17), from 0 to 1.

        Readings of a stretch's first second are left out: they tell of what was before it.
        """
        if isinstance(self.gpu_busy, str):
            return Number.unavailable(self.gpu_busy)
        shortest_s = min(stretch.seconds for stretch in stretches)
        if shortest_s <= WINDOW_S:
            return Number.unavailable(
                f"{self.gpu_busy.meter.name} tells of up to the last {WINDOW_S:g} s, in which the "
                f"other model may have worked, and a turn took {shortest_s:.2f} s: give more "
                "--seconds"
            )
        own = [replace(s, start_s=s.start_s + WINDOW_S, seconds=s.seconds - WINDOW_S)
               for s in stretches]  # fmt: skip
        means = _means(self.gpu_busy, own)
        if isinstance(means, str):
            return Number.unavailable(means)
        total_s = math.fsum(stretch.seconds for stretch in own)
        weighed = zip(means, own, strict=True)
        share = math.fsum(mean * stretch.seconds for mean, stretch in weighed) / total_s
        return Number.measured(min(max(share, 0.0), 1.0), reason=self.gpu_busy.meter.name)


@contextmanager
def metered(meter: str, board_profile: str | None, environ: Mapping[str, str]) -> Iterator[Meters]:
    """Reads the host's power meter, and NVML where there is an NVIDIA GPU.

    `meter` is `auto` or a meter's name, `board_profile` a board whose power model stands in where
    there is no meter.

    Raises:
        UsageError, MeterError: a meter that was named cannot be used.
        BoardProfileError: there is no such profile.
    """
    root = Path("/")
    board = None if board_profile is None else board_here(board_profile, root)
    chosen = choose_meter(meter, root)
    with ExitStack() as stack:
        if chosen.meter is None:
            host: Recording | str = chosen.note or (
                "no power meter of this machine can be read (RAPL, hwmon, IIO or a Pi's own); give "
                "one with --meter, or a board's power model with --board-profile"
            )
        else:
            host = stack.enter_context(recorded(chosen.meter))
        try:
            found: Gpu | str = open_gpu(environ)
        except MeterError as error:
            found = str(error)
        if isinstance(found, str):
            yield Meters(host, board, found, found, found)
            return
        busy = stack.enter_context(recorded(found.busy))
        joules: Recording | str = (
            found.joules
            if isinstance(found.joules, str)
            else stack.enter_context(recorded(found.joules))
        )
        yield Meters(host, board, found, busy, joules)


def _scaled_j(recording: Recording, stretches: Sequence[Stretch], images: int) -> Number:
    """The stretches' joules, scaled from their images to so many; their range is the interval."""
    means = _means(recording, stretches)
    if isinstance(means, str):
        return Number.unavailable(means)
    parts = list(zip(means, stretches, strict=True))
    each = [watts * stretch.seconds / stretch.images for watts, stretch in parts]
    total = math.fsum(watts * stretch.seconds for watts, stretch in parts)
    done, seconds = sum(s.images for s in stretches), math.fsum(s.seconds for s in stretches)
    value = total / done * images
    reason = (
        f"{recording.meter.name}, which sees {recording.meter.scope}, over {seconds:.1f} s and "
        f"{_counted(done)}, scaled to {_counted(images)}"
    )
    low, high = min(value, min(each) * images), max(value, max(each) * images)
    return Number.measured(value, low, high, reason)


def _means(recording: Recording, stretches: Sequence[Stretch]) -> list[float] | str:
    """Mean values over each stretch, or why there are none."""
    last = stretches[-1]
    recording.wait_until(last.start_s + last.seconds)
    trace, name, means = recording.trace(), recording.meter.name, []
    for stretch in stretches:
        inside = trace.between(stretch.start_s, stretch.start_s + stretch.seconds)
        mean = inside.mean_w()
        if len(inside.times_s) < _LEAST_READINGS or mean is None:
            lost = "; ".join(recording.remarks())
            return (
                f"{name} gave {len(inside.times_s)} readings in {stretch.seconds:.2f} s of steps, "
                f"{_LEAST_READINGS} are needed: give more --seconds{'; ' if lost else ''}{lost}"
            )
        means.append(mean)
    return means


def _counted(images: int) -> str:
    return "1 image" if images == 1 else f"{images} images"
