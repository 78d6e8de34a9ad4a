"""An NPU as a place to run on: its profile, and the arithmetic in which it is emulated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from edgekit.errors import NpuError
from edgekit.npu.outcome import PLACE
from edgekit.npu.precision import Precision
from edgekit.npu.profile import NpuProfile, parse_npu
from edgekit_converters.energy import EnergyCosts
from edgekit_device.arithmetic import Arithmetic, changed, table_file
from edgekit_device.golden import file_sha256
from edgekit_device.npus import npu_data


@dataclass(frozen=True)
class Npu:
    """An NPU to emulate. `named` is its profile's name or file, `settings` what was set by hand.

    `multiplier_energy` is the multiplier's, relative to the exact one, where it is given.
    """

    named: str
    profile: NpuProfile
    arithmetic: Arithmetic
    settings: tuple[str, ...] = ()
    multiplier_energy: float | None = None

    def __str__(self) -> str:
        """Its name in tables, such as npu:nepu-v1 or npu:nepu-v1(weight_bits=4)."""
        inside = f"({', '.join(self.settings)})" if self.settings else ""
        return f"{PLACE}{self.profile.name}{inside}"

    @property
    def precision(self) -> Precision:
        """What of the arithmetic bears on cost: the profile's, but for the settings."""
        named = {setting.partition("=")[0].strip() for setting in self.settings}
        costly = named & {field.name for field in fields(Precision)}
        changes: dict[str, Any] = {name: getattr(self.arithmetic, name) for name in costly}
        if self.multiplier_energy is not None:
            changes["multiplier_energy"] = self.multiplier_energy
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
        table = table_file(self.arithmetic.multiplier)
        return {
            "npu": asdict(self.profile),
            "arithmetic": asdict(self.arithmetic),
            "precision": asdict(self.precision),
            "table": None if table is None else file_sha256(table),
        }


def load_target(
    named: str, settings: Sequence[str] = (), multiplier_energy: float | None = None
) -> Npu:
    """The NPU of a profile's name or file, with settings such as `weight_bits=4`.

    Raises:
        NpuProfileError: there is no such profile, or it breaks a rule of its schema.
        ArithmeticSettingError: a setting that is none, or that cannot be emulated.
        NpuError: a multiplier whose table is not there, or an energy that is none.
    """
    data, file = npu_data(named)
    profile = parse_npu(data, file)
    arithmetic = Arithmetic.from_table(data.get("arithmetic", {}), file)
    arithmetic = changed(arithmetic, settings)
    npu = Npu(named, profile, arithmetic, tuple(settings), multiplier_energy)
    table = table_file(arithmetic.multiplier)
    if table is not None and not table.is_file():
        raise NpuError(
            f"multiplier {arithmetic.multiplier}: there is no file {table}; make one of a circuit "
            "with: edgekit-agent product-table CIRCUIT.c TABLE"
        )
    # What cannot be costed is refused now, not after the work.
    _ = npu.precision
    return npu
