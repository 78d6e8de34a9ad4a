"""One step of a recipe on a Keras model, and the model as a file between steps."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import keras
import numpy as np

from edgekit_converters.errors import RecipeError
from edgekit_converters.graph import inner_layers
from edgekit_converters.lcrm.plan import Decision
from edgekit_converters.lcrm.rewrite import apply_lcrm
from edgekit_converters.recipe import Lcrm, Pass


def apply_pass(model: Any, step: Pass) -> tuple[Any, tuple[Decision, ...]]:
    """The rewritten copy of the model and what was decided for each convolution.

    Raises:
        RecipeError: a pass that works on the file, not on the model.
        RewriteError: options that do not fit the model.
    """
    if isinstance(step, Lcrm):
        return apply_lcrm(
            model,
            style=step.style,
            where=step.where,
            keep_ends=step.keep_ends,
            weights=step.weights,
        )
    raise RecipeError(f"{step} is done when the file is written; it does not change the model.")


def save_model(model: Any, path: Path) -> None:
    """Writes the model as `.keras`; classes of the user's own are known to Keras from then on.

    So this process can read the file again without being told of them.
    """
    known = keras.saving.get_custom_objects()
    for layer in inner_layers(model):
        cls = type(layer)
        if not cls.__module__.startswith("keras."):
            known.setdefault(keras.saving.get_registered_name(cls), cls)
    model.save(path)


def fingerprint(model: Any) -> str:
    """Content key of a model: its architecture and every weight."""
    digest = hashlib.sha256(model.to_json().encode())
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).data)
    return digest.hexdigest()
