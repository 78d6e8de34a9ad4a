"""An NPU as a place to run on: its profile, and the arithmetic in which it is emulated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from edgekit.npu.precision import Precision
from edgekit.npu.profile import NpuProfile, parse_npu
from edgekit_converters.energy import EnergyCosts
from edgekit_device.arithmetic import Arithmetic, changed
from edgekit_device.npus import npu_data


@dataclass(frozen=True)
class Npu:
    """An NPU to emulate. `named` is its profile's name or file, `settings` what was set by hand."""

    named: str
    profile: NpuProfile
    arithmetic: Arithmetic
    settings: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Its name in tables, such as npu:nepu-v1 or npu:nepu-v1(weight_bits=4)."""
        inside = f"({', '.join(self.settings)})" if self.settings else ""
        return f"npu:{self.profile.name}{inside}"

    @property
    def precision(self) -> Precision:
        """What of the arithmetic bears on cost: the profile's, but for the settings."""
        named = {setting.partition("=")[0].strip() for setting in self.settings}
        costly = named & {field.name for field in fields(Precision)}
        changes = {name: getattr(self.arithmetic, name) for name in costly}
        return replace(self.profile.precision, **changes)

    @property
    def energy_costs(self) -> EnergyCosts:
        """What training weighs where it is energy-aware: products, and weights fetched once."""
        array, profile = self.profile.array, self.profile
        wider = (16 / array.weight_bits) * (16 / array.activation_bits)
        home = profile.shared if profile.keeps_weights and profile.shared else profile.dram
        return EnergyCosts(
            mac_16bit_j=(array.multiply_j + array.add_j) * wider,
            weight_bit_j=home.read_j_per_byte / 8,
        )

    @property
    def key(self) -> dict[str, Any]:
        """What tells this NPU from others: everything its numbers follow from."""
        return {"npu": asdict(self.profile), "arithmetic": asdict(self.arithmetic)}


def load_target(named: str, settings: Sequence[str] = ()) -> Npu:
    """The NPU of a profile's name or file, with settings such as `weight_bits=4`.

    Raises:
        NpuProfileError: there is no such profile, or it breaks a rule of its schema.
        ArithmeticSettingError: a setting that is none, or that cannot be emulated.
    """
    data, file = npu_data(named)
    profile = parse_npu(data, file)
    arithmetic = Arithmetic.from_table(data.get("arithmetic", {}), file)
    return Npu(named, profile, changed(arithmetic, settings), tuple(settings))
