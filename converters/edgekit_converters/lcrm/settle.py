"""What stays of a model, adapted to the substitutes before it: batch norms, first dense layer."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from edgekit_converters.graph import Call, Graph, probe
from edgekit_converters.lcrm.batches import as_array, downstream, upstream, weighted_means

RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
_DENSE_BYTES = 2**28
_HELD_OUT = 5


def unsettled(graph: Graph, changed: set[int]) -> list[Call]:
    """The batch normalisations that see changed tensors and may be given new statistics.

    Frozen ones and those called more than once may not.
    """
    times, reached = graph.times_called(), downstream(graph, changed)
    return [
        call
        for call in graph.calls
        if type(call.layer) is keras.layers.BatchNormalization
        and reached.intersection(call.inputs)
        and times[id(call.layer)] == 1
        and call.layer.trainable
    ]


def settle(
    model: Any, graph: Graph, batches: list[list[Any]], calls: list[Call], until: set[int]
) -> list[Call]:
    """Estimates anew those of the normalisations that the tensors `until` are computed from.

    All at once: each normalises by the batch's own statistics meanwhile. Gives the others.
    """
    needed = upstream(graph, until)
    mine = [call for call in calls if needed.intersection(call.outputs)]
    if mine:
        seen: dict[str, list[tuple[int, Any, Any]]] = {call.path: [] for call in mine}
        run = probe(
            model, until, {call.path: _recorder(call.layer, seen[call.path]) for call in mine}
        )
        for batch in batches:
            run(batch)
        for call in mine:
            mean, variance = weighted_means(iter(seen[call.path]))
            call.layer.moving_mean.assign(mean)
            call.layer.moving_variance.assign(variance)
    return [call for call in calls if call not in mine]


def _recorder(layer: Any, seen: list[tuple[int, Any, Any]]) -> Any:
    def normalise(tensor: Any, mask: Any = None) -> Any:
        values = keras.ops.cast(tensor, "float32")
        axis = layer.axis % len(values.shape)
        others = tuple(i for i in range(len(values.shape)) if i != axis)
        mean, variance = keras.ops.moments(values, others)
        count = int(np.prod(values.shape)) // values.shape[axis]
        seen.append((count, np.asarray(mean), np.asarray(variance)))
        result = keras.ops.batch_normalization(
            values, mean, variance, axis,
            offset=keras.ops.cast(layer.beta, "float32") if layer.center else None,
            scale=keras.ops.cast(layer.gamma, "float32") if layer.scale else None,
            epsilon=layer.epsilon,
        )  # fmt: skip
        return keras.ops.cast(result, layer.compute_dtype)

    return normalise


def first_dense(graph: Graph, changed: set[int]) -> Call | None:
    """The first dense layer behind all substitutes, if it can be refitted."""
    reached = downstream(graph, changed)
    last = max(i for i, call in enumerate(graph.calls) if changed.intersection(call.outputs))
    times = graph.times_called()
    for call in graph.calls[last + 1 :]:
        if type(call.layer) is keras.layers.Dense and reached.intersection(call.inputs):
            plain = len(call.input_shapes[0]) == 2 and call.layer.trainable
            return call if plain and times[id(call.layer)] == 1 else None
    return None


def refit_dense(
    parent: Any, parent_call: Call, model: Any, call: Call, batches: list[list[Any]]
) -> str:
    """Refits a dense layer's weights to the parent's outputs before its activation; says how.

    Least squares with a ridge towards the weights that it has: of `RIDGES` the one with the least
    error on every fifth sample, which the others' fit is tried on; none if none is better.
    """
    count = sum(len(batch[0]) for batch in batches)
    inputs, units = call.layer.kernel.shape
    if 4 * count * (inputs + units) > _DENSE_BYTES:
        return (
            f"not refitted: {count} samples of {inputs} inputs take more than "
            f"{_DENSE_BYTES // 2**20} MiB"
        )
    theirs, ours = probe(parent, parent_call.inputs), probe(model, call.inputs)
    x = np.concatenate([as_array(ours(batch)[call.inputs[0]]) for batch in batches])
    wanted = np.concatenate([as_array(theirs(batch)[parent_call.inputs[0]]) for batch in batches])
    wanted = wanted @ np.asarray(parent_call.layer.kernel, np.float32)
    kernel = np.asarray(call.layer.kernel, np.float64)
    bias = np.asarray(call.layer.bias, np.float64) if call.layer.use_bias else None
    if bias is not None:
        wanted = wanted + np.asarray(parent_call.layer.bias, np.float32)
    centre = (x.mean(0), wanted.mean(0)) if bias is not None else (0.0, 0.0)
    x, left = (x - centre[0]).astype(np.float64), (wanted - centre[1]) - (x - centre[0]) @ kernel
    held = np.arange(count) % _HELD_OUT == 0
    before = float((left[held] ** 2).sum())
    tried = [
        (float(((left[held] - x[held] @ change) ** 2).sum()), ridge)
        for ridge in RIDGES
        for change in [_ridge_fit(x[~held], left[~held], ridge)]
    ]
    least, ridge = min(tried)
    change = _ridge_fit(x, left, ridge) if least < before else 0.0
    kernel = kernel + change
    weights = [kernel] if bias is None else [kernel, centre[1] - centre[0] @ kernel]
    call.layer.set_weights(weights)
    varied = (wanted[held] - wanted[~held].mean(0)).astype(np.float64)
    spread = float((varied**2).sum())
    share = 1 - min(least, before) / spread if spread else 1.0
    return f"refitted, explains {share:.1%} of the parent's output on held-out samples"


def _ridge_fit(x: Any, y: Any, ridge: float) -> Any:
    """Ridge regression of centred arrays, through the smaller of both Gram matrices."""
    rows, inputs = x.shape
    if rows < inputs:
        gram = x @ x.T
        gram.flat[:: rows + 1] += ridge * np.trace(gram) / inputs or 1.0
        return x.T @ np.linalg.solve(gram, y)
    gram = x.T @ x
    gram.flat[:: inputs + 1] += ridge * np.trace(gram) / inputs or 1.0
    return np.linalg.solve(gram, x.T @ y)
