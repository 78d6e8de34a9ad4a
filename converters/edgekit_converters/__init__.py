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
from edgekit_converters.quiet import quiet
from edgekit_converters.recipe import Lcrm, Quantize, Recipe, parse_recipe

if TYPE_CHECKING:
    from edgekit_converters.export import Exported, check_input_shapes, export_tflite, note_task
    from edgekit_converters.graph import check_graph
    from edgekit_converters.inspection import Inspection, inspect_model
    from edgekit_converters.lcrm.plan import Decision
    from edgekit_converters.lcrm.rewrite import apply_lcrm
    from edgekit_converters.load import load_model
    from edgekit_converters.parents import alexnet, digits_cnn
    from edgekit_converters.stage import apply_pass, fingerprint, save_model
    from edgekit_converters.tflite import correct
    from edgekit_converters.train import Training, classification_objective, fine_tune, set_seed

_LAZY = {
    "Decision": "lcrm.plan",
    "Exported": "export",
    "Inspection": "inspection",
    "Training": "train",
    "alexnet": "parents",
    "apply_pass": "stage",
    "check_graph": "graph",
    "check_input_shapes": "export",
    "classification_objective": "train",
    "correct": "tflite",
    "digits_cnn": "parents",
    "export_tflite": "export",
    "fingerprint": "stage",
    "fine_tune": "train",
    "inspect_model": "inspection",
    "apply_lcrm": "lcrm.rewrite",
    "load_model": "load",
    "note_task": "export",
    "save_model": "stage",
    "set_seed": "train",
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
    "alexnet",
    "apply_lcrm",
    "apply_pass",
    "check_graph",
    "check_input_shapes",
    "classification_objective",
    "correct",
    "digits_cnn",
    "export_tflite",
    "fine_tune",
    "fingerprint",
    "inspect_model",
    "load_model",
    "note_task",
    "parse_recipe",
    "save_model",
    "set_seed",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with quiet():  # TensorFlow greets everybody who imports it.
        module = importlib.import_module(f"{__name__}.{_LAZY[name]}")
    return getattr(module, name)
