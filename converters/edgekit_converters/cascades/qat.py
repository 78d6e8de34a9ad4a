"""Quantisation-aware training: int8 rounding in the loop, for every layer that can have it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from edgekit_converters.cascades.kernels import Kernel, choose, kernels, sparse
from edgekit_converters.cascades.library import configs_8bit, registry_8bit, tfmot
from edgekit_converters.cascades.normalisation import FixedNormalisation, can_fix, fixed
from edgekit_converters.cascades.preserve import HoldKept, Keep, KeepingScheme, kept
from edgekit_converters.cascades.ranges import calibrate
from edgekit_converters.cascades.tuning import prove_kernel, tune
from edgekit_converters.conversion import convert
from edgekit_converters.errors import ExportError, RewriteError, TrainingError
from edgekit_converters.golden import make_golden
from edgekit_converters.graph import read_graph
from edgekit_converters.keras2.bridge import Bridged, Carried, to_tf_keras
from edgekit_converters.outcome import Outcome, count_parameters
from edgekit_converters.passes import Cluster, Pass, Qat, Quantize
from edgekit_converters.proof import LayerProof, count_values
from edgekit_converters.train import Progress, Training, TrainingData, validation_accuracy
from edgekit_converters.where import check_where, selected

_MOST_CAUTION = 2
_TRIAL_SAMPLES = 4
_SAME_SCALE = (
    "Concatenate", "Flip", "GetItem", "Max", "Maximum", "Min", "Minimum", "Pad", "Repeat",
    "Reshape", "Resizing", "Split", "Squeeze", "Stack", "Take", "Transpose",
)  # fmt: skip
"""Operations that only move values: TFLite wants their output in the input's own scale."""
_ACTIVATIONS = ("gelu", "linear", "relu", "relu6", "sigmoid", "softmax", "swish", "tanh")


@dataclass(frozen=True)
class QuantizedModel:
    """A model with int8 rounding in it: only a .tflite file can be made of it.

    `keras` is the Keras 3 model before the rounding, `trained` the tf_keras model with it.
    `before` are the passes that led to `keras`, `caution` says how much was left float so that the
    converter and the runtime take the file: 0 as little as can be, 1 the outputs of layers that
    TFMOT does not know as well, 2 layers that are called more than once as well.
    """

    keras: Any
    trained: Any
    step: Qat
    before: tuple[Pass, ...]
    caution: int = 0

    @property
    def name(self) -> str:
        """The model's name."""
        return str(self.keras.name)


