"""Watts out of texts: what the columns of a file and the values of a line stand for."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

_QUANTITIES = {
    "W": {"w", "mw", "watt", "watts", "power"},
    "V": {"v", "mv", "volt", "volts", "voltage"},
    "A": {"a", "ma", "amp", "amps", "ampere", "amperes", "current"},
}
_THOUSANDTHS = {"mw", "mv", "ma", "ms"}
_TIMES = {"time", "timestamp", "date", "datetime", "epoch", "t", "ts", "ms"}

_VALUE = re.compile(r"(?<![\w.])([-+]?\d+\.?\d*(?:[eE][-+]?\d+)?)\s*(m?[WVA])?(?![\w.])")


def quantity(name: str) -> tuple[str, float] | None:
    """Say what a column's name stands for ("t", "W", "V" or "A") and what its unit is worth."""
    words = set(re.split(r"[^a-z]+", name.lower()))
    scale = 1e-3 if words & _THOUSANDTHS else 1.0
    for symbol, known in _QUANTITIES.items():
        if words & known:
            return symbol, scale
    return ("t", scale) if words & _TIMES else None


def line_w(text: str) -> float | None:
    """Give the watts that a line tells: a number of watts, or volts and amperes; None: neither.

    Without units a single number are watts, two are volts and amperes, in this order. Numbers that
    carry a unit go before those that carry none.
    """
    values = [(float(number), unit) for number, unit in _VALUE.findall(text)]
    by_unit = {unit[-1]: value * (1e-3 if unit[0] == "m" else 1) for value, unit in values if unit}
    if by_unit:
        return product_w(by_unit.get("W"), by_unit.get("V"), by_unit.get("A"))
    numbers = [value for value, _ in values]
    if len(numbers) == 1:
        return product_w(numbers[0], None, None)
    return product_w(None, *numbers) if len(numbers) == 2 else None


def product_w(watts: float | None, volts: float | None, amperes: float | None) -> float | None:
    """Give the watts, or the product of the other two; None where one is missing."""
    if watts is None and volts is not None and amperes is not None:
        watts = volts * amperes
    return watts if watts is not None and math.isfinite(watts) else None


def numbers(cells: Sequence[str]) -> list[float | None]:
    """Read cells as numbers; None stands for what is none."""
    return [number(cell) for cell in cells]


def number(cell: str) -> float | None:
    """Read a cell as a finite number, or give None."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
