"""The names of power meters, as settings give them: `hwmon`, `csv:FILE`, `serial:DEVICE@BAUD`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgekit_device.errors import UsageError

FORMS = (
    "auto, model, hwmon[:SENSOR], iio[:SENSOR], pmic, rapl, csv:FILE[@SECONDS] or "
    "serial:DEVICE[@BAUD]"
)
"""What a meter may be called, for people."""

_ALONE = ("auto", "model", "pmic", "rapl")
_MAY_NAME = ("hwmon", "iio")
_MUST_NAME = ("csv", "serial")


@dataclass(frozen=True)
class MeterName:
    """A meter's name taken apart; `option` are a file's seconds or a line's baud, None: not given.

    The seconds are added to the times in the file to get those of this machine's clock.
    """

    kind: str
    target: str | None = None
    option: float | None = None


def parse_meter(text: object) -> MeterName:
    """Take a meter's name apart.

    Raises:
        UsageError: it is none.
    """
    if not isinstance(text, str) or not text.isprintable():
        raise _no_meter(text)
    kind, colon, rest = text.partition(":")
    if not colon and kind in (*_ALONE, *_MAY_NAME):
        return MeterName(kind)
    if rest and kind in _MAY_NAME:
        return MeterName(kind, rest)
    if rest and kind in _MUST_NAME:
        return _with_option(kind, rest, text)
    raise _no_meter(text)


def _with_option(kind: str, rest: str, text: str) -> MeterName:
    target, at, option = rest.rpartition("@")
    if not at:
        return MeterName(kind, rest)
    number = _number(option)
    if number is None:
        # An @ may belong to the name of a file.
        return MeterName(kind, rest)
    if not target or (kind == "serial" and (number < 1 or number != int(number))):
        raise _no_meter(text)
    return MeterName(kind, target, number)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _no_meter(text: object) -> UsageError:
    return UsageError(f"meter: must be {FORMS}. Received: {text!r}")
