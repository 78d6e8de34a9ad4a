"""Which version of a Keras model to ship on a small ARM board, and what it costs there."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekit.boards import LocalBoard, ProfileSettings, parse_board, profile_on
    from edgekit.comparing import compare
    from edgekit.comparison import Comparison
    from edgekit.data import Dataset, load_data
    from edgekit.errors import EdgeKitError
    from edgekit.exporting import Optimized
    from edgekit.optimization import optimize
    from edgekit.report import write_report

_HOMES = {
    "Comparison": "comparison",
    "Dataset": "data",
    "EdgeKitError": "errors",
    "LocalBoard": "boards",
    "Optimized": "exporting",
    "ProfileSettings": "boards",
    "compare": "comparing",
    "load_data": "data",
    "optimize": "optimization",
    "parse_board": "boards",
    "profile_on": "boards",
    "write_report": "report",
}
"""Imported on first use: `edgekit --help` must answer at once."""

__all__ = [
    "Comparison",
    "Dataset",
    "EdgeKitError",
    "LocalBoard",
    "Optimized",
    "ProfileSettings",
    "compare",
    "load_data",
    "optimize",
    "parse_board",
    "profile_on",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
