"""Watts out of texts: what the columns of a file and the values of a line stand for."""

from __future__ import annotations

import math
import re

_NAMES = {
    "W": {"w", "watt", "watts", "power"},
    "V": {"v", "volt", "volts", "voltage"},
    "A": {"a", "amp", "amps", "ampere", "amperes", "current"},
}
_TIMES = {"time", "timestamp", "date", "datetime", "epoch", "t", "ts", "ms", "us", "ns"}
# Both signs for micro: the letter and the one of Latin-1.
_PREFIXES = {"n": 1e-9, "u": 1e-6, "\u00b5": 1e-6, "\u03bc": 1e-6, "m": 1e-3, "k": 1e3}

# Of power, but no watts of it: power factor, apparent and reactive power.
_NO_WATTS = {"factor", "apparent", "reactive", "va", "var"}

_WORD = re.compile(r"[a-z\u00b5\u03bc]+")

# A number, and the word behind it: its unit, or the next number's label (U=5.00 I=0.90).
_VALUE = re.compile(
    r"(?<![\w.])([-+]?\d+\.?\d*(?:[eE][-+]?\d+)?)(?![\d.])(?:\s*([^\W\d_]+|[°%])(\s*[:=])?)?"
)

_COMMA = re.compile(r"\d,\d")


def quantity(name: str) -> tuple[str, float] | None:
    """Say what a column's name stands for ("t", "W", "V" or "A") and what its unit is worth."""
    words = set(_WORD.findall(name.lower()))
    if words & _NO_WATTS:
        return None
    for symbol, known in _NAMES.items():
        scale = _prefix(words, symbol.lower())
        if scale is not None or words & known:
            return symbol, 1.0 if scale is None else scale
    if not words & _TIMES:
        return None
    scale = _prefix(words, "s")
    return "t", 1.0 if scale is None else scale


def line_w(text: str) -> float | None:
    """Give the watts that a line tells: a number of watts, or volts and amperes; None: neither.

    Without units a single number are watts, two are volts and amperes, in this order. Numbers that
    carry a unit go before those that carry none, which count beside no other unit (25 °C). A comma
    in a number with a unit (3,1 W) may be a decimal one or not: such a line is neither.
    """
    by_unit: dict[str, float] = {}
    bare = []
    foreign = False
    for number, word, label in _VALUE.findall(text):
        unit = None if label else _unit(word)
        if unit is not None:
            by_unit[unit[0]] = float(number) * unit[1]
        elif label or not word:
            bare.append(float(number))
        else:
            foreign = True
    if by_unit and not _COMMA.search(text):
        return product_w(by_unit.get("W"), by_unit.get("V"), by_unit.get("A"))
    if by_unit or foreign:
        return None
    if len(bare) == 1:
        return product_w(bare[0], None, None)
    return product_w(None, *bare) if len(bare) == 2 else None


def _unit(word: str) -> tuple[str, float] | None:
    for symbol, known in _NAMES.items():
        scale = _prefix({word}, symbol)
        if scale is not None or word == symbol or word.lower() in known - {symbol.lower()}:
            return symbol, 1.0 if scale is None else scale
    return None


def _prefix(words: set[str], unit: str) -> float | None:
    """Give what a unit with a prefix is worth, if one of the words is one."""
    return next((scale for sign, scale in _PREFIXES.items() if f"{sign}{unit}" in words), None)


def product_w(watts: float | None, volts: float | None, amperes: float | None) -> float | None:
    """Give the watts, or the product of the other two; None where one is missing."""
    if watts is None and volts is not None and amperes is not None:
        watts = volts * amperes
    return watts if watts is not None and math.isfinite(watts) else None


def number(cell: str) -> float | None:
    """Read a cell as a finite number, or give None."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
