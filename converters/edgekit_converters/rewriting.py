"""Copies of a Keras graph in which some layers are others: nothing is shared with the original."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras

from edgekit_converters.errors import RewriteError
from edgekit_converters.graph import functional, is_model

Replacement = Callable[[Any], Callable[[Any], Any]]
"""Takes a layer of the original and gives what computes in its place, tensor -> tensor."""


def rewrite(
    model: Any,
    replacements: Mapping[str, Replacement],
    *,
    thawed: Collection[str] = (),
    fresh: bool = False,
) -> Any:
    """A copy of the model with its weights, in which replacements stand for layers by path.

    A layer called more than once is replaced once, and stays shared. `thawed` layers become
    trainable. With `fresh` the layers that stay start anew, but for those without weights to train.

    Raises:
        RewriteError: a layer cannot be copied.
    """
    return _rewrite(model, "", _Work(replacements, frozenset(thawed), fresh))


def copy_model(model: Any) -> Any:
    """A copy of the model with its weights."""
    return rewrite(model, {})


@dataclass(frozen=True)
class _Work:
    """`copies` and `made` (by `id` of the layer) span nested models: what they share is shared."""

    replacements: Mapping[str, Replacement]
    thawed: frozenset[str]
    fresh: bool
    copies: dict[int, Any] = field(default_factory=dict)
    made: dict[int, Callable[[Any], Any]] = field(default_factory=dict)


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
        if path in work.replacements:
            replaced[id(copy)] = (layer, path)
        elif isinstance(layer, keras.layers.Layer) and not is_model(layer):
            kept.append((layer, copy))
        return copy

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if id(layer) not in replaced:
            return layer(*args, **kwargs)
        original, path = replaced[id(layer)]
        if id(original) not in work.made:
            work.made[id(original)] = work.replacements[path](original)
        return work.made[id(original)]((*args, *kwargs.values())[0])

    graph = functional(model)
    if graph.compiled:
        # Keras would compile the copy too, with the user's own losses, which it may not find.
        graph = keras.Model(graph.input, graph.output, name=graph.name)
    result = keras.models.clone_model(graph, clone_function=clone, call_function=call)
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
