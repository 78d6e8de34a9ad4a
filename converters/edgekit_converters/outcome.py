"""What one pass did to a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit_converters.energy import EnergyEstimate
from edgekit_converters.lcrm.plan import Decision
from edgekit_converters.proof import LayerProof
from edgekit_converters.train import Trained


@dataclass(frozen=True)
class Outcome:
    """A model after one pass: what the pass changed, left (with the reason), trained and proved.

    `trainable_parameters` and `other_parameters` are those of the model while it was trained, the
    pass's own (masks, centroids, ranges) included. Accuracies are on the validation split, None
    without data. `decisions` are LCRM's, `energy` is that of energy-aware passes, `notes` say what
    an automatic choice was asked for, what was predicted and what came of it.
    """

    model: Any
    changed: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    trained: Trained
    trainable_parameters: int
    other_parameters: int
    accuracy_before: float | None = None
    accuracy_after: float | None = None
    proof: tuple[LayerProof, ...] = ()
    decisions: tuple[Decision, ...] = ()
    energy: EnergyEstimate | None = None
    notes: tuple[str, ...] = ()


def count_parameters(weights: Any) -> int:
    """How many numbers the weights hold."""
    return sum(int(np.prod(weight.shape)) for weight in weights)
