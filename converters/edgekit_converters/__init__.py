"""Keras in, .tflite out: loading, LCRM, fine-tuning, export. TensorFlow lives here only."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from edgekit_converters.energy import EnergyCosts, EnergyEstimate
from edgekit_converters.errors import (
    ConverterError,
    ExportError,
    ModelLoadError,
    ProofError,
    RecipeError,
    RewriteError,
    TrainingError,
)
from edgekit_converters.passes import (
    Activations,
    Cluster,
    Distill,
    Lcrm,
    LowRank,
    NpuQat,
    Prune,
    Qat,
    Quantize,
)
from edgekit_converters.quiet import quiet
from edgekit_converters.recipe import Recipe, parse_recipe

if TYPE_CHECKING:
    from edgekit_converters.conversion import check_convertible, convert
    from edgekit_converters.export import Exported, export_tflite, note_task
    from edgekit_converters.file_proof import prove_file
    from edgekit_converters.forward import architecture
    from edgekit_converters.graph import check_graph
    from edgekit_converters.inspection import Inspection, inspect_model
    from edgekit_converters.lcrm.applying import scan_model
    from edgekit_converters.lcrm.automatic import Scanned, check_goal, costs_of, limit_of
    from edgekit_converters.lcrm.front import Costs, Point, choose, front
    from edgekit_converters.lcrm.places import Place, place_costs
    from edgekit_converters.lcrm.plan import Decision
    from edgekit_converters.lcrm.rewrite import apply_lcrm
    from edgekit_converters.lcrm.rules import Choice
    from edgekit_converters.lcrm.scan import Scan, Trial
    from edgekit_converters.load import load_model
    from edgekit_converters.objective import (
        Objective,
        Targets,
        classification_objective,
        objective_for,
    )
    from edgekit_converters.outcome import Outcome
    from edgekit_converters.parents import (
        PARENTS,
        alexnet,
        alexnet_small,
        decom_net,
        decom_net_small,
        digits_cnn,
        unet,
        unet_small,
        vgg9,
        vgg9_small,
    )
    from edgekit_converters.stage import (
        fingerprint,
        load_stage,
        run_pass,
        save_model,
        save_stage,
        training_facts,
    )
    from edgekit_converters.tflite import correct, guess, predict, raw_samples, real_outputs
    from edgekit_converters.train import (
        Training,
        TrainingData,
        fine_tune,
        set_seed,
    )

_LAZY = {
    "Choice": "lcrm.rules",
    "Costs": "lcrm.front",
    "Place": "lcrm.places",
    "Point": "lcrm.front",
    "Scan": "lcrm.scan",
    "Scanned": "lcrm.automatic",
    "Trial": "lcrm.scan",
    "choose": "lcrm.front",
    "convert": "conversion",
    "costs_of": "lcrm.automatic",
    "front": "lcrm.front",
    "limit_of": "lcrm.automatic",
    "place_costs": "lcrm.places",
    "scan_model": "lcrm.applying",
    "Decision": "lcrm.plan",
    "Exported": "export",
    "Inspection": "inspection",
    "Objective": "objective",
    "Outcome": "outcome",
    "Targets": "objective",
    "Training": "train",
    "TrainingData": "train",
    "PARENTS": "parents",
    "alexnet": "parents",
    "alexnet_small": "parents",
    "decom_net": "parents",
    "decom_net_small": "parents",
    "digits_cnn": "parents",
    "unet": "parents",
    "unet_small": "parents",
    "vgg9": "parents",
    "vgg9_small": "parents",
    "architecture": "forward",
    "check_goal": "lcrm.automatic",
    "check_graph": "graph",
    "check_convertible": "conversion",
    "classification_objective": "objective",
    "correct": "tflite",
    "guess": "tflite",
    "predict": "tflite",
    "raw_samples": "tflite",
    "real_outputs": "tflite",
    "export_tflite": "export",
    "fingerprint": "stage",
    "fine_tune": "train",
    "inspect_model": "inspection",
    "apply_lcrm": "lcrm.rewrite",
    "load_model": "load",
    "load_stage": "stage",
    "note_task": "export",
    "objective_for": "objective",
    "prove_file": "file_proof",
    "run_pass": "stage",
    "save_model": "stage",
    "save_stage": "stage",
    "set_seed": "train",
    "training_facts": "stage",
}
"""Names whose modules import TensorFlow, which takes seconds: only when they are used."""

__all__ = [
    "PARENTS",
    "Activations",
    "Choice",
    "Cluster",
    "ConverterError",
    "Costs",
    "Decision",
    "Distill",
    "EnergyCosts",
    "EnergyEstimate",
    "ExportError",
    "Exported",
    "Inspection",
    "Lcrm",
    "LowRank",
    "ModelLoadError",
    "NpuQat",
    "Objective",
    "Outcome",
    "Place",
    "Point",
    "ProofError",
    "Prune",
    "Qat",
    "Quantize",
    "Recipe",
    "RecipeError",
    "RewriteError",
    "Scan",
    "Scanned",
    "Targets",
    "Training",
    "TrainingData",
    "TrainingError",
    "Trial",
    "alexnet",
    "alexnet_small",
    "apply_lcrm",
    "architecture",
    "check_convertible",
    "check_goal",
    "check_graph",
    "choose",
    "classification_objective",
    "convert",
    "correct",
    "costs_of",
    "decom_net",
    "decom_net_small",
    "digits_cnn",
    "export_tflite",
    "fine_tune",
    "fingerprint",
    "front",
    "guess",
    "inspect_model",
    "limit_of",
    "load_model",
    "load_stage",
    "note_task",
    "objective_for",
    "parse_recipe",
    "place_costs",
    "predict",
    "prove_file",
    "raw_samples",
    "real_outputs",
    "run_pass",
    "save_model",
    "save_stage",
    "scan_model",
    "set_seed",
    "training_facts",
    "unet",
    "unet_small",
    "vgg9",
    "vgg9_small",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with quiet():  # TensorFlow greets everybody who imports it.
        module = importlib.import_module(f"{__name__}.{_LAZY[name]}")
    return getattr(module, name)
