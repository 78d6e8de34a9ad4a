import hashlib
import json
import platform
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Test modules have no package under --import-mode=importlib: without this, no tflite_file.
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import pytest
from hypothesis import settings

from edgekit_device import Settings

# How long an example takes says more about the machine's other users than about the code.
settings.register_profile("device", deadline=None)
settings.load_profile("device")

# Test modules have no package under --import-mode=importlib: without this, no agent_client.
sys.path.insert(0, str(Path(__file__).parent))

MODELS = Path(__file__).parent / "models"


@pytest.fixture
def quick() -> Callable[..., Settings]:
    """Settings for a run of well under a second; keywords change them."""

    def short(**changes: Any) -> Settings:
        # Whatever meter the machine has would make the run longer.
        defaults = {"runs": 4, "seconds": 0.0, "rounds": 2, "idle_seconds": 0.0, "meter": "model"}
        return Settings(**{**defaults, "sample_interval_s": 0.0, "timeout_s": 60.0, **changes})

    return short


@pytest.fixture
def model(tmp_path: Path) -> Callable[..., Path]:
    """Copy a model with its golden file and manifest, and give the copy's path."""

    def copy(name: str = "conv_float32", *, bare: bool = False) -> Path:
        suffixes = (".tflite",) if bare else (".tflite", ".golden.npz", ".manifest.json")
        for suffix in suffixes:
            shutil.copy(MODELS / f"{name}{suffix}", tmp_path)
        return tmp_path / f"{name}.tflite"

    return copy


@pytest.fixture
def change_golden() -> Callable[..., None]:
    """Change the arrays of a model's golden file, and its hash in the manifest accordingly."""

    def change(model: Path, edit: Callable[[dict[str, np.ndarray]], None]) -> None:
        golden = model.with_suffix(".golden.npz")
        arrays = {name: array.copy() for name, array in np.load(golden).items()}
        edit(arrays)
        np.savez(golden, **arrays)
        manifest = model.with_suffix(".manifest.json")
        data = json.loads(manifest.read_text())
        data["golden"]["sha256"] = hashlib.sha256(golden.read_bytes()).hexdigest()
        manifest.write_text(json.dumps(data))

    return change


@pytest.fixture
def change_manifest() -> Callable[..., None]:
    """Change the manifest beside a model."""

    def change(model: Path, edit: Callable[[dict[str, Any]], None]) -> None:
        manifest = model.with_suffix(".manifest.json")
        data = json.loads(manifest.read_text())
        edit(data)
        manifest.write_text(json.dumps(data))

    return change


@pytest.fixture
def board_text() -> str:
    """A well-formed board profile of this machine's architecture."""
    return f"""
schema = "edgekit.board/1"
name = "bench"
description = "a board for tests"
architecture = "{platform.machine()}"
device_tree_models = ["Test Board"]
cores = 4
clock_hz = 1_000_000_000
memory_bytes = [1_000_000_000]

[cpu]
core = "Cortex-Test"
l2_bytes = 524288

[[power]]
idle_w = 2.0
full_load_w = 6.0
source = "laboratory A"

[[power]]
idle_w = 1.0
full_load_w = 7.0
source = "laboratory B"

[sources]
cores = "data sheet"
clock_hz = "data sheet"
memory_bytes = "data sheet"
"cpu.l2_bytes" = "data sheet"
"""
