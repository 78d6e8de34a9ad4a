"""Substitutes that start from what the model has learnt: fitted to its activations, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import keras
import numpy as np

from edgekit_converters.errors import TrainingError
from edgekit_converters.graph import Call, Graph, probe, read_graph
from edgekit_converters.lcrm.batches import as_array, in_batches
from edgekit_converters.lcrm.fitted import Fitted, Task, fit_substitute
from edgekit_converters.lcrm.order import Followers, followers, reorder
from edgekit_converters.lcrm.plan import Decision
from edgekit_converters.lcrm.separable import RIDGE, Moments
from edgekit_converters.lcrm.settle import first_dense, refit_dense, settle, unsettled
from edgekit_converters.lcrm.windows import gather
from edgekit_converters.train import Progress

Calls = Mapping[str, Call]
FRESH = "starts fresh"
"""How it is told that a substitute has inherited nothing."""
Kept = dict[tuple[str, bool, bool], tuple[Moments | None, Moments | None]]
"""Moments by the convolution's path, and whether those of windows and of centres are there."""


def inherit(
    parent: Any,
    model: Any,
    plan: tuple[Decision, ...],
    samples: list[Any],
    progress: Progress | None = None,
    *,
    ridge: float = RIDGE,
    kept: Kept | None = None,
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Fits the substitutes of `model`, in place, to what the parent's convolutions give.

    Layer after layer in order of execution, x being what the rewritten model sees and y what the
    parent gives before batch normalisation and activation. Statistics of batch normalisations
    behind substitutes are estimated anew, the first dense layer behind all of them is refitted.

    Args:
        parent: the trained model; it stays as it is.
        model: what `apply_lcrm` made of it in style `equations`.
        plan: what `apply_lcrm` decided.
        samples: one array per model input, samples first.
        progress: called after each layer with (layer from 1, layers, {"explained": share}).
        ridge: that of `fit_separable`.
        kept: moments of earlier calls, which hold as long as nothing before the layer changes.

    Returns:
        What came of each substitute, by the convolution's path, and of the dense layer.

    Raises:
        TrainingError: what a convolution of the parent gives is NaN or infinite.
    """
    old, new = read_graph(parent), read_graph(model)
    batches = in_batches(old, samples)
    chosen = {d.path: d.substitute for d in plan if d.substitute is not None}
    if not chosen:
        return {}, ()
    made = {call.path: call for call in new.calls}
    changed = {_end(path, made).outputs[0] for path in chosen}
    waiting = unsettled(new, changed)
    orders: dict[str, Any] = {}
    told: dict[str, str] = {}
    for call in (call for call in old.calls if call.path in chosen):
        seen = _start(call.path, made).inputs[0]
        waiting = settle(model, new, batches, waiting, {seen})
        following = _following(old, call, chosen)
        task = _task(old, call, orders.get(call.path), free=isinstance(following, Followers))
        pairs = partial(_pairs, parent, call, model, seen, batches)
        count = len(samples[0])
        moments = partial(_moments, {} if kept is None else kept, call, pairs, count)
        found = fit_substitute(task, chosen[call.path], moments, count, ridge=ridge)
        if isinstance(found, Fitted):
            _put(call, found, made)
            if (found.order != np.arange(len(found.order))).any():
                _reorder(old, call, found.order, chosen, made, orders)
            told[call.path] = f"fitted, explains {found.explained:.1%}"
            if isinstance(following, str) and len(chosen[call.path].branches) > 1:
                told[call.path] += f", outputs in their order because of {following}"
        else:
            told[call.path] = f"{FRESH}: {found}"
        if progress:
            share = found.explained if isinstance(found, Fitted) else 0.0
            progress(len(told), len(chosen), {"explained": share})
    dense = first_dense(new, changed)
    said: tuple[str, ...] = ()
    if dense is not None:
        waiting = settle(model, new, batches, waiting, set(dense.inputs))
        before = next(call for call in old.calls if call.path == dense.path)
        said = (f"{dense.path}: {refit_dense(parent, before, model, dense, batches)}",)
    settle(model, new, batches, waiting, set(new.outputs))
    return told, said


def _start(path: str, made: Calls) -> Call:
    """The substitute's layer that sees what the convolution saw."""
    names = ("_repeat", "_repeat_1", "_depthwise", "_depthwise_1", "_crop", "_pointwise")
    return next(made[path + name] for name in names if path + name in made)


def _end(path: str, made: Calls) -> Call:
    """The substitute's layer that gives its output."""
    names = ("_activation", "_concat", "_pointwise")
    return next(made[path + name] for name in names if path + name in made)


def _task(graph: Graph, call: Call, order: Any, *, free: bool) -> Task:
    conv = call.layer
    kernel = np.asarray(keras.ops.cast(conv.kernel, "float32"), np.float64)
    bias = np.asarray(keras.ops.cast(conv.bias, "float32"), np.float64) if conv.use_bias else None
    norm = _normalisation(graph, call)
    scale = np.ones(conv.filters)
    if norm is not None:
        scale = 1 / np.sqrt(np.asarray(norm.moving_variance, np.float64) + norm.epsilon)
        if norm.scale:
            scale = scale * np.abs(np.asarray(norm.gamma, np.float64))
        # An output that nobody hears must not make the equations singular.
        scale = np.maximum(scale, 1e-3 * scale.max()) if scale.any() else np.ones(conv.filters)
    return Task(
        kernel=kernel if order is None else kernel[:, :, order],
        bias=bias,
        scale=scale,
        centred=conv.use_bias or norm is not None,
        free=free,
    )


def _normalisation(graph: Graph, call: Call) -> Any:
    """The batch normalisation that alone reads what the convolution gives, if there is one."""
    readers = [other for other in graph.calls if call.outputs[0] in other.inputs]
    if len(readers) != 1 or call.layer.activation is not keras.activations.linear:
        return None
    layer = readers[0].layer
    channels = 1 if call.layer.data_format == "channels_first" else 3
    if type(layer) is not keras.layers.BatchNormalization or layer.axis % 4 != channels:
        return None
    return layer if graph.times_called()[id(layer)] == 1 else None


def _pairs(
    parent: Any, call: Call, model: Any, seen: int, batches: list[list[Any]]
) -> Iterator[tuple[Any, Any]]:
    """What the substitute sees and what the convolution gives without its bias."""
    conv, first = call.layer, call.layer.data_format == "channels_first"
    theirs, ours = probe(parent, call.inputs), probe(model, {seen})
    kernel = keras.ops.cast(conv.kernel, "float32")
    for batch in batches:
        given = keras.ops.cast(theirs(batch)[call.inputs[0]], "float32")
        y = as_array(conv.convolution_op(given, kernel), first)
        if not np.isfinite(y).all():
            raise TrainingError(
                f"lcrm(inherit=true): what {call.path!r} computes from the training samples holds "
                "NaN or infinite values; check the model and the scale of the data."
            )
        yield as_array(ours(batch)[seen], first), y


def _moments(
    kept: Kept,
    call: Call,
    pairs: Callable[[], Iterator[tuple[Any, Any]]],
    images: int,
    windows: bool,
    centres: bool,
) -> tuple[Moments | None, Moments | None]:
    key = (call.path, windows, centres)
    if key not in kept:
        kept[key] = gather(
            pairs(), call.layer, call.input_shapes[0], images, windows=windows, centres=centres
        )
    return kept[key]


def _following(graph: Graph, call: Call, chosen: Mapping[str, Any]) -> Followers | str:
    """Whom another order of the outputs reaches, or where it cannot be followed."""
    if call.layer.data_format == "channels_first":
        return "channels_first"
    try:
        return followers(graph, call.outputs[0], np.arange(call.layer.filters), set(chosen))
    except LookupError as stop:
        return str(stop.args[0])


def _put(call: Call, found: Fitted, made: Calls) -> None:
    for name, weights in found.weights.items():
        made[call.path + name].layer.set_weights(weights)


def _reorder(
    graph: Graph,
    call: Call,
    order: Any,
    chosen: Mapping[str, Any],
    made: Calls,
    orders: dict[str, Any],
) -> None:
    reached = followers(graph, call.outputs[0], order, set(chosen))
    for path, axes in reached.weights.items():
        reorder(made[path].layer, axes)
    for path, mine in reached.refitted.items():
        orders[path] = orders[path][mine] if path in orders else mine