def quantize_aware(
    model: Any,
    step: Qat,
    before: tuple[Pass, ...],
    data: TrainingData | None,
    training: Training,
    progress: Progress | None,
) -> Outcome:
    """Trains a copy of the model with int8 rounding; zeros and clusters of earlier passes stay.

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
    work = _convertible(model, step, before, data, training)
    inner = _inner(work.rounded)
    held = HoldKept(
        (inner[name][0], kernel.attribute, work.keeps[name])
        for kernel in work.found
        if (name := kernel.layer.name) in work.keeps and not inner[name][1]
    )
    trained = tune(work.rounded, model, data, training, progress, callbacks=(held,))
    result = QuantizedModel(work.bridged.copy, work.rounded, step, before, work.caution)
    # Where centroids stand for a kernel, no gradient moves the kernel itself.
    replaced = sum(
        int(kernel.values.size)
        for kernel in work.found
        if (keep := work.keeps.get(kernel.layer.name)) and keep.clusters
        if inner[kernel.layer.name][1]
    )
    return Outcome(
        model=result,
        changed=tuple(f"{path}: {what}" for path, what in work.changed),
        skipped=work.skipped,
        trained=trained,
        trainable_parameters=count_parameters(work.rounded.trainable_weights) - replaced,
        other_parameters=count_parameters(work.rounded.non_trainable_weights) + replaced,
        accuracy_before=validation_accuracy(model, data),
        accuracy_after=validation_accuracy(work.rounded, data, like=model),
        proof=_proof(work, before),
    )


def rebuild(
    model: Any,
    step: Qat,
    before: tuple[Pass, ...],
    weights: Sequence[Any],
    caution: int,
) -> QuantizedModel:
    """The quantised model from the Keras 3 model before it and the weights it had been left with.

    Raises:
        RewriteError: the weights do not fit.
    """
    work = _prepare(model, step, before, caution)
    try:
        work.rounded.set_weights(list(weights))
    except ValueError as error:
        raise RewriteError(
            f"The weights of {model.name!r} behind {step} do not fit it; carry the pass out again."
        ) from error
    return QuantizedModel(work.bridged.copy, work.rounded, step, before, caution)


@dataclass(frozen=True)
class _Work:
    bridged: Bridged
    rounded: Any
    changed: tuple[tuple[str, str], ...]
    skipped: tuple[tuple[str, str], ...]
    keeps: dict[str, Keep]
    found: tuple[Kernel, ...]
    caution: int
    common: bool


def _convertible(
    model: Any, step: Qat, before: tuple[Pass, ...], data: TrainingData, training: Training
) -> _Work:
    """A rounded model that the converter and the runtime take, tried before training starts.

    One of layers that TFMOT knows all of needs no trial.
    """
    caution = 0
    while True:
        work = _prepare(model, step, before, caution)
        calibrate(work.rounded, data, training)
        if work.common:
            return work
        trial = QuantizedModel(work.bridged.copy, work.rounded, step, before, caution)
        try:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "trial.tflite"
                file.write_bytes(convert(trial, Quantize("int8"), [], 1))
                samples = [np.asarray(data.train[0][:_TRIAL_SAMPLES])]
                make_golden(file, trial, Quantize("int8"), samples, 1)
        except ExportError as error:
            # A full disk says nothing about the model.
            if caution == _MOST_CAUTION or isinstance(error.__cause__, OSError):
                raise
            caution += 1
        else:
            return work


def _prepare(model: Any, step: Qat, before: tuple[Pass, ...], caution: int) -> _Work:
    bridged = to_tf_keras(model)
    found = kernels(bridged)
    check_where("qat", "layer", step.where, [call.path for call in read_graph(model).calls])
    pruned = sparse(bridged, before, found)
    clustered = {
        kernel.layer.name
        for earlier in before
        if isinstance(earlier, Cluster)
        for kernel in choose(bridged, earlier, found).taken
        if _clustered(kernel, earlier)
    }
    keeps = {
        kernel.layer.name: Keep(kernel.layer.name in pruned, kernel.layer.name in clustered)
        for kernel in found
        if kernel.layer.name in pruned | clustered
    }
    known = {layer.name: _known(layer, bridged, step) for layer in bridged.model.layers}
    if all(_left(k.layer, bridged, step, known[k.layer.name], caution) for k in found):
        raise RewriteError(
            f"{step} finds no layer with a kernel to quantise in {model.name!r} "
            f"({'; '.join(f'{k.path}: {known[k.layer.name]}' for k in found[:3]) or 'none'}); "
            "leave qat out."
        )
    left = {
        layer.name: reason
        for layer in bridged.model.layers
        if (reason := _left(layer, bridged, step, known[layer.name], caution))
    }

    def annotate(layer: Any) -> Any:
        if isinstance(layer, tf_keras.layers.InputLayer) or layer.name in left:
            return layer
        config = configs_8bit.Default8BitOutputQuantizeConfig() if known[layer.name] else None
        rounded = fixed(layer) if known[layer.name] and can_fix(layer) else layer
        return tfmot.quantization.keras.quantize_annotate_layer(rounded, config)

    annotated = tf_keras.models.clone_model(bridged.model, clone_function=annotate)
    # TFMOT adds a layer whose number would depend on what the process did before.
    tf_keras.backend.reset_uids()
    with tfmot.quantization.keras.quantize_scope(
        {"Carried": Carried, "FixedNormalisation": FixedNormalisation}
    ):
        rounded = tfmot.quantization.keras.quantize_apply(annotated, KeepingScheme(keeps))
    changed = {
        _path(layer, bridged): "int8"
        if not known[layer.name]
        else f"int8, its statistics fixed ({known[layer.name]})"
        if can_fix(layer)
        else f"its output is rounded to int8 ({known[layer.name]})"
        for layer in bridged.model.layers
        if layer.name not in left and not isinstance(layer, tf_keras.layers.InputLayer)
    }
    skipped = {
        _path(layer, bridged): left[layer.name]
        for layer in bridged.model.layers
        if layer.name in left
    }
    return _Work(
        bridged,
        rounded,
        tuple(changed.items()),
        tuple(skipped.items()),
        keeps,
        tuple(found),
        caution,
        common=not left
        and not any(known.values())
        and all(len(layer.inbound_nodes) == 1 for layer in bridged.model.layers),
    )


def _clustered(kernel: Kernel, step: Cluster) -> bool:
    """Whether the kernel has as few values as clustering leaves.

    One that it left alone for having fewer weights than centroids has so too, and keeps them.
    """
    _, distinct, most = count_values(kernel.by_channel(kernel.values), 0)
    each = step.per_channel and kernel.kind == "Conv2D"
    return (most if each else distinct) <= step.centroids


def _known(layer: Any, bridged: Bridged, step: Qat) -> str:
    """Why TFMOT cannot quantise the inside of a layer; empty if it can."""
    kind = type(layer).__name__
    if kind == "InputLayer":
        return ""
    if isinstance(layer, Carried):
        return "TFMOT does not know this layer"
    if kind == "BatchNormalization":
        if len(layer.inbound_nodes) == 1 and _follows_convolution(layer, bridged, step):
            return ""
        return "a batch normalisation that does not follow a convolution of its own"
    if kind == "Activation":
        name = layer.activation.__name__
        return "" if name in _ACTIVATIONS else f"TFMOT does not know the activation {name}"
    if not registry_8bit.Default8BitQuantizeRegistry().supports(layer):
        return f"TFMOT does not know {kind}"
    return ""


def _follows_convolution(layer: Any, bridged: Bridged, step: Qat) -> bool:
    """Whether the layer is all that reads a convolution, which is quantised too."""
    makers = tf.nest.flatten(layer.inbound_nodes[0].inbound_layers)
    if len(makers) != 1 or type(makers[0]).__name__ not in ("Conv2D", "DepthwiseConv2D"):
        return False
    (maker,) = makers
    return (
        len(maker.inbound_nodes) == len(maker.outbound_nodes) == 1
        and not _makes_output(maker, bridged)
        and selected(_path(maker, bridged), step.where)
    )


def _makes_output(layer: Any, bridged: Bridged) -> bool:
    return any(
        tensor is output
        for node in layer.inbound_nodes
        for tensor in tf.nest.flatten(node.outputs)
        for output in bridged.model.outputs
    )


def _left(layer: Any, bridged: Bridged, step: Qat, unknown: str, caution: int) -> str:
    """Why a layer stays float altogether; empty if it is rounded, inside or at its output."""
    if isinstance(layer, tf_keras.layers.InputLayer):
        return ""
    if not selected(_path(layer, bridged), step.where):
        return "excluded by where: its training has no rounding"
    if caution == _MOST_CAUTION and len(layer.inbound_nodes) > 1:
        return "called more than once, which the runtime does not take in int8 here"
    if not unknown:
        return ""
    if caution or not _worth_rounding(layer, bridged):
        return unknown
    if _makes_output(layer, bridged):
        return f"{unknown}, and it makes the output"
    outputs = tf.nest.flatten(layer.inbound_nodes[0].outputs)
    if len(outputs) != 1 or outputs[0].dtype != tf.float32:
        return f"{unknown}, and it does not give one float tensor"
    return ""


def _worth_rounding(layer: Any, bridged: Bridged) -> bool:
    """Whether a rounded output lets the layer compute in integers, or its readers do so."""
    if isinstance(layer, Carried):
        calls = {call.path: call.layer for call in read_graph(bridged.copy).calls}
        return type(calls.get(_path(layer, bridged))).__name__ not in _SAME_SCALE
    if can_fix(layer):
        return True
    return type(layer).__name__ in ("Activation", "ELU", "Multiply", "Subtract")


def _path(layer: Any, bridged: Bridged) -> str:
    """The Keras 3 path of a tf_keras layer."""
    return bridged.paths.get(layer.name, layer.name)


def _proof(work: _Work, before: tuple[Pass, ...]) -> tuple[LayerProof, ...]:
    """Zeros and clusters of the kernels as the rounded model uses them, rounding left out."""
    inner = _inner(work.rounded)
    clusters = next((step for step in before if isinstance(step, Cluster)), None)
    proofs = []
    for kernel in work.found:
        keep = work.keeps.get(kernel.layer.name, Keep(zeros=False, clusters=False))
        layer, rounding = inner[kernel.layer.name]
        proofs.append(
            prove_kernel(
                kernel,
                _used(rounding) if rounding else replace(kernel, layer=layer).values,
                sparsity=count_values(kernel.values)[0] if keep.zeros else None,
                centroids=clusters.centroids if clusters and keep.clusters else None,
                per_channel=bool(clusters and clusters.per_channel and kernel.kind == "Conv2D"),
            )
        )
    return tuple(proofs)


def _inner(rounded: Any) -> dict[str, tuple[Any, Any]]:
    """The layers inside TFMOT's wrappers by name, and what rounds the kernel, None if nothing."""
    found = {}
    for wrapper in rounded.layers:
        layer = getattr(wrapper, "layer", wrapper)
        found[layer.name] = layer, next(iter(getattr(wrapper, "_weight_vars", ())), None)
    return found


def _used(rounding: tuple[Any, Any, Any]) -> Any:
    """The wrapped layer's kernel with the zeros and clusters that its quantizer keeps."""
    variable, _, weights = rounding
    return kept(variable, weights).numpy()
