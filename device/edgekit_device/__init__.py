"""The on-device agent of EdgeKit: runs a TFLite model on this machine and records what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekit_device.errors import EdgeKitDeviceError
    from edgekit_device.number import Number
    from edgekit_device.profile import profile_models
    from edgekit_device.record import Record
    from edgekit_device.settings import Settings
    from edgekit_device.version import __version__

__all__ = [
    "EdgeKitDeviceError",
    "Number",
    "Record",
    "Settings",
    "__version__",
    "profile_models",
]

_HOMES = {
    "EdgeKitDeviceError": "errors",
    "Number": "number",
    "Record": "record",
    "Settings": "settings",
    "__version__": "version",
    "profile_models": "profile",
}


def __getattr__(name: str) -> Any:
    """Import on first use: the worker's memory is measured, and psutil must not be part of it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
