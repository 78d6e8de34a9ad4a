"""LCRM as a pass: a Keras model in, a rewritten copy and what was done to it out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import keras

from edgekit_converters.graph import read_graph
from edgekit_converters.lcrm.plan import Decision, normalisations_behind, plan_lcrm
from edgekit_converters.lcrm.rules import Choice, Depthwise, Style, Substitute, Weights
from edgekit_converters.rewriting import rewrite


def apply_lcrm(
    model: Any,
    *,
    style: Style = "equations",
    where: tuple[str, ...] = (),
    keep_ends: bool = True,
    weights: Weights = "kept",
    multiplier: int = 1,
    spatial: bool = False,
    choices: Mapping[str, Choice] | None = None,
) -> tuple[Any, tuple[Decision, ...]]:
    """Replaces the convolutions that LCRM can replace; the given model stays as it is.

    Layers that stay keep their weights (with `weights="fresh"` they start anew, as in the paper);
    substitutes always start fresh, so the result needs training. They and the batch normalisations
    behind them are trainable even where the replaced convolution was frozen.
    Strides, padding and dilation go to the depthwise layer (or the pointwise one in case 2), the
    activation to the substitute's output, so every tensor behind it keeps its shape and range.
    What is replaced, and by what: `plan_lcrm`.

    Raises:
        RewriteError: an option that does not fit the model.
    """
    graph = read_graph(model)
    plan = plan_lcrm(
        graph, style=style, where=where, keep_ends=keep_ends, multiplier=multiplier,
        spatial=spatial, choices=choices,
    )  # fmt: skip
    chosen = {d.path: d.substitute for d in plan if d.substitute is not None}
    shapes = {call.path: call.input_shapes[0] for call in graph.calls if call.input_shapes}
    replacements = {
        path: partial(build_substitute, replacement=replacement, input_shape=shapes[path])
        for path, replacement in chosen.items()
    }
    thawed = normalisations_behind(graph, set(chosen))
    return rewrite(model, replacements, thawed=thawed, fresh=weights == "fresh"), plan


def build_substitute(conv: Any, replacement: Substitute, input_shape: Any) -> Any:
    """A function tensor -> tensor that applies the replacement of `conv` with fresh layers."""
    axis = 1 if conv.data_format == "channels_first" else -1
    single = len(replacement.branches) == 1

    def apply(tensor: Any) -> Any:
        outputs = []
        for index, branch in enumerate(replacement.branches):
            suffix = "" if single else f"_{index}"
            outputs.append(_apply_branch(conv, branch, suffix, single, input_shape, tensor))
        if single:
            return outputs[0]
        joined = keras.layers.Concatenate(axis=axis, name=f"{conv.name}_concat")(outputs)
        if conv.activation is keras.activations.linear and conv.activity_regularizer is None:
            return joined
        return keras.layers.Activation(
            conv.activation,
            activity_regularizer=conv.activity_regularizer,
            dtype=conv.dtype_policy,
            name=f"{conv.name}_activation",
        )(joined)

    return apply


def _apply_branch(
    conv: Any, branch: Any, suffix: str, single: bool, input_shape: Any, tensor: Any
) -> Any:
    spatial = next((i for i, layer in enumerate(branch) if isinstance(layer, Depthwise)), None)
    if spatial is None:
        tensor = _crop(conv, suffix, input_shape, tensor)
    for index, layer in enumerate(branch):
        ends = single and index == len(branch) - 1
        carries_strides = index == (spatial if spatial is not None else 0)
        common = {
            "strides": conv.strides if carries_strides else 1,
            "data_format": conv.data_format,
            "activation": conv.activation if ends else None,
            "use_bias": conv.use_bias,
            "bias_initializer": _copy(keras.initializers, conv.bias_initializer),
            "bias_regularizer": conv.bias_regularizer,
            "bias_constraint": conv.bias_constraint,
            "activity_regularizer": conv.activity_regularizer if ends else None,
            "dtype": conv.dtype_policy,
        }
        if isinstance(layer, Depthwise):
            repeated = layer.multiplier > 1 and index + 1 < len(branch)
            if repeated:
                tensor = _repeat(conv, suffix, layer.multiplier, tensor)
            built = keras.layers.DepthwiseConv2D(
                conv.kernel_size,
                padding=conv.padding,
                dilation_rate=conv.dilation_rate,
                depth_multiplier=1 if repeated else layer.multiplier,
                depthwise_initializer=_copy(keras.initializers, conv.kernel_initializer),
                depthwise_regularizer=conv.kernel_regularizer,
                depthwise_constraint=conv.kernel_constraint,
                name=f"{conv.name}_depthwise{suffix}",
                **common,
            )
        else:
            built = keras.layers.Conv2D(
                layer.filters,
                1,
                kernel_initializer=_copy(keras.initializers, conv.kernel_initializer),
                kernel_regularizer=conv.kernel_regularizer,
                kernel_constraint=conv.kernel_constraint,
                name=f"{conv.name}_pointwise{suffix}",
                **common,
            )
        tensor = built(tensor)
    return tensor


def _repeat(conv: Any, suffix: str, times: int, tensor: Any) -> Any:
    """All channels again and again, for a depthwise layer with one kernel per channel.

    TFLite computes a depth multiplier above 1 in kernels that take several times as long
    (benchmarks/results/depth_multiplier.md). The pointwise layer behind does not mind the order.
    """
    axis = 1 if conv.data_format == "channels_first" else -1
    return keras.layers.Concatenate(axis=axis, name=f"{conv.name}_repeat{suffix}")([tensor] * times)


def crop_to_centres(conv: Any, input_shape: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """What to cut off rows and columns (before, after) so that strides start at window centres.

    That gives "valid" convolutions their output shape, and keeps a strided "same" one aligned.
    """
    first = 2 if conv.data_format == "channels_first" else 1
    crops = []
    for axis in range(2):
        reach = (conv.kernel_size[axis] - 1) * conv.dilation_rate[axis]
        size, stride = input_shape[first + axis], conv.strides[axis]
        if conv.padding == "valid":
            crops.append((reach // 2, reach - reach // 2))
        elif size is None:
            crops.append((0, 0))
        else:
            padding = max((-(-size // stride) - 1) * stride + reach + 1 - size, 0)
            crops.append((reach // 2 - padding // 2, 0))
    return crops[0], crops[1]


def _crop(conv: Any, suffix: str, input_shape: Any, tensor: Any) -> Any:
    """Crops so that a 1 x 1 kernel with the convolution's strides reads its windows' centres."""
    crops = crop_to_centres(conv, input_shape)
    if crops == ((0, 0), (0, 0)):
        return tensor
    return keras.layers.Cropping2D(
        crops, data_format=conv.data_format, name=f"{conv.name}_crop{suffix}"
    )(tensor)


def _copy(module: Any, value: Any) -> Any:
    """A fresh object of the same configuration: two layers must not share a seeded one."""
    return module.deserialize(module.serialize(value))
