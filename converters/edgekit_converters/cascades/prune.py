"""Magnitude pruning: the smallest weights of each kernel become zero while training goes on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import tf_keras

from edgekit_converters.cascades.allocation import allocate, estimate
from edgekit_converters.cascades.kernels import Choice, Kernel, choose, kernels
from edgekit_converters.cascades.library import tfmot
from edgekit_converters.cascades.tuning import count, outcome, prove_kernel, tune
from edgekit_converters.errors import RewriteError
from edgekit_converters.keras2.bridge import to_tf_keras, weights_back
from edgekit_converters.outcome import Outcome
from edgekit_converters.passes import M_OF_N, Prune
from edgekit_converters.train import Progress, Training, TrainingData

_UPDATES = 20
"""How many times a polynomial schedule raises the sparsity."""


def prune(
    model: Any,
    step: Prune,
    data: TrainingData | None,
    training: Training,
    progress: Progress | None,
) -> Outcome:
    """Prunes a copy of the model and trains what is left; without data it prunes at once.

    Raises:
        RewriteError: nothing to prune, or a pattern that matches no layer.
        ProofError: a kernel has fewer zeros than asked.
    """
    bridged = to_tf_keras(model)
    found = kernels(bridged)
    choice = choose(bridged, step, found)
    if not choice.taken:
        raise nothing_to_do(str(step), "prune", model.name, choice)
    batches = math.ceil(len(data.train[1]) / training.batch_size) if data else 0
    shares = allocate(choice.taken, step, training.energy_costs)
    energy = (
        estimate(choice.taken, shares, training.energy_costs)
        if step.allocation == "energy"
        else None
    )
    schedules = {
        name: _schedule(step, share, batches, training.tuning_epochs)
        for name, share in shares.items()
    }
    wrapped = _wrapped(
        bridged.model, choice, step, {name: found[0] for name, found in schedules.items()}
    )
    trained = tune(
        wrapped,
        model,
        data,
        training,
        progress,
        callbacks=(tfmot.sparsity.keras.UpdatePruningStep(), _Remask()),
        settling_epochs=max(settling for _, settling in schedules.values()),
    )
    if not trained.epochs:
        _prune_at_once(wrapped)
    _drop_signs_of_zeros(wrapped)
    parameters = count(wrapped)
    result = weights_back(bridged, tfmot.sparsity.keras.strip_pruning(wrapped))
    names = {kernel.layer.name for kernel in choice.taken}
    changed = tuple(f"{kernel.path}: {_told(kernel, step)}" for kernel in choice.taken)
    done = outcome(
        model,
        result,
        data,
        trained,
        parameters,
        changed=(*changed, f"all of them: {energy}, zeros skipped") if energy else changed,
        skipped=choice.skipped,
        proof=tuple(
            prove_kernel(
                kernel,
                kernel.values,
                sparsity=(
                    _asked(kernel, step, shares[kernel.layer.name])
                    if kernel.layer.name in names
                    else None
                ),
            )
            for kernel in found
        ),
    )
    return replace(done, energy=energy)


def nothing_to_do(step: str, name: str, model: str, choice: Choice) -> RewriteError:
    """The error of a pass that leaves every layer of a model alone."""
    reasons = "; ".join(f"{path}: {reason}" for path, reason in choice.skipped[:3])
    more = "; …" if len(choice.skipped) > 3 else ""
    return RewriteError(
        f"{step} finds no kernel to {name} in {model!r} "
        f"({reasons + more or 'it has no convolution and no dense layer'}); leave {name} out."
    )


def _schedule(step: Prune, sparsity: float, batches: int, epochs: int) -> tuple[Any, int]:
    """The schedule, and the epochs at whose end the sparsity is not there yet."""
    library = tfmot.sparsity.keras
    settle = batches * epochs // 2
    if step.schedule == "constant" or step.pattern == M_OF_N or settle < 2:
        return library.ConstantSparsity(sparsity, begin_step=1, end_step=1, frequency=1), 0
    updates = min(_UPDATES, settle)
    frequency = settle // updates
    decay = library.PolynomialDecay(
        initial_sparsity=0.0,
        final_sparsity=sparsity,
        begin_step=0,
        end_step=frequency * updates,
        frequency=frequency,
    )
    return decay, math.ceil(frequency * updates / batches) - 1


def _wrapped(model: Any, choice: Choice, step: Prune, schedules: Mapping[str, Any]) -> Any:
    taken = {kernel.layer.name: kernel for kernel in choice.taken}

    def wrap(layer: Any) -> Any:
        kernel = taken.get(layer.name)
        if kernel is None:
            return layer
        if kernel.kind == "DepthwiseConv2D":
            # TFMOT's own table says that this type has nothing to prune.
            layer.get_prunable_weights = lambda: [getattr(layer, kernel.attribute)]
        options: dict[str, Any] = {"pruning_schedule": schedules[layer.name]}
        if step.block:
            options["block_size"] = step.block
        if step.pattern == M_OF_N:
            options["sparsity_m_by_n"] = (2, 4)
        return tfmot.sparsity.keras.prune_low_magnitude(layer, **options)

    return tf_keras.models.clone_model(model, clone_function=wrap)


class _Remask(tf_keras.callbacks.Callback):  # type: ignore[misc]
    """Sets zeros before validation too: the last step of an epoch has moved them."""

    def on_test_begin(self, logs: Any = None) -> None:
        """Multiplies the kernels with their masks."""
        for layer in _pruned(self.model):
            layer.pruning_obj.weight_mask_op()


def _pruned(model: Any) -> list[Any]:
    return [layer for layer in model.layers if hasattr(layer, "pruning_obj")]


def _prune_at_once(model: Any) -> None:
    for layer in _pruned(model):
        # A polynomial schedule ends far behind the first step; the last one is what is wanted.
        schedule = layer.pruning_schedule
        last = schedule.end_step if schedule.end_step > 0 else 1
        layer.pruning_step.assign(last if layer.sparsity_m_by_n is None else 1)
        layer.pruning_obj.conditional_mask_update()
        layer.pruning_obj.weight_mask_op()


def _drop_signs_of_zeros(model: Any) -> None:
    """Makes every -0.0, which a masked negative weight becomes, 0.0: the file compresses better."""
    for layer in _pruned(model):
        for weight, _, _ in layer.pruning_vars:
            weight.assign(np.where(weight.numpy() == 0, 0, weight.numpy()))


def _asked(kernel: Kernel, step: Prune, sparsity: float) -> float:
    """The least sparsity that the pass's pattern gives a kernel of this shape and share."""
    shape = [int(axis) for axis in kernel.values.shape]
    size = math.prod(shape)
    if step.block:
        rows, columns = (
            [min(side, axis - start) for start in range(0, axis, side)]
            for axis, side in zip(shape, step.block, strict=True)
        )
        areas = sorted(row * column for row in rows for column in columns)
        # Blocks at the lower and right ends may be cut, and those may be the zeroed ones.
        return sum(areas[: len(areas) - max(round(len(areas) * (1 - step.sparsity)), 1)]) / size
    if step.pattern == M_OF_N:
        full, rest = divmod(shape[-2], 4)
        return (2 * full + max(rest - 2, 0)) / shape[-2]
    return 1 - max(round(size * (1 - sparsity)), 1) / size


def _told(kernel: Kernel, step: Prune) -> str:
    pattern = "" if step.pattern == "any" else f" as {step.pattern}"
    values = kernel.values
    return f"{(values == 0).sum()} of {values.size} weights are zero{pattern}"
