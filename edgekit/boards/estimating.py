"""What a .tflite file would cost on a board that is not there: latency and energy of its profile.

The form, its coefficients and how far it is off: docs/board-estimates.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from edgekit.errors import NpuError
from edgekit.npu.workload import CONVERSIONS, Layer, Operand, Workload, read_workload
from edgekit_converters.errors import ConverterError
from edgekit_device.board import BoardProfile
from edgekit_device.energy import energy_j, power_above_idle_w, power_w
from edgekit_device.latency import unavailable_latency
from edgekit_device.number import Number
from edgekit_device.record import Record

_INT8_BITS = 8

# What the form leaves out: calling an operator took 0.03 µs on a fast x86_64 core, perhaps ten
# times that on a small one, and handing it to several threads some µs. Only tiny models notice.
_MOST_OPERATOR_MS = 5e-3


@dataclass(frozen=True)
class Work:
    """What one inference asks of a CPU.

    `macs_fp32` and `macs_int8` are products by the arithmetic that they are made in,
    `weight_bytes` all weights and biases as they are read, `tensor_bytes` the inputs and outputs of
    every operator, `operators` how many there are.
    """

    macs_fp32: int
    macs_int8: int
    weight_bytes: int
    tensor_bytes: tuple[int, ...]
    operators: int

    @property
    def macs(self) -> int:
        """Products of either kind."""
        return self.macs_fp32 + self.macs_int8

    def dram_bytes(self, l2_bytes: float) -> int:
        """Bytes beyond the cache: weights, if together they exceed half of it, and large tensors.

        Half of the second-level cache, since what an operator reads and writes share it.
        """
        large = l2_bytes / 2
        weights = self.weight_bytes if self.weight_bytes > large else 0
        return weights + sum(size for size in self.tensor_bytes if size > large)


@dataclass(frozen=True)
class Terms:
    """The two parts of a latency, in seconds, before their factors."""

    macs_s: float
    traffic_s: float


@dataclass(frozen=True)
class BoardEstimate:
    """A model on a board by its profile; `dram_bytes` is None where it cannot be said."""

    model: str
    board: str
    threads: int
    macs: int | None
    dram_bytes: int | None
    latency_ms: Number
    energy_j: Number
    energy_above_idle_j: Number


def work_of(workload: Workload) -> Work:
    """Count what an inference asks of a CPU.

    Raises:
        NpuError: an operator that cannot be counted, and why.
    """
    macs_fp32 = macs_int8 = weight_bytes = operators = 0
    tensors: list[int] = []
    for layer in workload.layers:
        if layer.refused is not None:
            raise NpuError(
                f"operator {layer.node} of {workload.name} ({layer.operator}) cannot be counted: "
                f"{layer.refused}"
            )
        # Constants are brought out of their storage once, when the file is loaded.
        if layer.operator in CONVERSIONS and not layer.inputs:
            continue
        operators += 1
        # A float16 file's weights are float32 once it is loaded.
        held = layer.kernel or layer.weights
        if held is not None:
            weight_bytes += _bytes(held) + layer.bias_bytes
        tensors += [_bytes(tensor) for tensor in (*layer.inputs, *layer.outputs)]
        if layer.macs and _in_float(layer, workload.name):
            macs_fp32 += layer.macs
        else:
            macs_int8 += layer.macs
    return Work(macs_fp32, macs_int8, weight_bytes, tuple(tensors), operators)


def read_work(file: Path) -> Work:
    """Count what an inference of a .tflite file asks of a CPU.

    Raises:
        NpuError: the file cannot be read, or has an operator that cannot be counted.
    """
    try:
        return work_of(read_workload(file))
    except (ConverterError, OSError) as error:
        raise NpuError(f"{file.name} cannot be read: {error}") from error


def terms(work: Work, profile: BoardProfile, threads: int) -> Terms:
    """Give the seconds of the products at the cores' peak and of the bytes at the full bandwidth.

    Raises:
        NpuError: the profile lacks a number that this work needs.
    """
    cpu, macs_s = profile.cpu, 0.0
    used = min(threads, profile.cores)
    for kind, macs, peak in (
        ("fp32", work.macs_fp32, cpu.peak_macs_per_cycle_fp32),
        ("int8", work.macs_int8, cpu.peak_macs_per_cycle_int8),
    ):
        if macs and peak is None:
            raise _lacks(profile, f"cpu.peak_macs_per_cycle_{kind}")
        macs_s += macs / ((peak or 1.0) * profile.clock_hz * used)
    if cpu.l2_bytes is None:
        raise _lacks(profile, "cpu.l2_bytes")
    beyond = work.dram_bytes(cpu.l2_bytes)
    bandwidths = cpu.memory_bandwidth_bytes_per_s
    if beyond and not bandwidths:
        raise _lacks(profile, "cpu.memory_bandwidth_bytes_per_s")
    traffic_s = beyond / (math.fsum(bandwidths) / len(bandwidths)) if beyond else 0.0
    return Terms(macs_s, traffic_s)


def latency_ms(work: Work, profile: BoardProfile, threads: int) -> Number:
    """Estimate the median latency with its interval, or say why it cannot be estimated."""
    model = profile.latency
    if model is None:
        return Number.unavailable(f"the board profile {profile.name} has no latency model")
    try:
        parts = terms(work, profile, threads)
    except NpuError as error:
        return Number.unavailable(str(error))
    value = 1e3 * (model.macs_factor * parts.macs_s + model.traffic_factor * parts.traffic_s)
    if value <= 0:
        return Number.unavailable(
            "the file has no products and its tensors fit the cache: its time is all overhead"
        )
    reason = f"latency model of {profile.name}, {model.source}"
    high = value * model.high + work.operators * _MOST_OPERATOR_MS
    return Number.estimated(value, value * model.low, high, reason)


def estimate(file: Path, profile: BoardProfile, threads: int = 1) -> BoardEstimate:
    """Estimate what a .tflite file costs on a board, without any run."""
    try:
        work = read_work(file)
    except NpuError as error:
        unavailable = Number.unavailable(str(error))
        return BoardEstimate(
            file.stem, profile.name, threads, None, None, unavailable, unavailable, unavailable
        )
    latency = latency_ms(work, profile, threads)
    l2_bytes = profile.cpu.l2_bytes
    return BoardEstimate(
        model=file.stem,
        board=profile.name,
        threads=threads,
        macs=work.macs,
        dram_bytes=None if l2_bytes is None else work.dram_bytes(l2_bytes),
        latency_ms=latency,
        **_energies(profile, threads, latency),
    )


def with_estimates(record: Record, file: Path, profile: BoardProfile | None) -> Record:
    """Give an emulated board's record the latency and energies that its profile estimates.

    `file` is the .tflite file of the record. What an emulated board's clock says is no latency, so
    what cannot be estimated is unavailable with the reason. Other records, and those of a run that
    ended in an error, are given back as they are.
    """
    if record.machine.emulator is None or record.status != "ok":
        return record
    latency, energy, above_idle = _estimated(file, profile, record.threads)
    others = unavailable_latency(
        latency.reason or "it is unavailable"
        if latency.value is None
        else "an estimate is one of the median alone"
    )
    return replace(
        record,
        latency_ms=replace(others, p50=latency),
        throughput_per_s=_per_second(latency),
        energy_j=energy,
        energy_above_idle_j=above_idle,
    )


def _estimated(
    file: Path, profile: BoardProfile | None, threads: int
) -> tuple[Number, Number, Number]:
    if profile is None:
        unavailable = Number.unavailable(
            "the emulated board has no board profile to estimate with: name one of its core with "
            "--profile"
        )
        return unavailable, unavailable, unavailable
    made = estimate(file, profile, threads)
    return made.latency_ms, made.energy_j, made.energy_above_idle_j


def _energies(profile: BoardProfile, threads: int, latency: Number) -> dict[str, Number]:
    """Whole board and above idle, with `threads` cores busy at the profile's clock."""
    busy = Number.counted(min(threads, profile.cores) / profile.cores)
    clock_hz = profile.clock_hz
    return {
        "energy_j": energy_j(profile.power, power_w, busy, latency, clock_hz),
        "energy_above_idle_j": energy_j(profile.power, power_above_idle_w, busy, latency, clock_hz),
    }


