"""Quantisation-aware training: int8 rounding in the loop, for every layer that can have it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from edgekit_converters.cascades.bits import learn_bits
from edgekit_converters.cascades.grid import GridKernel, put_on_grid
from edgekit_converters.cascades.npu import prepare_settled, prove_grid, settle
from edgekit_converters.cascades.preserve import HoldKept, Keep
from edgekit_converters.cascades.rounded import (
    QuantizedModel,
    Rounded,
    convertible,
    inside,
    prepare,
    used,
)
from edgekit_converters.cascades.tuning import prove_kernel, tune
from edgekit_converters.energy import EnergyEstimate
from edgekit_converters.errors import RewriteError, TrainingError
from edgekit_converters.outcome import Outcome, count_parameters
from edgekit_converters.passes import Cluster, NpuQat, Pass, Qat
from edgekit_converters.proof import LayerProof, count_values
from edgekit_converters.train import Progress, Training, TrainingData, validation_score


def quantize_aware(
    model: Any,
    step: Qat | NpuQat,
    before: tuple[Pass, ...],
    data: TrainingData | None,
    training: Training,
    progress: Progress | None,
) -> Outcome:
    """Trains a copy of the model with int8 rounding; zeros and clusters of earlier passes stay.

    With `NpuQat` the training has the NPU's grid and the accuracy after it is that on the NPU; the
    model that comes out has plain int8 rounding, its weights on the grid.

    Raises:
        RewriteError: no layer can be quantised, or a pattern that matches no layer.
        TrainingError: no data, or no epoch to train.
        ProofError: a kernel has lost zeros or clusters.
    """
    if data is None or not training.tuning_epochs:
        lacking = "training data (--data)" if data is None else "one --tuning-epochs or more"
        raise TrainingError(
            f"{step} of {model.name!r} needs {lacking}: it learns its rounding. Without training, "
            "int8 needs no more than representative inputs (--calibration)."
        )
    work = convertible(model, step, before, data, training)
    inner = inside(work.rounded)
    held = HoldKept(
        (inner[name][0], kernel.attribute, work.keeps[name])
        for kernel in work.found
        if (name := kernel.layer.name) in work.keeps and not inner[name][1]
    )
    grid: dict[str, GridKernel] = {}
    learned = None
    if isinstance(step, NpuQat):
        grid = put_on_grid(work.rounded, step.weight_bits, step.activation_bits)
        if step.energy_aware:
            learned = learn_bits(
                work.rounded, grid, work.found, step, training.energy_costs,
                epochs=training.tuning_epochs,
                batches=math.ceil(len(data.train[1]) / training.batch_size),
                learning_rate=training.tuning_learning_rate,
            )  # fmt: skip
    trained = tune(
        work.rounded,
        model,
        data,
        training,
        progress,
        callbacks=(held, *([learned.callback] if learned else [])),
        settling_epochs=learned.settling_epochs if learned else 0,
        optimizer=learned.optimizer if learned else None,
    )
    if learned:
        learned.settle(grid)
    after = validation_score(work.rounded, data, like=model)
    proof, final = _proof(work, before), work
    if isinstance(step, NpuQat):
        final = settle(work, model, step, grid)
        proof = prove_grid(final, grid, proof)
    # Where centroids stand for a kernel, no gradient moves the kernel itself.
    replaced = sum(
        int(kernel.values.size)
        for kernel in work.found
        if (keep := work.keeps.get(kernel.layer.name)) and keep.clusters
        if inner[kernel.layer.name][1]
    )
    return Outcome(
        model=QuantizedModel(final.bridged.copy, final.rounded, step, before, work.caution),
        changed=tuple(_changes(work, grid, learned.estimate if learned else None)),
        skipped=work.skipped,
        trained=trained,
        trainable_parameters=count_parameters(work.rounded.trainable_weights) - replaced,
        other_parameters=count_parameters(work.rounded.non_trainable_weights) + replaced,
        accuracy_before=validation_score(model, data),
        accuracy_after=after,
        proof=proof,
        energy=learned.estimate if learned else None,
    )


def rebuild(
    model: Any,
    step: Qat | NpuQat,
    before: tuple[Pass, ...],
    weights: Sequence[Any],
    caution: int,
) -> QuantizedModel:
    """The quantised model from the Keras 3 model before it and the weights it had been left with.

    Raises:
        RewriteError: the weights do not fit.
    """
    # On an NPU's grid the kernels themselves hold what earlier passes made.
    work = (
        prepare_settled(model, step, caution)
        if isinstance(step, NpuQat)
        else prepare(model, step, before, caution)
    )
    try:
        work.rounded.set_weights(list(weights))
    except ValueError as error:
        raise RewriteError(
            f"The weights of {model.name!r} behind {step} do not fit it; carry the pass out again."
        ) from error
    return QuantizedModel(work.bridged.copy, work.rounded, step, before, caution)


def _changes(
    work: Rounded, grid: Mapping[str, GridKernel], energy: EnergyEstimate | None
) -> Iterator[str]:
    bits = {
        kernel.path: grid[kernel.layer.name].bits
        for kernel in work.found
        if kernel.layer.name in grid
    }
    for path, what in work.changed:
        yield f"{path}: {what}" + (f" on a grid of {bits[path]} bits" if path in bits else "")
    if energy:
        yield f"all of them: {energy}"


def _proof(work: Rounded, before: tuple[Pass, ...]) -> tuple[LayerProof, ...]:
    """Zeros and clusters of the kernels as the rounded model uses them, rounding left out."""
    inner = inside(work.rounded)
    clusters = next((step for step in before if isinstance(step, Cluster)), None)
    proofs = []
    for kernel in work.found:
        keep = work.keeps.get(kernel.layer.name, Keep(zeros=False, clusters=False))
        layer, rounding = inner[kernel.layer.name]
        proofs.append(
            prove_kernel(
                kernel,
                used(rounding) if rounding else replace(kernel, layer=layer).values,
                sparsity=count_values(kernel.values)[0] if keep.zeros else None,
                centroids=clusters.centroids if clusters and keep.clusters else None,
                per_channel=bool(clusters and clusters.per_channel and kernel.kind == "Conv2D"),
            )
        )
    return tuple(proofs)
