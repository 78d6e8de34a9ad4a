"""Bit widths, multiplier and zero skipping: in which arithmetic the NPU works."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import PurePath

from edgekit.errors import NpuError
from edgekit_device.table import Table

_MULTIPLIER = re.compile(r"exact|mitchell|(truncated|drum)\([1-8]\)|table\(.+\)")

EVOAPPROX_POWER_MW = {
    "mul8u_1JFF": 0.391, "mul8u_2P7": 0.386, "mul8u_2AC": 0.311, "mul8u_185Q": 0.206,
    "mul8u_12N4": 0.142, "mul8u_17KS": 0.104, "mul8u_L40": 0.189,
    "mul8s_1KV8": 0.425, "mul8s_1KVB": 0.410, "mul8s_1L2H": 0.301, "mul8s_1L2D": 0.200,
}  # fmt: skip
"""Power of circuits of the EvoApproxLib (MIT), as its tables give it, all at one clock.

mul8u_1JFF and mul8s_1KV8 are the exact unsigned and signed 8-bit multipliers.
"""
_EXACT = {"mul8u": "mul8u_1JFF", "mul8s": "mul8s_1KV8"}


@dataclass(frozen=True)
class Precision:
    """The arithmetic whose cost is asked for.

    Operands wider than these bit widths are narrowed to them. `multiplier` is exact,
    truncated(K), drum(K), mitchell or table(FILE); `multiplier_energy` is its energy relative to
    the exact one, None where the profile or the literature is to say.
    """

    weight_bits: int = 8
    activation_bits: int = 8
    accumulator_bits: int = 32
    multiplier: str = "exact"
    multiplier_energy: float | None = None
    skip_zero_weights: bool = False
    skip_zero_activations: bool = False

    def __post_init__(self) -> None:
        """Refuse what no NPU works in."""
        for name, least, most in (
            ("weight_bits", 1, 32),
            ("activation_bits", 1, 32),
            ("accumulator_bits", 8, 64),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise NpuError(f"{name} is {value!r}; it must be a whole number of {least}–{most}.")
        if not _MULTIPLIER.fullmatch(self.multiplier):
            raise NpuError(
                f"multiplier {self.multiplier!r} is not known; give exact, truncated(K), drum(K), "
                "mitchell or table(FILE), K from 1 to 8."
            )
        energy = self.multiplier_energy
        if energy is not None and not (math.isfinite(energy) and 0 <= energy <= 100):
            raise NpuError(
                f"multiplier_energy is {energy!r}; it is the energy relative to the exact "
                "multiplier, a number from 0 to 100."
            )


def published_energy(multiplier: str) -> float | None:
    """Energy of a multiplier relative to the exact one of its kind, where it is published.

    A table counts as the EvoApproxLib circuit whose name its file bears: at one clock the energy
    of an operation is as the power. None: not published.
    """
    if multiplier == "exact":
        return 1.0
    if not multiplier.startswith("table("):
        return None
    stem = PurePath(multiplier[6:-1]).stem
    power = EVOAPPROX_POWER_MW.get(stem)
    return None if power is None else power / EVOAPPROX_POWER_MW[_EXACT[stem[:5]]]


def read_precision(table: Table | None, known: Precision) -> Precision:
    """Read a profile's [arithmetic] table; what is left out is as `known` has it.

    What bears on the results alone (overflow, noise, seed) is read and checked by the delegate.
    """
    if table is None:
        return known
    if table.has("accumulator_overflow"):
        table.choice("accumulator_overflow", ("saturate", "wrap"))
    if table.has("noise"):
        table.number("noise", 0, 1)
    if table.has("seed"):
        table.whole("seed", 0, 2**63 - 1)

    def whole(key: str, least: int, most: int) -> int:
        return table.whole(key, least, most) if table.has(key) else int(getattr(known, key))

    def flag(key: str) -> bool:
        return table.has(key) and table.flag(key)

    multiplier = table.optional_text("multiplier") or known.multiplier
    if not _MULTIPLIER.fullmatch(multiplier):
        rule = "must be exact, truncated(K), drum(K), mitchell or table(FILE), K from 1 to 8"
        raise table.broken("multiplier", multiplier, rule)
    precision = Precision(
        weight_bits=whole("weight_bits", 2, 32),
        activation_bits=whole("activation_bits", 2, 32),
        accumulator_bits=whole("accumulator_bits", 16, 64),
        multiplier=multiplier,
        skip_zero_weights=flag("skip_zero_weights"),
        skip_zero_activations=flag("skip_zero_activations"),
    )
    table.nothing_left()
    return precision
