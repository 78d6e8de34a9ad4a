"""NVIDIA's management library: how busy a GPU is, and the joules that it has drawn."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgekit_device.errors import MeterError
from edgekit_device.meters.meter import Polled

_INTERVAL_S = 0.1
WINDOW_S = 1.0
"""NVML's utilisation is that of the last 1/6 s to 1 s, depending on the GPU."""


@dataclass(frozen=True)
class Gpu:
    """A GPU that NVML knows: `busy` gives shares from 0 to 1, `joules` those drawn so far.

    `joules` is a reason where the GPU counts none (those before Volta).
    """

    name: str
    busy: Polled
    joules: Polled | str


def open_gpu(environ: Mapping[str, str]) -> Gpu:
    """The GPU that a process with this environment takes for its first.

    Raises:
        MeterError: NVML, or the package that reads it, is not there, or it knows no such GPU.
    """
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError as error:
        raise MeterError(
            "NVML: the package that reads it is not installed: pip install 'edgekit[gpu]'"
        ) from error
    try:
        nvml.nvmlInit()
        handle = _handle(nvml, environ)
        name = _text(nvml.nvmlDeviceGetName(handle))
        nvml.nvmlDeviceGetUtilizationRates(handle)
    except nvml.NVMLError as error:
        raise MeterError(f"NVML: {error}") from error
    return Gpu(name, _busy(nvml, handle, name), _joules(nvml, handle, name))


def _handle(nvml: Any, environ: Mapping[str, str]) -> Any:
    """CUDA numbers GPUs as NVML does where CUDA_DEVICE_ORDER is PCI_BUS_ID."""
    first = environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    if first.startswith("GPU-"):
        return nvml.nvmlDeviceGetHandleByUUID(first)
    if not first.isdigit():
        raise MeterError(
            f"NVML: CUDA_VISIBLE_DEVICES={environ['CUDA_VISIBLE_DEVICES']!r} begins with no GPU's "
            "number or UUID"
        )
    return nvml.nvmlDeviceGetHandleByIndex(int(first))


def _busy(nvml: Any, handle: Any, name: str) -> Polled:
    def share() -> float:
        try:
            return float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu) / 100
        except nvml.NVMLError as error:
            raise ValueError(str(error)) from error

    return Polled(f"NVML {name}", "the share of time in which it ran a kernel", _INTERVAL_S, share)


def _joules(nvml: Any, handle: Any, name: str) -> Polled | str:
    def joules() -> float:
        try:
            return float(nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) * 1e-3
        except nvml.NVMLError as error:
            raise ValueError(str(error)) from error

    try:
        joules()
    except ValueError as error:
        return f"NVML: {name} counts no joules ({error})"
    return Polled(f"NVML {name}", "the whole GPU board", _INTERVAL_S, joules, counts=True)


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
