"""From what was measured to the record."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from edgekit_device.agent import agent
from edgekit_device.conditions import Conditions
from edgekit_device.emulated import NO_TIME
from edgekit_device.energy import energy_j, power_above_idle_w, power_w
from edgekit_device.energy_windows import MeterLog, metered_energies
from edgekit_device.latency import latency_ms, median_ms, unavailable_latency
from edgekit_device.number import Number
from edgekit_device.profiles import Board
from edgekit_device.record import Failure, Idle, Machine, Record, Runtime
from edgekit_device.settings import Settings
from edgekit_device.subject import Subject
from edgekit_device.tally import Tally
from edgekit_device.watching import conditions


@dataclass(frozen=True)
class Circumstances:
    """What all models of one session share; `no_meter` says why a meter here was not used."""

    settings: Settings
    machine: Machine
    board: Board
    runtime: Runtime
    idle: Idle
    log: MeterLog | None = None
    no_meter: str | None = None


def record(subject: Subject, around: Circumstances) -> Record:
    """Write down one model's run, or why it failed."""
    failure = subject.failure
    numbers = _numbers(subject, around) if failure is None else _no_numbers(failure)
    emulated = around.machine.emulator is not None
    return Record(
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        agent=agent(),
        machine=around.machine,
        runtime=around.runtime,
        threads=around.settings.threads,
        affinity=around.settings.affinity,
        model=subject.model,
        batch=subject.batch,
        status="ok" if failure is None else "error",
        error=failure,
        golden=subject.golden,
        settings=around.settings.plan,
        idle=around.idle,
        conditions=Conditions("unknown", NO_TIME, ()) if emulated else conditions(subject.glances),
        **numbers,
    )


def _numbers(subject: Subject, around: Circumstances) -> dict[str, Any]:
    if around.machine.emulator is not None:
        return _emulated_numbers(subject, around)
    shares = subject.shares
    rounds = [share.tally for share in shares]
    every = Tally.merged(rounds)
    latency = latency_ms(rounds)
    cores = sum(share.cpu_ns for share in shares) / sum(share.wall_ns for share in shares)
    own_utilisation = Number.measured(min(cores / around.machine.cores, 1.0))
    machine_utilisation = subject.busy.utilisation("give --seconds more")
    return {
        "load_ms": Number.measured(subject.load_ms),
        "warmup_ms": tuple(subject.warmup_ms),
        "runs": every.runs,
        "latency_ms": latency,
        "throughput_per_s": Number.measured(every.runs / every.total_ns * 1e9),
        "cpu_utilisation": own_utilisation,
        "cpu_cores": Number.measured(cores),
        "machine_cpu_utilisation": machine_utilisation,
        "peak_rss_bytes": Number.measured(max(share.peak_rss_bytes for share in shares)),
        "baseline_rss_bytes": Number.measured(subject.baseline_rss_bytes),
        **_energies(subject, around, machine_utilisation, own_utilisation, latency.p50),
        "instructions": Number.unavailable("they are counted on an emulated board (qemu:pi4)"),
        "samples": tuple(subject.samples),
        "round_medians_ms": tuple(median_ms(tally) for tally in rounds),
    }


def _emulated_numbers(subject: Subject, around: Circumstances) -> dict[str, Any]:
    """What holds where the clock counts instructions: shares of it, memory, and the count."""
    shares = subject.shares
    every = Tally.merged([share.tally for share in shares])
    cores = sum(share.cpu_ns for share in shares) / sum(share.wall_ns for share in shares)
    # One thread: beside so few runs, reading the clocks would look like a part of a second core.
    cores = min(cores, 1.0)
    no_time = Number.unavailable(NO_TIME)
    return {
        "load_ms": no_time,
        "warmup_ms": (),
        "runs": every.runs,
        "latency_ms": unavailable_latency(NO_TIME),
        "throughput_per_s": no_time,
        "cpu_utilisation": Number.emulated(cores / around.machine.cores),
        "cpu_cores": Number.emulated(cores),
        "machine_cpu_utilisation": Number.unavailable(
            "the few runs on an emulated board are too short to tell"
        ),
        "peak_rss_bytes": Number.emulated(max(share.peak_rss_bytes for share in shares)),
        "baseline_rss_bytes": Number.emulated(subject.baseline_rss_bytes),
        "energy_j": no_time,
        "energy_above_idle_j": no_time,
        "metered": None,
        # One instruction is a nanosecond of that clock, on whichever core. The least of the runs:
        # what else the board does meanwhile, such as a tick of its timer, only adds.
        "instructions": Number.emulated(every.values_ns[0]),
        "samples": (),
        "round_medians_ms": (),
    }


def _energies(
    subject: Subject,
    around: Circumstances,
    machine: Number,
    own: Number,
    p50_ms: Number,
) -> dict[str, Any]:
    if around.log is not None:
        return vars(metered_energies(around.log, subject.stretches()))
    board = around.board
    if board.profile is None:
        reasons = (board.reason or "there is no board profile", around.no_meter)
        unavailable = Number.unavailable("; ".join(filter(None, reasons)))
        return {"energy_j": unavailable, "energy_above_idle_j": unavailable, "metered": None}
    powers, clock_hz = board.profile.power, subject.clock_hz()
    energies = {
        "energy_j": energy_j(powers, power_w, machine, p50_ms, clock_hz),
        "energy_above_idle_j": energy_j(powers, power_above_idle_w, own, p50_ms, clock_hz),
    }
    for note in filter(None, (board.note, around.no_meter)):
        energies = {
            name: replace(number, reason=f"{number.reason}; {note}")
            for name, number in energies.items()
        }
    return {**energies, "metered": None}


def _no_numbers(failure: Failure) -> dict[str, Any]:
    reason = f"the run ended in an error ({failure.kind})"
    unavailable = Number.unavailable(reason)
    names = (
        "load_ms",
        "throughput_per_s",
        "cpu_utilisation",
        "cpu_cores",
        "machine_cpu_utilisation",
        "peak_rss_bytes",
        "baseline_rss_bytes",
        "energy_j",
        "energy_above_idle_j",
        "instructions",
    )
    return {
        **dict.fromkeys(names, unavailable),
        "latency_ms": unavailable_latency(reason),
        "metered": None,
        "warmup_ms": (),
        "runs": 0,
        "samples": (),
        "round_medians_ms": (),
    }
