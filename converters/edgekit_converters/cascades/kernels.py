"""The kernels of a model that TFMOT can work on, and which of them a pass takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from edgekit_converters.complexity import parameters
from edgekit_converters.errors import RewriteError
from edgekit_converters.graph import read_graph
from edgekit_converters.keras2.bridge import Bridged
from edgekit_converters.passes import M_OF_N, Cluster, Pass, Prune
from edgekit_converters.where import check_where, selected

KERNELS = {
    "Conv1D": "kernel",
    "Conv1DTranspose": "kernel",
    "Conv2D": "kernel",
    "Conv2DTranspose": "kernel",
    "Conv3D": "kernel",
    "Conv3DTranspose": "kernel",
    "Dense": "kernel",
    "DepthwiseConv2D": "depthwise_kernel",
}
"""The tf_keras layers that sum products, with the name of their kernel."""


@dataclass(frozen=True)
class Kernel:
    """One kernel: its Keras 3 layer's path and the tf_keras layer that holds it."""

    path: str
    layer: Any
    attribute: str

    @property
    def kind(self) -> str:
        """The tf_keras layer's type."""
        return type(self.layer).__name__

    @property
    def values(self) -> Any:
        """The weights as an array; axes as Keras has them."""
        return np.asarray(getattr(self.layer, self.attribute))

    def by_channel(self, values: Any) -> Any:
        """Such weights with the output channel as the first of two axes."""
        if self.kind == "DepthwiseConv2D":
            return values.reshape(-1, values.shape[2] * values.shape[3]).T
        axis = -2 if self.kind.endswith("Transpose") else -1
        return np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)


@dataclass(frozen=True)
class Choice:
    """The kernels that a pass takes, and why it leaves the others and other layers with weights."""

    taken: tuple[Kernel, ...]
    skipped: tuple[tuple[str, str], ...]


def kernels(bridged: Bridged) -> tuple[Kernel, ...]:
    """All kernels of the model, in the order of its layers."""
    return tuple(
        Kernel(path, layer, KERNELS[type(layer).__name__])
        for path, made in bridged.layers.items()
        for layer in made
        if type(layer).__name__ in KERNELS
    )


def products(kernel: Kernel) -> int:
    """Multiply-accumulates of one sample in all calls of the kernel's layer.

    Raises:
        RewriteError: a size is open.
    """
    total = 0
    for node in kernel.layer.inbound_nodes:
        shapes = node.input_shapes if kernel.kind.endswith("Transpose") else node.output_shapes
        positions = tuple(shapes)[1:-1]
        if None in positions:
            raise RewriteError(
                f"The products of {kernel.path!r} cannot be counted, its tensors' shape "
                f"{tuple(shapes)} is open; build the model with keras.Input(shape=…) of the size "
                "it will see."
            )
        total += math.prod(positions) * int(kernel.values.size)
    return total


def choose(bridged: Bridged, step: Prune | Cluster, found: Sequence[Kernel]) -> Choice:
    """Which of the kernels the pass takes, by its options and their shapes.

    Not by their values (but for kernels of zeros), so that a later pass finds the same.

    Raises:
        RewriteError: a `where` pattern that matches no layer.
    """
    name = str(step).partition("(")[0]
    check_where(name, "layer with a kernel", step.where, [kernel.path for kernel in found])
    taken, skipped = [], list(_foreign(bridged))
    for kernel in found:
        reason = _left(kernel, step, name)
        if reason:
            skipped.append((kernel.path, reason))
        else:
            taken.append(kernel)
    return Choice(tuple(taken), tuple(skipped))


def sparse(bridged: Bridged, before: Sequence[Pass], found: Sequence[Kernel]) -> set[str]:
    """The tf_keras names of the kernels that an earlier pass pruned."""
    return {
        kernel.layer.name
        for step in before
        if isinstance(step, Prune)
        for kernel in choose(bridged, step, found).taken
    }


def _left(kernel: Kernel, step: Prune | Cluster, name: str) -> str:
    size = kernel.values.size
    if not selected(kernel.path, step.where):
        return "excluded by where"
    if not kernel.values.any():
        return "all of its weights are zero already"
    if kernel.kind == "DepthwiseConv2D" and not step.depthwise:
        return f"depthwise kernel: few weights, all of them needed; {name}(depthwise=true) takes it"
    if isinstance(step, Prune):
        if step.block and kernel.kind != "Dense":
            return "a block pattern is for dense layers"
        if step.block and any(
            axis <= side for axis, side in zip(kernel.values.shape, step.block, strict=True)
        ):
            rows, columns = kernel.values.shape
            return f"{rows} x {columns} weights hold no two blocks of {step.pattern} each way"
        if step.pattern == M_OF_N and kernel.kind not in ("Conv2D", "Dense"):
            return f"the 2:4 pattern runs along input channels, which {kernel.kind} does not sum"
        if step.pattern == M_OF_N and kernel.values.shape[-2] < 3:
            return f"{kernel.values.shape[-2]} input channels are too few for the 2:4 pattern"
        if round(size * step.sparsity) < 1:
            return f"{size} weights are too few for a sparsity of {step.sparsity:g}"
        return ""
    if kernel.kind == "Dense" and _behind_normalisation(kernel.layer):
        return (
            "conversion multiplies the batch normalisation before it into its kernel, input by "
            "input, which undoes clusters"
        )
    each = (
        kernel.by_channel(kernel.values).shape[1]
        if step.per_channel and kernel.kind == "Conv2D"
        else size
    )
    if each <= step.centroids:
        per = " per channel" if each != size else ""
        return f"has {each} weights{per}, no more than the {step.centroids} centroids"
    return ""


def _behind_normalisation(layer: Any) -> bool:
    """Whether a layer reads a batch normalisation, with nothing that computes in between."""
    makers = tf.nest.flatten([node.inbound_layers for node in layer.inbound_nodes])
    return any(
        type(maker).__name__ == "BatchNormalization"
        or (type(maker).__name__ == "Dropout" and _behind_normalisation(maker))
        for maker in makers
    )


def _foreign(bridged: Bridged) -> list[tuple[str, str]]:
    """Layers with weights that TFMOT does not see."""
    carried = set(bridged.carried)
    layers = {
        call.path: call.layer
        for call in read_graph(bridged.copy).calls
        if call.path in carried and hasattr(call.layer, "weights")
    }
    return [
        (path, f"{type(layer).__name__} is a layer that TFMOT does not know")
        for path, layer in layers.items()
        if parameters(layer)
    ]
