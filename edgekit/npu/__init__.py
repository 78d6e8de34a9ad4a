"""What a model costs on an NPU: cycles, traffic and energy, from its layers or from events."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekit.npu.estimating import Estimate, Events, LayerEstimate, NotEstimated, estimate
    from edgekit.npu.files import estimate_json, write_estimate
    from edgekit.npu.precision import Precision
    from edgekit.npu.profile import NpuProfile, load_npu
    from edgekit.npu.workload import Workload, read_workload

_HOMES = {
    "Estimate": "estimating",
    "Events": "estimating",
    "LayerEstimate": "estimating",
    "NotEstimated": "estimating",
    "NpuProfile": "profile",
    "Precision": "precision",
    "Workload": "workload",
    "estimate": "estimating",
    "estimate_json": "files",
    "load_npu": "profile",
    "read_workload": "workload",
    "write_estimate": "files",
}
"""Imported on first use: a profile is read without NumPy or what draws."""

__all__ = [
    "Estimate",
    "Events",
    "LayerEstimate",
    "NotEstimated",
    "NpuProfile",
    "Precision",
    "Workload",
    "estimate",
    "estimate_json",
    "load_npu",
    "read_workload",
    "write_estimate",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
