"""Which TFLite runtimes this environment has, which one to take, and how to import it."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from edgekit_device.errors import RuntimeMissingError
from edgekit_device.record import Runtime

# In the order "auto" prefers them: litert loads files that tflite-runtime refuses.
_MODULES = {
    "litert": ("ai_edge_litert", "ai-edge-litert"),
    "tflite-runtime": ("tflite_runtime", "tflite-runtime"),
}


@dataclass(frozen=True)
class Installed:
    """A runtime in this environment; `problem` says why it cannot be used, if it cannot."""

    runtime: Runtime
    problem: str | None


def installed() -> tuple[Installed, ...]:
    """Find the runtimes of this environment without importing them."""
    found = []
    for name, (module, distribution) in _MODULES.items():
        if importlib.util.find_spec(module) is not None:
            runtime = Runtime(name, _version(distribution) or "unknown")
            found.append(Installed(runtime, unusable(name, _version("numpy") or "")))
    return tuple(found)


def unusable(name: str, numpy_version: str) -> str | None:
    """Say why the runtime cannot work beside this numpy, or None if it can.

    tflite-runtime's metadata allows numpy 2; it then imports and dies at the first interpreter.
    """
    if name == "tflite-runtime" and numpy_version.split(".")[0] not in ("0", "1"):
        return (
            f"tflite-runtime needs numpy < 2, but numpy {numpy_version} is installed here: "
            "pip install 'numpy<2', or use the other runtime: pip install 'edgekit-device[litert]'"
        )
    return None


def choose(name: str, found: tuple[Installed, ...]) -> Runtime:
    """Pick the runtime called `name`, or with "auto" the first one that can be used.

    Raises:
        RuntimeMissingError: it is not installed, or cannot work beside this numpy.
    """
    candidates = [entry for entry in found if name in ("auto", entry.runtime.name)]
    for entry in candidates:
        if entry.problem is None:
            return entry.runtime
    if candidates and candidates[0].problem is not None:
        raise RuntimeMissingError(candidates[0].problem)
    extra = "litert" if name == "auto" else name
    limits = " (Python 3.11 or older)" if extra == "tflite-runtime" else ""
    others = ", ".join(entry.runtime.name for entry in found) or "none"
    what = "no TFLite runtime is" if name == "auto" else f"the runtime {name!r} is not"
    raise RuntimeMissingError(
        f"{what} installed in the agent's environment (found: {others}): "
        f"pip install 'edgekit-device[{extra}]'{limits}"
    )


def import_interpreter(name: str) -> Any:
    """Import the runtime called `name` and give its `Interpreter` class."""
    module, _ = _MODULES[name]
    return importlib.import_module(f"{module}.interpreter").Interpreter


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
