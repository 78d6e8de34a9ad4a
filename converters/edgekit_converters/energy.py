"""What a layer's products and weights cost an NPU, as training weighs them. Needs no TensorFlow."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgekit_converters.errors import TrainingError


@dataclass(frozen=True)
class EnergyCosts:
    """Joules per product of 16-bit operands, and per bit of a weight that is fetched.

    The defaults are published figures: 0.2077 pJ per 16-bit product in Timeloop's Eyeriss-like
    example, scaled with both operands' bits as Timeloop's table does, and 3.9 pJ per bit from HBM2
    (Accelergy's CACTI plug-in). An NPU's own profile has better ones.
    """

    mac_16bit_j: float = 2.077e-13
    weight_bit_j: float = 3.9e-12

    def __post_init__(self) -> None:
        for name in ("mac_16bit_j", "weight_bit_j"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise TrainingError(f"{name} is {value}; give joules, 0 or more.")
        if not self.mac_16bit_j + self.weight_bit_j:
            raise TrainingError("mac_16bit_j and weight_bit_j are both 0; one must cost something.")

    def mac_j(self, weight_bits: float, activation_bits: float) -> float:
        """Joules per product of operands of so many bits: that of 16 bits x (bA/16) x (bW/16)."""
        return self.mac_16bit_j * (activation_bits / 16) * (weight_bits / 16)

    def layer_j(
        self, macs: float, weights: float, weight_bits: float, activation_bits: float
    ) -> float:
        """Joules of one inference of a layer, each of its weights fetched once."""
        products = macs * self.mac_j(weight_bits, activation_bits)
        return products + weights * weight_bits * self.weight_bit_j


@dataclass(frozen=True)
class EnergyEstimate:
    """Estimated joules of one inference before and after a pass, of the layers that it works on."""

    before_j: float
    after_j: float

    def __str__(self) -> str:
        saved = 1 - self.after_j / self.before_j if self.before_j else 0.0
        return (
            f"estimated energy of products and weights {self.before_j:.3g} J -> "
            f"{self.after_j:.3g} J per inference ({-saved:+.1%})"
        )
