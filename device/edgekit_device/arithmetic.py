"""The arithmetic that the NEPU delegate computes in, as a value."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from edgekit_device.errors import ArithmeticSettingError

Overflow = Literal["saturate", "wrap"]

_MULTIPLIER = re.compile(r"exact|mitchell|truncated\((\d{1,2})\)|drum\((\d)\)|table\((.+)\)")
MULTIPLIERS = "exact, truncated(0 to 14), drum(2 to 8), mitchell or table(FILE)"
"""Those that the delegate knows, in words."""
_BITS = {"weight_bits": (2, 8), "activation_bits": (2, 8), "accumulator_bits": (16, 32)}


@dataclass(frozen=True)
class Arithmetic:
    """How the device multiplies and adds int8 operands; the defaults are exact int8.

    weight_bits, activation_bits: an operand of b bits is its int8 code with the 8 - b low bits
        rounded half up and dropped.
    accumulator_bits, accumulator_overflow: every sum is brought back into the accumulator's range
        after every product, by clamping or by wrapping.
    multiplier: "exact"; "truncated(k)", the exact product of the magnitudes without its k low
        bits; "drum(k)" (Hashemi et al., ICCAD 2015); "mitchell" (Mitchell 1962); "table(FILE)",
        256 x 256 products as `edgekit-agent product-table` writes them.
    noise: standard deviation of one product, relative to the largest product, 2^14; products are
        independent, so a sum of n has noise * 2^14 * sqrt(n).
    seed: of the noise.
    skip_zero_weights, skip_zero_activations: products with such an operand are skipped and counted.
    """

    weight_bits: int = 8
    activation_bits: int = 8
    accumulator_bits: int = 32
    accumulator_overflow: Overflow = "saturate"
    multiplier: str = "exact"
    noise: float = 0.0
    seed: int = 0
    skip_zero_weights: bool = False
    skip_zero_activations: bool = False

    def __post_init__(self) -> None:
        """Raise ArithmeticSettingError for a value that the device cannot have."""
        for name, (least, most) in _BITS.items():
            _whole(name, getattr(self, name), least, most)
        _whole("seed", self.seed, 0, 2**64 - 1)
        if self.accumulator_overflow not in get_args(Overflow):
            raise _broken("accumulator_overflow", self.accumulator_overflow, "saturate or wrap")
        noise = self.noise
        plain = isinstance(noise, int | float) and not isinstance(noise, bool)
        if not plain or not math.isfinite(noise) or not 0 <= noise <= 1:
            raise _broken("noise", noise, "a number from 0 to 1")
        for name in ("skip_zero_weights", "skip_zero_activations"):
            if not isinstance(getattr(self, name), bool):
                raise _broken(name, getattr(self, name), "true or false")
        if not known_multiplier(self.multiplier):
            raise _broken("multiplier", self.multiplier, MULTIPLIERS)

    @property
    def exact(self) -> bool:
        """Whether results are those of exact int8 arithmetic; zero skipping changes none."""
        default = Arithmetic(
            skip_zero_weights=self.skip_zero_weights,
            skip_zero_activations=self.skip_zero_activations,
            seed=self.seed,
        )
        return self == default

    def options(self) -> dict[str, str]:
        """Give the delegate's options."""
        return {field.name: str(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_table(cls, table: Mapping[str, Any], source: str) -> Arithmetic:
        """Read the `[arithmetic]` table of an NPU profile; `source` is named in errors.

        Raises:
            ArithmeticSettingError: an unknown key, or a value that the device cannot have.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(table) - known)
        if unknown:
            raise ArithmeticSettingError(
                f"{source}: arithmetic.{unknown[0]} is not a key of this schema; "
                f"known are {', '.join(sorted(known))}"
            )
        try:
            return cls(**table)
        except ArithmeticSettingError as error:
            raise ArithmeticSettingError(f"{source}: {error}") from error


_KINDS = get_type_hints(Arithmetic)


def changed(arithmetic: Arithmetic, settings: Sequence[str]) -> Arithmetic:
    """Change it by settings such as `weight_bits=4`; what `settings_of` gives changes all of it.

    Raises:
        ArithmeticSettingError: no such setting, or a value that the device cannot have.
    """
    return replace(arithmetic, **dict(map(_setting, settings)))


def settings_of(arithmetic: Arithmetic) -> tuple[str, ...]:
    """Give every setting as text that `changed` reads."""
    return tuple(f"{name}={value}" for name, value in arithmetic.options().items())


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals or name not in _KINDS:
        raise ArithmeticSettingError(
            f"arithmetic {text!r} is no setting: give NAME=VALUE with a name of "
            f"{', '.join(_KINDS)}, such as weight_bits=4 or multiplier=drum(4)"
        )
    kind = _KINDS[name]
    if kind is bool and value.lower() in ("true", "false"):
        return name, value.lower() == "true"
    try:
        return name, kind(value) if kind in (int, float) else value
    except ValueError as error:
        wanted = "a whole number" if kind is int else "a number"
        raise ArithmeticSettingError(
            f"arithmetic.{name} must be {wanted}. Received: {value!r}"
        ) from error


def known_multiplier(name: object) -> bool:
    """Say whether the delegate knows a multiplier of that name."""
    match = _MULTIPLIER.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        return False
    truncated, drum, _ = match.groups()
    if truncated is not None:
        return int(truncated) <= 14
    return drum is None or 2 <= int(drum) <= 8


def table_file(multiplier: str) -> Path | None:
    """Give the file of a multiplier that is a table of products."""
    return Path(multiplier[6:-1]) if multiplier.startswith("table(") else None


def _whole(name: str, value: object, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise _broken(name, value, f"a whole number from {least} to {most}")


def _broken(name: str, value: object, rule: str) -> ArithmeticSettingError:
    return ArithmeticSettingError(f"arithmetic.{name} must be {rule}. Received: {value!r}")
