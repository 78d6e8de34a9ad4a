from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

# Test modules have no package under --import-mode=importlib: without this, no tflite_files.
sys.path.insert(0, str(Path(__file__).parent))

import pytest
from hypothesis import settings

from edgekit.npu.profile import NpuProfile, load_npu

# How long an example takes says more about the machine's other users than about the code.
settings.register_profile("npu", deadline=None)
settings.load_profile("npu")


@pytest.fixture(scope="session")
def nepu() -> NpuProfile:
    return load_npu("nepu-v1")


@pytest.fixture(scope="session")
def changed(nepu: NpuProfile) -> Callable[..., NpuProfile]:
    """nepu-v1 with other values; those of the array by names such as array__rows."""

    def change(**values: Any) -> NpuProfile:
        inner: dict[str, dict[str, Any]] = {}
        for name in [name for name in values if "__" in name]:
            table, key = name.split("__")
            inner.setdefault(table, {})[key] = values.pop(name)
        tables = {table: replace(getattr(nepu, table), **keys) for table, keys in inner.items()}
        return replace(nepu, **values, **tables)

    return change
