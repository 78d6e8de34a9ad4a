"""A model with int8 rounding in it, for every layer that can have it, before it is trained."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from edgekit_converters.cascades.kernels import Kernel, choose, kernels, sparse
from edgekit_converters.cascades.library import configs_8bit, registry_8bit, tfmot
from edgekit_converters.cascades.normalisation import FixedNormalisation, can_fix, fixed
from edgekit_converters.cascades.preserve import Keep, KeepingScheme, kept
from edgekit_converters.cascades.ranges import calibrate
from edgekit_converters.conversion import convert
from edgekit_converters.errors import ExportError, RewriteError
from edgekit_converters.golden import make_golden
from edgekit_converters.graph import read_graph
from edgekit_converters.keras2.bridge import Bridged, Carried, to_tf_keras
from edgekit_converters.passes import Cluster, NpuQat, Pass, Qat, Quantize
from edgekit_converters.proof import count_values
from edgekit_converters.train import Training, TrainingData
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
    step: Qat | NpuQat
    before: tuple[Pass, ...]
    caution: int = 0

    @property
    def name(self) -> str:
        """The model's name."""
        return str(self.keras.name)


@dataclass(frozen=True)
class Rounded:
    """A Keras 3 model as TFMOT has it, with rounding, and what is rounded of it and kept.

    `common` says that TFMOT knows all of its layers.
    """

    bridged: Bridged
    rounded: Any
    changed: tuple[tuple[str, str], ...]
    skipped: tuple[tuple[str, str], ...]
    keeps: dict[str, Keep]
    found: tuple[Kernel, ...]
    caution: int
    common: bool


def convertible(
    model: Any, step: Qat | NpuQat, before: tuple[Pass, ...], data: TrainingData, training: Training
) -> Rounded:
    """A rounded model that the converter and the runtime take, tried before training starts.

    One of layers that TFMOT knows all of needs no trial.
    """
    caution = 0
    while True:
        work = prepare(model, step, before, caution)
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


def prepare(model: Any, step: Qat | NpuQat, before: tuple[Pass, ...], caution: int) -> Rounded:
    """The model with its kernels and activations rounded to int8; `before` says what it keeps.

    Raises:
        RewriteError: no layer can be quantised, or a pattern that matches no layer.
    """
    bridged = to_tf_keras(model)
    found = kernels(bridged)
    name = str(step).partition("(")[0]
    check_where(name, "layer", step.where, [call.path for call in read_graph(model).calls])
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
            f"leave {name} out."
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
    return Rounded(
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


def _known(layer: Any, bridged: Bridged, step: Qat | NpuQat) -> str:
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


def _follows_convolution(layer: Any, bridged: Bridged, step: Qat | NpuQat) -> bool:
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


def _left(layer: Any, bridged: Bridged, step: Qat | NpuQat, unknown: str, caution: int) -> str:
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


def inside(rounded: Any) -> dict[str, tuple[Any, Any]]:
    """The layers inside TFMOT's wrappers by name, and what rounds the kernel, None if nothing."""
    found = {}
    for wrapper in rounded.layers:
        layer = getattr(wrapper, "layer", wrapper)
        found[layer.name] = layer, next(iter(getattr(wrapper, "_weight_vars", ())), None)
    return found


def used(rounding: tuple[Any, Any, Any]) -> Any:
    """The wrapped layer's kernel with the zeros and clusters that its quantizer keeps."""
    variable, _, weights = rounding
    return kept(variable, weights).numpy()
