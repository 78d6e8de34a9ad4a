"""Under which circumstances a board measured: conditions, power meter, instructions, as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgekit.report.format import MISSING, digits, number_text
from edgekit_device.errors import RecordError
from edgekit_device.number import Number


@dataclass(frozen=True)
class Circumstances:
    """One run's; an empty text stands for what was not recorded."""

    recipe: str
    cores: str
    temperature: str
    clock: str
    governor: str
    throttled: str
    is_throttled: bool
    meter: str
    idle_power: str
    windows: str
    flags: tuple[str, ...]


def circumstances(item: Mapping[str, Any]) -> Circumstances:
    """Read one item of `Comparison.records`; fields that a record lacks are shown as missing."""
    record = item["record"]
    conditions = record.get("conditions") or {}
    moments = conditions.get("moments") or ()
    metered = record.get("metered") or {}
    affinity = record.get("affinity")
    reason = conditions.get("reason")
    state = conditions.get("throttled", "unknown")
    return Circumstances(
        recipe=str(item["recipe"]),
        cores="any" if affinity is None else ", ".join(map(str, affinity)),
        temperature=_range(moments, "temperature_c", 1.0, "°C"),
        clock=_range(moments, "clock_hz", 1e6, "MHz"),
        governor=", ".join(
            dict.fromkeys(moment["governor"] for moment in moments if moment.get("governor"))
        )
        or MISSING,
        throttled=f"{state}: {reason}" if reason else str(state),
        is_throttled=state == "yes",
        meter=f"{metered['meter']}, {metered['scope']}" if metered else MISSING,
        idle_power=_idle_power(metered),
        windows=_windows(metered),
        flags=tuple(metered.get("flags") or ()),
    )


def _range(moments: Sequence[Mapping[str, Any]], key: str, unit: float, name: str) -> str:
    values = [moment[key] / unit for moment in moments if moment.get(key) is not None]
    if not values:
        return MISSING
    low, high = digits(min(values)), digits(max(values))
    return f"{low} {name}" if low == high else f"{low}–{high} {name}"


def _idle_power(metered: Mapping[str, Any]) -> str:
    shown = []
    for key in ("idle_before_w", "idle_after_w"):
        try:
            number = Number.from_json(metered.get(key))
        except RecordError:
            continue
        if number.value is not None:
            shown.append(f"{number_text('', number)} W")
    return " → ".join(shown) or MISSING


def _windows(metered: Mapping[str, Any]) -> str:
    windows = metered.get("windows") or ()
    if not windows:
        return MISSING
    seconds = [window["seconds"] for window in windows]
    powers = [window["mean_w"] for window in windows]
    rate, jitter = metered["sample_rate_hz"], metered["jitter_s"]
    return (
        f"{len(windows)} of {digits(min(seconds))} s or more, {digits(min(powers))}–"
        f"{digits(max(powers))} W, {digits(rate)} readings/s (jitter {digits(1e3 * jitter)} ms)"
    )
