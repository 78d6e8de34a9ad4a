"""Whether a tf_keras model computes what the Keras 3 model behind it does."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from edgekit_converters.errors import RewriteError
from edgekit_converters.graph import inner_layers, read_graph
from edgekit_converters.keras2.carried import mask_of
from edgekit_converters.keras2.translation import KEEPS_MASK
from edgekit_converters.keras2.walk import Site, sole_argument, walk

_SIZES = (32, 96, 224)
"""What is tried for open axes, one after the other: a small one may be too small for the model."""
_BATCH = 2
_HALVES = ("float16", "bfloat16")
_TOLERANCE, _OF_HALVES = 1e-5, 0.05
"""What outputs may differ by, relative to their range; more where weights have half precision."""


@dataclass(frozen=True)
class Sample:
    """A Keras 3 model's outputs on random inputs.

    `carry` are the operations (by `id`) whose calls tf_keras cannot make in the same way.
    """

    model: Any
    inputs: list[Any]
    outputs: list[Any]
    carry: frozenset[int]
    tolerance: float


def run_sample(model: Any) -> Sample:
    """Runs the model on random inputs.

    Raises:
        RewriteError: the model itself fails on them.
    """
    for size in _SIZES:
        try:
            return _run_sample(model, _random_inputs(model, size))
        except (ValueError, tf.errors.OpError) as error:
            failure = error
    raise RewriteError(
        f"{model.name!r} cannot be brought to TFMOT: it fails on random inputs of the shapes "
        f"{[tuple(tensor.shape) for tensor in model.inputs]}. Give open axes a size. TensorFlow "
        f"says: {str(failure).splitlines()[-1][:200]}"
    ) from failure


def _run_sample(model: Any, inputs: list[Any]) -> Sample:
    carry: set[int] = set()

    def visit(site: Site, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not _plain(site, args, kwargs):
            carry.add(id(site.operation))
        return site.infer(args, kwargs)

    with _full_precision(model), _unmoved(model):
        outputs = walk(model, [tf.constant(value) for value in inputs], visit)
    halves = any(weight.dtype in _HALVES for weight in model.weights)
    tolerance = _OF_HALVES if halves else _TOLERANCE
    return Sample(
        model, inputs, [np.asarray(value) for value in outputs], frozenset(carry), tolerance
    )


def difference(model: Any, sample: Sample) -> float:
    """The largest difference of any output of the tf_keras model, relative to its range."""
    inputs = [tf.constant(value) for value in sample.inputs]
    try:
        with (
            _full_precision(sample.model),
            _unmoved(sample.model),
            plain_normalisation(model.layers),
        ):
            after = tf.nest.flatten(model(_one(inputs), training=False))
            return max(map(_relative, sample.outputs, map(np.asarray, after)))
    except (ValueError, tf.errors.OpError):
        # TensorFlow has no kernel for some combinations on a CPU.
        return float("inf")


def differing(sample: Sample, parts: Mapping[int, Sequence[Any]]) -> set[int]:
    """The operations (by `id`) whose `parts` do not compute the same on what reaches them."""
    found = set()

    def visit(site: Site, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        expected = site.infer(args, kwargs)
        if id(site.operation) in parts:
            value = sole_argument(args, kwargs)
            try:
                for part in parts[id(site.operation)]:
                    value = part(value)
                same = _relative(np.asarray(expected), np.asarray(value)) <= sample.tolerance
            except (ValueError, tf.errors.OpError):
                same = False
            if not same:
                found.add(id(site.operation))
        return expected

    every = [part for made in parts.values() for part in made]
    with _full_precision(sample.model), _unmoved(sample.model), plain_normalisation(every):
        walk(sample.model, [tf.constant(value) for value in sample.inputs], visit)
    return found


@contextlib.contextmanager
def plain_normalisation(layers: Sequence[Any]) -> Iterator[None]:
    """Lets tf_keras' batch normalisations compute as Keras 3's do.

    Their fused kernel sums in another order, and what that rounds grows from layer to layer: some
    1e-5 of the range at the end of a deep network.
    """
    fused = [layer for layer in layers if getattr(layer, "fused", False)]
    for layer in fused:
        layer.fused = False
    try:
        yield
    finally:
        for layer in fused:
            layer.fused = True


def _plain(site: Site, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether the call has nothing but tensors in one argument, and no mask that matters."""
    flat = keras.tree.flatten(sole_argument(args, kwargs))
    masked = any(mask_of(value) is not None for value in flat)
    return all(map(tf.is_tensor, flat)) and (
        not masked or type(site.operation).__name__ in KEEPS_MASK
    )


def _random_inputs(model: Any, size: int) -> list[Any]:
    generator, limits = np.random.default_rng(0), _limits(model)
    values = []
    for tensor, limit in zip(model.inputs, limits, strict=True):
        shape = (tensor.shape[0] or _BATCH, *(axis or size for axis in tensor.shape[1:]))
        if "float" in tensor.dtype:
            values.append(generator.random(shape).astype(tensor.dtype))
        elif tensor.dtype == "string":
            values.append(generator.integers(0, 10, shape).astype(str).astype(object))
        else:
            values.append(generator.integers(0, limit, shape).astype(tensor.dtype))
    return values


def _limits(model: Any) -> list[int]:
    """For each input the whole numbers that it may hold: an embedding has so many rows."""
    graph = read_graph(model)
    rows: dict[int, int] = {}
    for call in graph.calls:
        limit = getattr(call.layer, "input_dim", None) or getattr(call.layer, "num_tokens", None)
        for tensor in call.inputs:
            if isinstance(limit, int):
                rows[tensor] = min(limit, rows.get(tensor, limit))
    return [
        rows.get(number, 256 if tensor.dtype == "uint8" else 2)
        for number, tensor in zip(graph.inputs, model.inputs, strict=True)
    ]


@contextlib.contextmanager
def _full_precision(model: Any) -> Iterator[None]:
    """Lets layers of mixed precision compute in float32 for a while, as tf_keras' do here."""
    policies = [
        (layer, layer.dtype_policy)
        for layer in inner_layers(model)
        if layer.compute_dtype in _HALVES
        and layer.variable_dtype not in _HALVES
        and not layer.quantization_mode
    ]
    for layer, _ in policies:
        layer.dtype_policy = "float32"
    try:
        yield
    finally:
        for layer, policy in policies:
            layer.dtype_policy = policy


@contextlib.contextmanager
def _unmoved(model: Any) -> Iterator[None]:
    """Puts back what layers count or draw: the state of random generators, for one."""
    before = [(variable, variable.numpy()) for variable in model.non_trainable_variables]
    try:
        yield
    finally:
        for variable, value in before:
            variable.assign(value)


def _relative(expected: Any, got: Any) -> float:
    if expected.dtype.kind in "OSU":
        return 0.0 if np.array_equal(expected, got) else float("inf")
    expected, got = (np.asarray(value).astype(np.float64) for value in (expected, got))
    if expected.shape != got.shape:
        return float("inf")
    differs = ~((expected == got) | (np.isnan(expected) & np.isnan(got)))
    if not differs.any():
        return 0.0
    scale = max(float(np.abs(expected[np.isfinite(expected)]).max(initial=0.0)), 1e-6)
    error = float(np.abs(expected - got)[differs].max()) / scale
    return error if np.isfinite(error) else float("inf")


def _one(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values
