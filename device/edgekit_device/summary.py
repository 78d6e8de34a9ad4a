"""Records and machines as plain text for a person."""

from __future__ import annotations

from edgekit_device.number import Number
from edgekit_device.profiles import Board
from edgekit_device.record import Golden, Idle, Machine, Record
from edgekit_device.runtime import Installed

# Above this share of the CPU, what ran before the models did is likely to have slowed them down.
_BUSY = 0.10


def record_text(record: Record) -> str:
    """Give a block of lines about one model."""
    size = "" if record.model.bytes is None else f"  ({record.model.bytes:,} bytes)"
    lines = [f"{record.model.file}{size}"]
    threads = f"{record.threads} thread{'s' if record.threads > 1 else ''}"
    lines.append(_line("runtime", f"{record.runtime.name} {record.runtime.version}, {threads}"))
    if record.error is not None:
        return "\n".join([*lines, _line("error", f"({record.error.kind}) {record.error.message}")])
    if record.machine.emulator is not None:
        return "\n".join([*lines, *(_line(name, text) for name, text in _emulated(record))])
    warmup = ", ".join(f"{value:.3f}" for value in record.warmup_ms) or "none"
    latency = record.latency_ms
    tail = [("p90", latency.p90), ("p99", latency.p99), ("max", latency.max)]
    rest = ", ".join(f"{name} {_number(number)}" for name, number in tail)
    rounds = f"{record.settings.rounds} round{'s' if record.settings.rounds > 1 else ''}"
    rows = [
        *_idle(record.idle),
        ("golden check", _golden(record.golden)),
        ("load", _number(record.load_ms, " ms")),
        ("warm-up", f"{warmup} ms"),
        *_batch(record.batch),
        ("latency p50", f"{_number(latency.p50, ' ms')} over {rounds}"),
        ("latency", f"min {_number(latency.min)}, {rest} ms ({record.runs:,} runs)"),
        ("throughput", _throughput(record)),
        ("CPU", f"{_number(record.cpu_cores)} of {record.machine.cores} cores"),
        ("memory peak", _number(record.peak_rss_bytes, " MB", 1e-6)),
        ("  before load", _number(record.baseline_rss_bytes, " MB", 1e-6)),
        ("energy", _number(record.energy_j, " mJ per inference", 1e3)),
    ]
    if record.energy_above_idle_j.value is not None:
        rows.append(("  above idle", _number(record.energy_above_idle_j, " mJ per inference", 1e3)))
    return "\n".join([*lines, *(_line(name, text) for name, text in rows)])


def machine_text(machine: Machine, runtimes: tuple[Installed, ...], board: Board) -> str:
    """Give lines about the machine, its runtimes and its board profile."""
    profile = board.profile
    found = [
        f"{entry.runtime.name} {entry.runtime.version}"
        + ("" if entry.problem is None else f" (unusable: {entry.problem})")
        for entry in runtimes
    ]
    rows = [
        ("machine", f"{machine.model}, {machine.architecture}, {machine.cores} cores"),
        *([] if machine.emulator is None else [("emulated by", machine.emulator)]),
        ("memory", f"{machine.memory_bytes / 1e6:,.0f} MB"),
        ("system", f"{machine.os}, kernel {machine.kernel}"),
        ("CPU frequency", _number(machine.cpu_frequency_hz, " MHz", 1e-6)),
        ("runtimes", "; ".join(found) or "none: pip install 'edgekit-device[litert]'"),
        (
            "board profile",
            f"{profile.name}: {profile.description}" if profile else f"none: {board.reason}",
        ),
    ]
    return "\n".join(_line(name, text) for name, text in rows)


def _emulated(record: Record) -> list[tuple[str, str]]:
    """What an emulated board tells; time and energy where somebody has estimated them."""
    rows = [
        ("emulated by", str(record.machine.emulator)),
        ("golden check", _golden(record.golden)),
        *_batch(record.batch),
        ("instructions", _number(record.instructions, " per inference")),
        ("CPU", f"{_number(record.cpu_cores)} of {record.machine.cores} cores"),
        ("memory peak", _number(record.peak_rss_bytes, " MB", 1e-6)),
        ("  before load", _number(record.baseline_rss_bytes, " MB", 1e-6)),
        ("latency", _number(record.latency_ms.p50, " ms")),
    ]
    energy = record.energy_j
    if energy.value is not None or energy.reason != record.latency_ms.p50.reason:
        return [*rows, ("energy", _number(energy, " mJ per inference", 1e3))]
    return [*rows, ("energy", "unavailable for the same reason")]


def _idle(idle: Idle) -> list[tuple[str, str]]:
    share = idle.cpu_utilisation
    if share.value is None:
        return [("idle before", _number(share))]
    rows = [("idle before", f"CPU {share.value * 100:.0f} % busy")]
    if share.value > _BUSY:
        text = "the machine was busy with something else before the run; close it and profile again"
        rows.append(("caution", text))
    return rows


def _batch(batch: int | None) -> list[tuple[str, str]]:
    if batch is None or batch < 2:
        return []
    text = f"inferences of {batch} samples: latency and energy are those of all {batch}"
    return [("batch", text)]


def _throughput(record: Record) -> str:
    text, rate = _number(record.throughput_per_s, " inferences/s"), record.throughput_per_s.value
    if record.batch is None or record.batch < 2 or rate is None:
        return text
    return f"{text}, {_digits(rate * record.batch)} samples/s"


def _golden(golden: Golden) -> str:
    if golden.status == "absent":
        return f"absent: {golden.reason}"
    return (
        f"{golden.status}: {golden.samples} samples, largest error {golden.largest_error:g}, "
        f"tolerance {golden.tolerance:g}"
    )


def _number(number: Number, unit: str = "", scale: float = 1.0) -> str:
    if number.value is None:
        return f"unavailable: {number.reason}"
    text = f"{_digits(number.value * scale)}{unit}"
    if number.low is not None and number.high is not None:
        text += f" [{_digits(number.low * scale)} to {_digits(number.high * scale)}]"
    return text if number.how == "measured" else f"{text}, {number.how}"


def _digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _line(name: str, text: str) -> str:
    return f"  {name:<15}{text}"
