"""What pruning, clustering and quantisation-aware training have in common: short training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tf_keras

from edgekit_converters.cascades.kernels import Kernel
from edgekit_converters.errors import ProofError
from edgekit_converters.objective import objective_for
from edgekit_converters.outcome import Outcome, count_parameters
from edgekit_converters.proof import LayerProof, count_values
from edgekit_converters.train import (
    Progress,
    Trained,
    Training,
    TrainingData,
    fine_tune,
    validation_score,
)


def tune(
    wrapped: Any,
    original: Any,
    data: TrainingData | None,
    training: Training,
    progress: Progress | None,
    *,
    callbacks: Sequence[Any] = (),
    settling_epochs: int = 0,
    optimizer: Any = None,
) -> Trained:
    """Trains a tf_keras model that TFMOT has wrapped; `original` is the Keras 3 model behind it.

    Raises:
        TrainingError: as `fine_tune`.
    """
    if data is None or not training.tuning_epochs:
        return Trained(0, 0, {})
    tf_keras.utils.set_random_seed(training.seed)
    return fine_tune(
        wrapped,
        data.train,
        data.validation,
        objective_for(original, data.targets),
        training.tuning,
        progress,
        library=tf_keras,
        callbacks=callbacks,
        settling_epochs=settling_epochs,
        rate_option="--tuning-learning-rate",
        optimizer=optimizer,
    )


def count(wrapped: Any) -> tuple[int, int]:
    """The trainable and the other parameters of a model as it is trained."""
    return (
        count_parameters(wrapped.trainable_weights),
        count_parameters(wrapped.non_trainable_weights),
    )


def outcome(
    original: Any,
    result: Any,
    data: TrainingData | None,
    trained: Trained,
    parameters: tuple[int, int],
    *,
    changed: tuple[str, ...],
    skipped: tuple[tuple[str, str], ...],
    proof: tuple[LayerProof, ...],
) -> Outcome:
    """What a pass made of the Keras 3 model `original`, both scored where there are data."""
    return Outcome(
        model=result,
        changed=changed,
        skipped=skipped,
        trained=trained,
        trainable_parameters=parameters[0],
        other_parameters=parameters[1],
        accuracy_before=validation_score(original, data) if data else None,
        accuracy_after=validation_score(result, data) if data else None,
        proof=proof,
    )


def prove_kernel(
    kernel: Kernel,
    values: Any,
    *,
    sparsity: float | None = None,
    centroids: int | None = None,
    per_channel: bool = False,
) -> LayerProof:
    """Counts zeros and distinct values after a pass and holds them against what was asked.

    Raises:
        ProofError: fewer zeros or more distinct values than asked, or nothing but zeros.
    """
    got, distinct, most = count_values(kernel.by_channel(values), 0)
    advice = f"Leave the layer out with where='!{kernel.path}', and please report the model."
    # Compared as counts: the shares of few weights round.
    if sparsity is not None and got * values.size < sparsity * values.size - 1e-3:
        raise ProofError(
            f"The layer {kernel.path!r} has {got:.2%} zeros, but {sparsity:.2%} were asked for. "
            f"{advice}"
        )
    counted = most if per_channel else distinct
    if centroids is not None and counted > centroids:
        raise ProofError(
            f"The layer {kernel.path!r} has {counted} distinct values"
            f"{' in one channel' if per_channel else ''}, but {centroids} were asked for. {advice}"
        )
    if got == 1.0 and (sparsity is not None or centroids is not None):
        raise ProofError(f"All weights of the layer {kernel.path!r} have become zero. {advice}")
    return LayerProof(
        layer=kernel.path,
        weights=int(values.size),
        sparsity=got,
        distinct=distinct,
        distinct_per_channel=most,
        sparsity_asked=sparsity,
        distinct_asked=centroids,
        per_channel=per_channel,
    )
