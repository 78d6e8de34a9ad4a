"""Keras in, .tflite out: loading, LCRM, fine-tuning, export. TensorFlow lives here only."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from edgekit_converters.errors import (
    ConverterError,
    ExportError,
    ModelLoadError,
    RecipeError,
    RewriteError,
    TrainingError,
)
from edgekit_converters.recipe import Lcrm, Quantize, Recipe, parse_recipe

if TYPE_CHECKING:
    from edgekit_converters.export import Exported, export_tflite
    from edgekit_converters.inspection import Inspection, inspect_model
    from edgekit_converters.lcrm.plan import Decision
    from edgekit_converters.lcrm.rewrite import apply_lcrm
    from edgekit_converters.load import load_model
    from edgekit_converters.train import Training, fine_tune

_LAZY = {
    "Decision": "lcrm.plan",
    "Exported": "export",
    "Inspection": "inspection",
    "Training": "train",
    "export_tflite": "export",
    "fine_tune": "train",
    "inspect_model": "inspection",
    "apply_lcrm": "lcrm.rewrite",
    "load_model": "load",
}
"""Names whose modules import TensorFlow, which takes seconds: only when they are used."""

__all__ = [
    "ConverterError",
    "Decision",
    "ExportError",
    "Exported",
    "Inspection",
    "Lcrm",
    "ModelLoadError",
    "Quantize",
    "Recipe",
    "RecipeError",
    "RewriteError",
    "Training",
    "TrainingError",
    "apply_lcrm",
    "export_tflite",
    "fine_tune",
    "inspect_model",
    "load_model",
    "parse_recipe",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
