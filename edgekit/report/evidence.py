"""What a board's record says about one run, as text: golden check, distribution, machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgekit.report.format import MISSING, bytes_text, digits, milliseconds_text, number_text
from edgekit_device.errors import RecordError
from edgekit_device.number import Number

PERCENTILES = ("min", "p50", "p90", "p99", "max", "mean")

BUSY = 0.10
"""From this share of the machine's CPU on, before the first model, others were at work."""


@dataclass(frozen=True)
class Evidence:
    """One run on one board, in words; an empty text stands for what was not recorded."""

    recipe: str
    error: str
    golden: str
    golden_ok: bool | None
    latencies: tuple[str, ...]
    throughput: str
    cpu: str
    memory: str
    energy: str
    energy_above_idle: str
    load: str
    warmup: str
    rounds: str
    runs: str
    threads: str
    instructions: str
    batch: str = ""


def evidence(item: Mapping[str, Any]) -> Evidence:
    """Read one item of `Comparison.records`; fields that a record lacks are shown as missing."""
    record = item["record"]
    latency = record.get("latency_ms") or {}
    golden = record.get("golden") or {}
    status = golden.get("status")
    cores = _text("", record.get("cpu_cores"))
    share = _number(record.get("cpu_utilisation"))
    whole = f", {share.value:.0%}" if share and share.value is not None else ""
    rate = _text("", record.get("throughput_per_s"))
    batch = record.get("batch")
    batched = isinstance(batch, int) and batch > 1
    return Evidence(
        recipe=str(item["recipe"]),
        error=_error(record),
        golden=_golden(golden),
        golden_ok={"passed": True, "failed": False}.get(str(status)),
        latencies=tuple(_text("latency_ms", latency.get(key)) for key in PERCENTILES),
        throughput=rate if rate == MISSING else f"{rate}{' invokes' if batched else ''}/s",
        cpu=cores if cores == MISSING else f"{cores}{whole}",
        memory=_text("peak_rss_bytes", record.get("peak_rss_bytes")),
        energy=_text("energy_j", record.get("energy_j")),
        energy_above_idle=_text("energy_j", record.get("energy_above_idle_j")),
        load=_text("load_ms", record.get("load_ms")),
        warmup=_times(record.get("warmup_ms")),
        rounds=_times(record.get("round_medians_ms")),
        runs=str(record.get("runs", MISSING)),
        threads=str(record.get("threads", MISSING)),
        instructions=_text("instructions", record.get("instructions")),
        batch=f"per invoke of {batch} samples" if batched else "",
    )


def machines(records: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Machine and runtime of a board's records in one line each, the same only once."""
    return tuple(dict.fromkeys(_machine(item["record"]) for item in records))


def idle(records: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """What the machine did before the first model of each run, the same only once."""
    return tuple(dict.fromkeys(text for item in records if (text := _idle(item["record"]))))


def busy_before(records: Sequence[Mapping[str, Any]]) -> str:
    """A caution where other work kept a board's CPU busy before the run; empty if none did."""
    shares = [_idle_share(item.get("record") or {}) for item in records]
    most = max((share.value or 0.0 for share in shares if share), default=0.0)
    if most <= BUSY:
        return ""
    return (
        f"The machine was busy before the run ({most:.0%} of its CPU): latencies may be too long, "
        "stop the other work and run again."
    )


def _idle_share(record: Mapping[str, Any]) -> Number | None:
    return _number((record.get("idle") or {}).get("cpu_utilisation"))


def _idle(record: Mapping[str, Any]) -> str:
    share = _idle_share(record)
    if share is None or (record.get("machine") or {}).get("emulator"):
        return ""
    if share.value is None:
        return f"CPU in use before the run: not known ({share.reason})"
    seconds = record["idle"].get("seconds")
    span = f" over {digits(seconds)} s" if isinstance(seconds, int | float) else ""
    return f"CPU in use before the run: {share.value:.1%} of all cores{span}"


def _machine(record: Mapping[str, Any]) -> str:
    machine, runtime = record.get("machine") or {}, record.get("runtime") or {}
    memory = machine.get("memory_bytes")
    parts = [
        machine.get("model"),
        machine.get("emulator"),
        machine.get("board") and f"profile {machine['board']}",
        machine.get("architecture"),
        machine.get("cores") and f"{machine['cores']} cores",
        memory and f"{bytes_text(memory)} memory",
        machine.get("os"),
        machine.get("kernel") and f"kernel {machine['kernel']}",
        runtime.get("name") and f"{runtime['name']} {runtime.get('version', '')}".strip(),
    ]
    return ", ".join(str(part) for part in parts if part) or "machine not recorded"


def _error(record: Mapping[str, Any]) -> str:
    error = record.get("error")
    if isinstance(error, Mapping):
        return str(error.get("message") or error.get("kind") or "")
    return str(error) if error else ""


def _golden(golden: Mapping[str, Any]) -> str:
    """ "passed: largest error 2.1e-06 of 0.0001 allowed, 16 samples"."""
    parts = []
    if golden.get("largest_error") is not None:
        allowed = golden.get("tolerance")
        limit = "" if allowed is None else f" of {allowed:.3g} allowed"
        parts.append(f"largest error {golden['largest_error']:.3g}{limit}")
    if golden.get("samples") is not None:
        parts.append(f"{golden['samples']} samples")
    if golden.get("reason"):
        parts.append(str(golden["reason"]))
    status = str(golden.get("status") or "not recorded")
    return f"{status}: {', '.join(parts)}" if parts else status


def _number(data: object) -> Number | None:
    """A Number, or None for what is none: older or partial records are shown, not refused."""
    try:
        return Number.from_json(data)
    except RecordError:
        return None


def _text(column: str, data: object) -> str:
    number = _number(data)
    if number is None:
        return MISSING
    # Under the heading of a record nothing is mixed: counted needs no mark here.
    return number_text(column, number, "" if number.how == "counted" else None)


def _times(values: object) -> str:
    """A few times in ms: all of them, or the first and the last of many."""
    if not isinstance(values, list | tuple) or not values:
        return MISSING
    # A no-break space: no line ends between a value and its unit.
    shown = [
        milliseconds_text(value).replace(" ", "\N{NO-BREAK SPACE}")
        for value in values
        if isinstance(value, int | float)
    ]
    if len(shown) <= 5:
        return " · ".join(shown)
    return f"{shown[0]} … {shown[-1]} ({len(shown)})"
