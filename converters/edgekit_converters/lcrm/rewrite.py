"""LCRM as a pass: a Keras model in, a rewritten copy and what was done to it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras

from edgekit_converters.errors import RewriteError
from edgekit_converters.graph import functional, is_model, read_graph
from edgekit_converters.lcrm.plan import Decision, normalisations_behind, plan_lcrm
from edgekit_converters.lcrm.rules import Depthwise, Style, Substitute, Weights


def apply_lcrm(
    model: Any,
    *,
    style: Style = "equations",
    where: tuple[str, ...] = (),
    keep_ends: bool = True,
    weights: Weights = "kept",
) -> tuple[Any, tuple[Decision, ...]]:
    """Replaces the convolutions that LCRM can replace; the given model stays as it is.

    Layers that stay keep their weights (with `weights="fresh"` they start anew, as in the paper);
    substitutes always start fresh, so the result needs training. They and the batch normalisations
    behind them are trainable even where the replaced convolution was frozen.
    Strides, padding and dilation go to the depthwise layer (or the pointwise one in case 2), the
    activation to the substitute's output, so every tensor behind it keeps its shape and range.

    Raises:
        RewriteError: an option that does not fit the model.
    """
    graph = read_graph(model)
    plan = plan_lcrm(graph, style=style, where=where, keep_ends=keep_ends)
    chosen = {d.path: d.substitute for d in plan if d.substitute is not None}
    work = _Work(
        chosen=chosen,
        shapes={call.path: call.input_shapes[0] for call in graph.calls if call.input_shapes},
        thawed=normalisations_behind(graph, set(chosen)),
        fresh=weights == "fresh",
        copies={},
    )
    return _rewrite(model, "", work), plan


def copy_model(model: Any) -> Any:
    """A copy of the model with its weights, nothing shared with the original."""
    return _rewrite(model, "", _Work({}, {}, set(), fresh=False, copies={}))


@dataclass(frozen=True)
class _Work:
    """What to replace and how, by layer path.

    `thawed` layers become trainable. `copies` (by `id` of the layer) spans nested models: what they
    share stays shared.
    """

    chosen: dict[str, Substitute]
    shapes: dict[str, Any]
    thawed: set[str]
    fresh: bool
    copies: dict[int, Any]


def _rewrite(model: Any, prefix: str, work: _Work) -> Any:
    kept: list[tuple[Any, Any]] = []
    replaced: dict[int, tuple[Any, str]] = {}

    def clone(layer: Any) -> Any:
        path = f"{prefix}{layer.name}"
        if id(layer) not in work.copies:
            if is_model(layer):
                work.copies[id(layer)] = _rewrite(layer, f"{path}/", work)
            else:
                work.copies[id(layer)] = _copy_layer(layer, path)
        copy = work.copies[id(layer)]
        if path in work.thawed:
            copy.trainable = True
        if path in work.chosen:
            replaced[id(copy)] = (layer, path)
        elif isinstance(layer, keras.layers.Layer) and not is_model(layer):
            kept.append((layer, copy))
        return copy

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if id(layer) not in replaced:
            return layer(*args, **kwargs)
        original, path = replaced[id(layer)]
        return build_substitute(original, work.chosen[path], work.shapes[path])(args[0])

    result = keras.models.clone_model(functional(model), clone_function=clone, call_function=call)
    # A Sequential model's graph has a name of its own, which Keras makes up.
    result.name = model.name
    for original, copy in kept:
        if work.fresh and original.trainable_weights:
            continue
        copy.set_weights(original.get_weights())
    return result


def _copy_layer(layer: Any, path: str) -> Any:
    try:
        return type(layer).from_config(layer.get_config())
    except (NotImplementedError, TypeError, ValueError) as error:
        # A bare `raise NotImplementedError` has no text.
        said = str(error).strip() or type(error).__name__
        raise RewriteError(
            f"The layer {path!r} ({type(layer).__name__}) cannot be copied from its configuration; "
            "give its class a get_config() that holds every argument of its __init__, which has to "
            f"take **kwargs. Keras says: {said.splitlines()[-1][:200]}"
        ) from error


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
        tensor = _crop_to_centres(conv, suffix, input_shape, tensor)
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
            built = keras.layers.DepthwiseConv2D(
                conv.kernel_size,
                padding=conv.padding,
                dilation_rate=conv.dilation_rate,
                depth_multiplier=layer.multiplier,
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


def _crop_to_centres(conv: Any, suffix: str, input_shape: Any, tensor: Any) -> Any:
    """Crops so that a 1 x 1 kernel with the convolution's strides reads its windows' centres.

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
    if not any(crop for pair in crops for crop in pair):
        return tensor
    return keras.layers.Cropping2D(
        tuple(crops), data_format=conv.data_format, name=f"{conv.name}_crop{suffix}"
    )(tensor)


def _copy(module: Any, value: Any) -> Any:
    """A fresh object of the same configuration: two layers must not share a seeded one."""
    return module.deserialize(module.serialize(value))
