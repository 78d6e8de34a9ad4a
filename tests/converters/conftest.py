"""Quiet TensorFlow, and small models by name for the tests of the converters."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Test modules have no package under --import-mode=importlib: without this, no converter_models.
sys.path.insert(0, str(Path(__file__).parent))

import hypothesis
import pytest

hypothesis.settings.register_profile("converters", deadline=None)  # the machine may be busy
hypothesis.settings.load_profile("converters")


@pytest.fixture(scope="module", autouse=True)
def _fresh_keras() -> Iterator[None]:
    """Keras keeps every graph until told otherwise; layer names start anew in each module."""
    import keras

    keras.backend.clear_session()
    yield
    keras.backend.clear_session()
    gc.collect()
