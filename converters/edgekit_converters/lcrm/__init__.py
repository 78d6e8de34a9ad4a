"""LCRM, the layer-wise complexity reduction method (Hussain et al., IEEE Access 2023)."""

from edgekit_converters.lcrm.plan import Decision, plan_lcrm
from edgekit_converters.lcrm.rewrite import apply_lcrm
from edgekit_converters.lcrm.rules import (
    Convolution,
    Depthwise,
    Pointwise,
    Style,
    Substitute,
    lcrm_case,
    substitute,
)

__all__ = [
    "Convolution",
    "Decision",
    "Depthwise",
    "Pointwise",
    "Style",
    "Substitute",
    "apply_lcrm",
    "lcrm_case",
    "plan_lcrm",
    "substitute",
]
