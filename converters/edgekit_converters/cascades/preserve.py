"""Rounding to int8 in training that keeps the zeros and clusters of earlier passes.

TFMOT's own preserving quantizers assign weights to clusters anew at every step, guess from the
counts whether a kernel was clustered per channel (16 values may become hundreds), share one switch
between all layers, and leave depthwise and transposed convolutions out. Here the assignment stays
as clustering left it, and only the centroids move.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from edgekit_converters.cascades.kernels import KERNELS
from edgekit_converters.cascades.library import (
    layout_8bit,
    quantizers,
    registry_8bit,
    scheme_8bit,
)


@dataclass(frozen=True)
class Keep:
    """What quantisation-aware training must keep of a kernel."""

    zeros: bool
    clusters: bool


class KeepingScheme(scheme_8bit.Default8BitQuantizeScheme):  # type: ignore[misc]
    """TFMOT's 8-bit scheme, with kernels kept as asked by layer name."""

    def __init__(self, keeps: Mapping[str, Keep]) -> None:
        super().__init__()
        self._keeps = keeps

    def get_quantize_registry(self) -> Any:
        """The registry that TFMOT asks for each layer's configuration."""
        return _Registry(self._keeps)

    def get_layout_transformer(self) -> Any:
        """The rewriting of the graph, which gives some layers a configuration of its own choice."""
        return _Layout(self._keeps)


class _Layout(layout_8bit.Default8BitQuantizeLayoutTransform):  # type: ignore[misc]
    def __init__(self, keeps: Mapping[str, Keep]) -> None:
        self._keeps = keeps

    def apply(self, model: Any, layer_quantize_map: Any) -> tuple[Any, Any]:
        transformed, chosen = super().apply(model, layer_quantize_map)
        usual = registry_8bit.Default8BitQuantizeRegistry()
        for layer in transformed.layers:
            config = chosen.get(layer.name, {}).get("quantize_config")
            if config is None:
                continue
            if type(layer).__name__ in KERNELS and not hasattr(config, "weight_quantizer"):
                # With a ReLU layer behind it TFMOT rounds neither the output nor the kernel.
                config = copy.copy(usual.get_quantize_config(layer))
                config.activation_attrs = []
            keep = self._keeps.get(layer.name)
            chosen[layer.name]["quantize_config"] = _keeping(config, keep) if keep else config
        return transformed, chosen


class _Registry(registry_8bit.Default8BitQuantizeRegistry):  # type: ignore[misc]
    def __init__(self, keeps: Mapping[str, Keep]) -> None:
        super().__init__()
        self._keeps = keeps

    def get_quantize_config(self, layer: Any) -> Any:
        config = super().get_quantize_config(layer)
        keep = self._keeps.get(layer.name)
        return _keeping(config, keep) if keep else config


def _keeping(config: Any, keep: Keep) -> Any:
    """A configuration like the given one, which TFMOT may share between layers, that keeps."""
    own = copy.copy(config)
    own.weight_quantizer = _KeepingQuantizer(config.weight_quantizer, keep)
    return own


class _KeepingQuantizer(quantizers.Quantizer):  # type: ignore[misc]
    """Builds the kernel from its zeros and centroids, then rounds it as the usual quantizer."""

    def __init__(self, usual: Any, keep: Keep) -> None:
        self._usual, self._keep = usual, keep

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        kernel = np.asarray(getattr(layer.layer, name))
        made: dict[str, Any] = {"usual": self._usual.build(tensor_shape, name, layer)}
        if self._keep.zeros:
            made["mask"] = tf.constant((kernel != 0).astype(kernel.dtype))
        if self._keep.clusters:
            values, places = _clusters(kernel)
            made["places"] = tf.constant(places)
            made["nonzero"] = tf.constant((values != 0).astype(kernel.dtype))
            made["centroids"] = layer.add_weight(
                f"{name}_centroids",
                shape=values.shape,
                initializer=tf_keras.initializers.Constant(values),
                trainable=True,
            )
        return made

    def __call__(self, inputs: Any, training: Any, weights: Any, **kwargs: Any) -> Any:
        return self._usual(kept(inputs, weights), training, weights["usual"], **kwargs)

    def get_config(self) -> dict[str, Any]:
        return {}


def kept(kernel: Any, weights: Mapping[str, Any]) -> Any:
    """The kernel as it is used: centroids at their places, zeros where there were zeros."""
    if "centroids" in weights:
        centroids = weights["centroids"] * weights["nonzero"]
        gathered = tf.gather(centroids, weights["places"])
        # The kernel itself no longer counts; without a gradient of zero TensorFlow would warn.
        return gathered + 0.0 * (kernel - tf.stop_gradient(kernel))
    return kernel * weights["mask"] if "mask" in weights else kernel


class HoldKept(tf_keras.callbacks.Callback):  # type: ignore[misc]
    """Puts zeros and clusters back after every step, in layers that nothing is wrapped around.

    Args:
        held: a layer, the name of its kernel, and what to keep of it.
    """

    def __init__(self, held: Iterable[tuple[Any, str, Keep]]) -> None:
        super().__init__()
        self._held = []
        for layer, attribute, keep in held:
            variable = getattr(layer, attribute)
            values, places = _clusters(np.asarray(variable))
            self._held.append((variable, keep, values, places))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Sets zeros to zero, and the weights of each cluster to their mean."""
        for variable, keep, values, places in self._held:
            kernel = variable.numpy()
            if keep.clusters:
                sums = np.bincount(places.ravel(), kernel.ravel().astype(np.float64))
                kernel = (sums / np.bincount(places.ravel())).astype(kernel.dtype)[places]
            variable.assign(np.where(values[places] == 0, 0, kernel) if keep.zeros else kernel)


def _clusters(kernel: Any) -> tuple[Any, Any]:
    """The kernel's distinct values, and for each weight which of them it has."""
    values, places = np.unique(kernel, return_inverse=True)
    return values, places.reshape(kernel.shape).astype(np.int32)
