"""Records and machines as plain text for a person."""

from __future__ import annotations

from edgekit_device.conditions import Conditions, Moment
from edgekit_device.metered import Metered
from edgekit_device.number import Number
from edgekit_device.profiles import Board
from edgekit_device.record import Golden, Idle, Machine, Record
from edgekit_device.runtime import Installed
from edgekit_device.watching import conditions_text

# Above this share of the CPU, what ran before the models did is likely to have slowed them down.
_BUSY = 0.10


def record_text(record: Record) -> str:
    """Give a block of lines about one model."""
    size = "" if record.model.bytes is None else f"  ({record.model.bytes:,} bytes)"
    lines = [f"{record.model.file}{size}"]
    threads = f"{record.threads} thread{'s' if record.threads > 1 else ''}"
    cores = "" if record.affinity is None else f" on cores {', '.join(map(str, record.affinity))}"
    runtime = f"{record.runtime.name} {record.runtime.version}, {threads}{cores}"
    lines.append(_line("runtime", runtime))
    if record.error is not None:
        return "\n".join([*lines, _line("error", f"({record.error.kind}) {record.error.message}")])
    if record.machine.emulator is not None:
        return "\n".join([*lines, *(_line(name, text) for name, text in _emulated(record))])
    warmup = ", ".join(f"{value:.3f}" for value in record.warmup_ms) or "none"
    rows = [
        *_idle(record.idle),
        *_conditions(record.conditions),
        ("golden check", _golden(record.golden)),
        ("load", _number(record.load_ms, " ms")),
        ("warm-up", f"{warmup} ms"),
        *_batch(record.batch),
        *_latency(record),
        ("throughput", _throughput(record)),
        ("CPU", f"{_number(record.cpu_cores)} of {record.machine.cores} cores"),
        ("memory peak", _number(record.peak_rss_bytes, " MB", 1e-6)),
        ("  before load", _number(record.baseline_rss_bytes, " MB", 1e-6)),
        ("energy", _number(record.energy_j, " mJ per inference", 1e3)),
    ]
    if record.energy_above_idle_j.value is not None:
        rows.append(("  above idle", _number(record.energy_above_idle_j, " mJ per inference", 1e3)))
    if record.metered is not None:
        rows += _metered(record.metered)
    return "\n".join([*lines, *(_line(name, text) for name, text in rows)])


def _rounds(record: Record) -> str:
    rounds = record.settings.rounds
    if len(record.round_medians_ms) > rounds:
        return f"{record.settings.seconds:g} s without a pause"
    return f"{rounds} round{'s' if rounds > 1 else ''}"


def _conditions(conditions: Conditions) -> list[tuple[str, str]]:
    moments = conditions.moments
    if not moments:
        return []
    rows = []
    hottest = max((m.temperature_c for m in moments if m.temperature_c is not None), default=None)
    if hottest is not None or moments[0].throttled is not None:
        last = conditions_text(moments[-1])
        most = "" if hottest is None else f"; at most {hottest:.1f} °C"
        rows.append(("conditions", f"{conditions_text(moments[0])}; at the end {last}{most}"))
    if conditions.throttled == "yes":
        text = f"the clock was held down ({conditions.reason}): these are numbers of a slower board"
        rows.append(("caution", text))
    return rows


def _metered(metered: Metered) -> list[tuple[str, str]]:
    rate = f"{metered.sample_rate_hz:.3g} readings/s, jitter {metered.jitter_s * 1e3:.2g} ms"
    idle = ", ".join(
        f"{when} {_number(number, ' W')}"
        for when, number in (("before", metered.idle_before_w), ("after", metered.idle_after_w))
    )
    rows = [("meter", f"{metered.meter}, {rate}"), ("  sees", metered.scope), ("  idle", idle)]
    powers = ", ".join(_digits(window.mean_w) for window in metered.windows) or "none"
    rows.append(("  windows", f"{powers} W"))
    return rows + [("  caution", flag) for flag in metered.flags]


def machine_text(
    machine: Machine,
    runtimes: tuple[Installed, ...],
    board: Board,
    now: Moment,
    meters: tuple[str, ...],
) -> str:
    """Give lines about the machine, its runtimes, board profile, conditions and meters."""
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
        *([] if board.note is None else [("  note", board.note)]),
        ("conditions", conditions_text(now)),
        *[("power meter", text) for text in meters or ("none",)],
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
        ("latency p50", _number(record.latency_ms.p50, " ms")),
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


def _latency(record: Record) -> list[tuple[str, str]]:
    latency = record.latency_ms
    tail = [("p90", latency.p90), ("p99", latency.p99), ("max", latency.max)]
    rest = ", ".join(f"{name} {_number(number)}" for name, number in tail)
    return [
        ("latency p50", f"{_number(latency.p50, ' ms')} over {_rounds(record)}"),
        ("latency", f"min {_number(latency.min)}, {rest} ms ({record.runs:,} runs)"),
    ]


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