def _per_second(latency: Number) -> Number:
    if latency.value is None or latency.low is None or latency.high is None:
        return Number.unavailable(latency.reason or "the latency is unavailable")
    if latency.low <= 0:
        return Number.unavailable("the latency's interval begins at 0")
    value, low, high = (1e3 / ms for ms in (latency.value, latency.high, latency.low))
    return Number.estimated(value, low, high, latency.reason)


def _in_float(layer: Layer, model: str) -> bool:
    """Whether a product is made in float32, else in int8 (also of a float image and int8 weights).

    Raises:
        NpuError: it is made in another arithmetic, whose speed nobody has published.
    """
    kernel = layer.kernel or layer.weights
    if kernel is not None and kernel.floating:
        return True
    operands = (*layer.inputs, *(() if kernel is None else (kernel,)))
    wide = [tensor.bits for tensor in operands if not tensor.floating and tensor.bits > _INT8_BITS]
    if wide:
        raise NpuError(
            f"operator {layer.node} of {model} ({layer.operator}) computes with integers of "
            f"{max(wide)} bits, whose speed on these cores nobody has published"
        )
    return False


def _bytes(tensor: Operand) -> int:
    return tensor.elements * tensor.bits // 8


def _lacks(profile: BoardProfile, key: str) -> NpuError:
    return NpuError(f"the board profile {profile.name} has no {key}, which the latency model needs")
