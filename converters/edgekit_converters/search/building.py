"""A model with one candidate in the place of its convolutions: the given model stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras

from edgekit_converters.errors import RewriteError
from edgekit_converters.graph import Call, read_graph
from edgekit_converters.lcrm.plan import (
    convolution_calls,
    describe,
    normalisations_behind,
    why_left,
)
from edgekit_converters.lcrm.rewrite import build_substitute, crop_to_centres
from edgekit_converters.lcrm.rules import Substitute, Weights
from edgekit_converters.rewriting import rewrite
from edgekit_converters.search.grouped import BlockConv2D
from edgekit_converters.search.substitutes import (
    Candidate,
    Chain,
    Convolve,
    Place,
    Structure,
    Transpose,
    structure,
)
from edgekit_converters.where import check_where

_OTHERS = "; choose others by where, or leave it out"


@dataclass(frozen=True)
class Substituted:
    """A new model, the paths of what was replaced, and what was left with the reason."""

    model: Any
    replaced: tuple[str, ...]
    left: tuple[tuple[str, str], ...]


def open_places(model: Any, where: tuple[str, ...], keep_ends: bool) -> dict[str, Place]:
    """The convolutions that a search may replace, by path: those that LCRM's plan looks at.

    Raises:
        RewriteError: a pattern that matches no convolution, or there is none to replace.
    """
    graph = read_graph(model)
    convolutions = convolution_calls(graph)
    check_where("search", "convolution", where, [call.path for call in convolutions])
    left = why_left(graph, convolutions, where=where, keep_ends=keep_ends)
    found = {call.path: _place(call) for call in convolutions if call.path not in left}
    if not found:
        told = "; ".join(f"{path}: {reason}" for path, reason in left.items())
        raise RewriteError(
            f"{model.name!r} has no convolution whose substitutes could be searched "
            f"({told or 'there is none at all'}){_OTHERS if where else ''}."
        )
    return found


def substituted(
    model: Any,
    candidate: Candidate,
    *,
    where: tuple[str, ...] = (),
    keep_ends: bool = True,
    weights: Weights = "kept",
) -> Substituted:
    """A copy of the model in which the candidate stands for each convolution that it fits.

    New layers start fresh, the others with their weights or, with `weights="fresh"`, anew. Strides,
    padding, dilation, activation and regularisers are the convolution's. Group convolutions are
    there in a form that trains fast: give the trained model to `grouped.plain`.

    Raises:
        RewriteError: it fits none; the reasons are named.
    """
    chosen: dict[str, Structure] = {}
    left: list[tuple[str, str]] = []
    for path, place in open_places(model, where, keep_ends).items():
        made = structure(candidate, place)
        if isinstance(made, str):
            left.append((path, made))
        else:
            chosen[path] = made
    if not chosen:
        told = "; ".join(f"{path}: {reason}" for path, reason in left)
        raise RewriteError(f"{candidate} fits no convolution of {model.name!r} ({told}).")
    graph = read_graph(model)
    shapes = {call.path: call.input_shapes[0] for call in graph.calls if call.input_shapes}
    replacements = {
        path: partial(build, made=made, input_shape=shapes[path]) for path, made in chosen.items()
    }
    thawed = normalisations_behind(graph, set(chosen))
    copy = rewrite(model, replacements, thawed=thawed, fresh=weights == "fresh")
    return Substituted(copy, tuple(chosen), tuple(left))


def build(conv: Any, made: Structure, input_shape: Any) -> Callable[[Any], Any]:
    """A function tensor -> tensor that computes the structure in the place of `conv`."""
    if len(made) == 1:
        return _chain(conv, made[0], input_shape)
    axis = 1 if conv.data_format == "channels_first" else -1
    linear = {"activation": None, "activity_regularizer": None}
    branches = [
        _chain(_like(conv, **linear, name=f"{conv.name}_{index}"), chain, input_shape)
        for index, chain in enumerate(made)
    ]

    def apply(tensor: Any) -> Any:
        joined = keras.layers.Concatenate(axis=axis, name=f"{conv.name}_concat")(
            [branch(tensor) for branch in branches]
        )
        return keras.layers.Activation(
            conv.activation,
            activity_regularizer=conv.activity_regularizer,
            dtype=conv.dtype_policy,
            name=f"{conv.name}_activation",
        )(joined)

    return apply


def _chain(conv: Any, chain: Chain, input_shape: Any) -> Callable[[Any], Any]:
    first = chain[0]
    if isinstance(first, Convolve):
        return _convolve(conv, first)
    if isinstance(first, Transpose):
        return _transpose(conv, first, input_shape)
    plain = tuple(layer for layer in chain if not isinstance(layer, Convolve | Transpose))
    alone: Callable[[Any], Any] = build_substitute(conv, Substitute((plain,)), input_shape)
    return alone


def _convolve(conv: Any, layer: Convolve) -> Callable[[Any], Any]:
    kind = "grouped" if layer.groups > 1 else "dilated" if layer.spread > 1 else "standard"
    config = {**conv.get_config(), "trainable": True}
    made = (BlockConv2D if layer.groups > 1 else keras.layers.Conv2D).from_config(
        config
        | {
            "filters": layer.filters,
            "groups": layer.groups,
            "dilation_rate": [rate * layer.spread for rate in conv.dilation_rate],
            "name": f"{conv.name}_{kind}",
        }
    )
    wider = [
        (size - 1) * rate * (layer.spread - 1)
        for size, rate in zip(conv.kernel_size, conv.dilation_rate, strict=True)
    ]
    if conv.padding != "valid" or not any(wider):
        apply: Callable[[Any], Any] = made
        return apply
    # Zeros for what the wider window reaches beyond the old one, so that the output keeps its size.
    padding = keras.layers.ZeroPadding2D(
        tuple((more // 2, more - more // 2) for more in wider),
        data_format=conv.data_format,
        name=f"{conv.name}_pad",
    )
    return lambda tensor: made(padding(tensor))


def _transpose(conv: Any, layer: Transpose, input_shape: Any) -> Callable[[Any], Any]:
    config = {
        **conv.get_config(),
        "filters": layer.filters,
        "padding": "same",
        "trainable": True,
        "name": f"{conv.name}_transposed",
    }
    del config["groups"]
    made = keras.layers.Conv2DTranspose.from_config(config)
    if conv.padding != "valid":
        apply: Callable[[Any], Any] = made
        return apply
    crop = keras.layers.Cropping2D(
        crop_to_centres(conv, input_shape), data_format=conv.data_format, name=f"{conv.name}_crop"
    )
    return lambda tensor: crop(made(tensor))


def _like(conv: Any, **changes: Any) -> Any:
    """A fresh layer of the same configuration but for the changes; what was frozen is trained."""
    return type(conv).from_config({**conv.get_config(), "trainable": True, **changes})


def _place(call: Call) -> Place:
    conv, layer = describe(call), call.layer
    return Place(
        conv.channels_in,
        conv.filters,
        conv.kernel,
        (layer.strides[0], layer.strides[1]),
        layer.padding,
        (layer.dilation_rate[0], layer.dilation_rate[1]),
    )
