"""Numbers as people read them: three significant digits, a unit, how the number came about."""

from __future__ import annotations

import math

from edgekit_device.number import Number

Steps = tuple[tuple[float, str], ...]
"""Units as (factor, name), from the largest down."""

MISSING = "–"
MARKS: dict[str, str] = {
    "measured": "",
    "counted": "=",
    "estimated": "~",
    "emulated": "†",
    "unavailable": MISSING,
}
LEGEND: dict[str, str] = {
    "counted": "= counted exactly",
    "estimated": "~ estimated, with its interval",
    "emulated": "† emulated, not the board's own",
    "unavailable": "– unavailable, reason in the notes",
}
"""What each mark says, in the order a legend lists them."""

WEIGHED_TOGETHER = (
    "for ★, recipes that differ by pruning and clustering alone are weighed with the fastest of "
    "their latencies"
)


def capital(sentence: str) -> str:
    """The sentence with a capital letter."""
    return sentence[:1].upper() + sentence[1:]


def digits(value: float) -> str:
    """Three significant digits without an exponent: 0.0123, 1.23, 12.3, 123, 1234."""
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    # Rounding first: 9.996 has one digit before the point, its rounded form has two.
    exponent = math.floor(math.log10(abs(float(f"{value:.2e}"))))
    return f"{value:.{min(max(2 - exponent, 0), 12)}f}"


def scaled(value: float, like: float, steps: Steps) -> tuple[str, str]:
    """`value` in the unit that suits `like`: (digits, unit); steps from the largest unit down."""
    # 999.7 ms would round to 1000 ms: the next unit takes over slightly early.
    factor, unit = _step(like, steps, 0.9995)
    return digits(value / factor), unit


def _step(like: float, steps: Steps, early: float) -> tuple[float, str]:
    """The largest unit that `like` reaches, or else the smallest."""
    return next((step for step in steps if abs(like) >= step[0] * early), steps[-1])


_BYTES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))
_COUNT = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_JOULES = ((1e3, "kJ"), (1.0, "J"), (1e-3, "mJ"), (1e-6, "µJ"), (1e-9, "nJ"))


def _decimal(value: float, like: float, steps: Steps) -> tuple[str, str]:
    """As `scaled`, for sizes and counts: 512, 2.83 M, 55.7 kB, 276.9 M."""
    factor, unit = _step(like, steps, 0.99995)
    if factor == 1:
        return f"{value:.0f}", unit
    # A second decimal where one would leave only two digits: 2.83 M, but 276.9 M.
    return f"{value / factor:.{2 if abs(like) < 9.995 * factor else 1}f}", unit


def _accuracy(value: float, like: float) -> tuple[str, str]:
    """A share gets three decimals, a metric such as PSNR in dB three digits."""
    return (f"{value:.3f}" if abs(like) <= 1 else digits(value)), ""


def parts(column: str, value: float, like: float | None = None) -> tuple[str, str]:
    """Digits and unit of `value` in a column of COLUMNS, in the unit that suits `like`."""
    like = value if like is None else like
    if column.endswith("_bytes"):
        return _decimal(value, like, _BYTES)
    if column.endswith("_ms"):
        return scaled(value / 1e3, like / 1e3, _SECONDS)
    if column.endswith("_j"):
        return scaled(value, like, _JOULES)
    if column in ("parameters", "macs", "instructions"):
        return _decimal(value, like, _COUNT)
    if column == "accuracy":
        return _accuracy(value, like)
    return digits(value), ""


def quantity(column: str, value: float) -> str:
    """One value with its unit: 193.6 kB, 276.9 M, 12.3 ms, 4.20 mJ, 0.989."""
    number, unit = parts(column, value)
    return f"{number} {unit}" if unit else number


def bytes_text(value: float) -> str:
    """Bytes, MB = 10^6: 512 B, 193.6 kB, 43.5 MB."""
    return quantity("file_bytes", value)


def count_text(value: float) -> str:
    """A count such as MACs or parameters: 812, 48.4 k, 276.9 M."""
    return quantity("macs", value)


def milliseconds_text(value: float) -> str:
    """A time given in ms: 812 µs, 12.3 ms, 1.23 s."""
    return quantity("latency_ms", value)


def joules_text(value: float) -> str:
    """An energy given in J: 840 µJ, 12.3 mJ, 1.20 J."""
    return quantity("energy_j", value)


def interval_text(column: str, number: Number) -> str:
    """The interval in the unit of the value, without repeating it: 12.1–12.6; empty if none."""
    if number.value is None or number.low is None or number.high is None:
        return ""
    low, high = (parts(column, end, number.value)[0] for end in (number.low, number.high))
    return f"{low}–{high}"


def number_text(column: str, number: Number, mark: str | None = None) -> str:
    """Value, unit and the mark of its kind (or the mark given): "~4.20 mJ", "12.3 ms†", "–"."""
    if number.value is None:
        return MISSING
    mark = MARKS[number.how] if mark is None else mark
    text = quantity(column, number.value)
    return f"{text}{mark}" if mark == MARKS["emulated"] else f"{mark}{text}"


def ratio(number: Number, base: Number) -> float | None:
    """Value over the base's value; None where either is missing or the base is 0."""
    if number.value is None or base.value is None or base.value == 0:
        return None
    return number.value / base.value


def ratio_text(value: float | None) -> str:
    """A ratio to base: 0.38x, 1.00x, 12.4x, 0.004x; empty if there is none."""
    if value is None:
        return ""
    if value == 0 or abs(value) >= 0.01:
        return f"{value:.2f}x" if abs(value) < 10 else f"{digits(value)}x"
    return f"{value:.1g}x" if abs(value) >= 1e-4 else "<0.0001x"


def difference_text(number: Number, base: Number) -> str:
    """Accuracy gained or lost against base, signed: +0.002, −0.013."""
    if number.value is None or base.value is None:
        return ""
    gap = number.value - base.value
    text = _accuracy(abs(gap), base.value)[0]
    if float(text) == 0:
        return f"±{text}"
    return f"{'+' if gap > 0 else '−'}{text}"
