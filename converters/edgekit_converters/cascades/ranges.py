"""The ranges in which activations are rounded, found before training starts.

TFMOT starts them at -6..6. That of an input only ever widens, so images from 0 to 1 would keep some
21 of 256 steps; the others move by a thousandth per step, and some hundred steps of fine tuning
would end far from the truth.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgekit_converters.errors import TrainingError
from edgekit_converters.train import Training, TrainingData

_DECAY = 0.999
_INPUT = ("quantize_layer_min", "quantize_layer_max")
_INNER = tuple(
    f"{what}_{end}"
    for what in ("output", "post_activation", "pre_activation", "product")
    for end in ("min", "max")
)
"""Variables that hold the ranges, by the names that TFMOT gives them."""
_SETTLING_BATCHES = 8
_BATCHES = 16


def calibrate(model: Any, data: TrainingData, training: Training) -> None:
    """Sets the ranges to what some batches of training samples show; nothing else changes.

    Raises:
        TrainingError: the model computes no numbers.
    """
    x = np.asarray(data.train[0])
    smallest, largest = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    for variable in model.non_trainable_variables:
        if _named(variable) in _INPUT:
            variable.assign(smallest if _named(variable) == _INPUT[0] else largest)
    # A layer that is called n times moves its average n times.
    inner = [
        (variable, _DECAY ** max(len(layer.inbound_nodes), 1))
        for layer in model.layers
        for variable in layer.non_trainable_variables
        if _named(variable) in _INNER
    ]
    # The ranges of kernels are set by every step, and stay.
    others = [
        (variable, variable.numpy())
        for variable in model.variables
        if not _named(variable).endswith(("_min", "_max"))
    ]
    size = min(training.batch_size, len(x))
    order = np.random.default_rng(training.seed).permutation(len(x))
    seen = []
    for batch in range(_BATCHES):
        start = batch * size % (len(x) - size + 1)
        earlier = [variable.numpy() for variable, _ in inner]
        model(x[order[start : start + size]], training=True)
        # One step of a moving average tells what it moved towards.
        shown = [
            (variable.numpy().astype(np.float64) - decay * value) / (1 - decay)
            for (variable, decay), value in zip(inner, earlier, strict=True)
        ]
        for (variable, _), value in zip(inner, shown, strict=True):
            variable.assign(value)
        # Behind a range that clips, those of the first batches are too small.
        if batch >= _SETTLING_BATCHES:
            seen.append(shown)
    for variable, value in others:
        variable.assign(value)
    if not np.isfinite(np.array(seen)).all():
        # The runtime would not refuse such a file, but crash.
        raise TrainingError(
            f"{model.name!r} computes NaN or infinite values from the training data; its weights "
            "are broken or overflow."
        )
    for (variable, _), values in zip(inner, zip(*seen, strict=True), strict=True):
        variable.assign(np.mean(values, axis=0))


def _named(variable: Any) -> str:
    return str(variable.name.rpartition("/")[2].split(":")[0])
