"""A Keras 3 model as a tf_keras model, and its weights back: the way to TFMOT.

The graph is replayed call by call, nested models opened. Layers that TFMOT can work on become
tf_keras layers; every other one is carried: a tf_keras layer that calls the Keras 3 layer itself.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tf_keras

from edgekit_converters.errors import RewriteError
from edgekit_converters.graph import read_graph
from edgekit_converters.keras2.agreement import difference, differing, run_sample
from edgekit_converters.keras2.carried import Carried, CarriedCall, is_symbolic, lend
from edgekit_converters.keras2.translation import translate
from edgekit_converters.keras2.walk import Site, sole_argument, walk
from edgekit_converters.rewriting import copy_model

__all__ = ["Bridged", "Carried", "to_tf_keras", "weights_back"]


@dataclass(frozen=True)
class Bridged:
    """A tf_keras model and the Keras 3 copy that it was made from.

    `layers` holds, by the Keras 3 layer's path, the tf_keras layers that stand for it. `carried`
    names the layers and operations that TFMOT does not see; "x.activation" is the activation
    function of the layer x, the rest of which it sees. `paths` gives the Keras 3 path by the name
    of each tf_keras layer, carried ones included.
    """

    model: Any
    copy: Any
    layers: Mapping[str, tuple[Any, ...]]
    carried: tuple[str, ...]
    paths: Mapping[str, str]


def to_tf_keras(model: Any) -> Bridged:
    """Rebuilds the model with tf_keras and compares the outputs; the given model stays as it is.

    The comparison computes in float32 where the model's weights are so (TFMOT knows nothing else),
    and with the plain kernel for batch normalisation that Keras 3 has.

    Raises:
        RewriteError: the rebuilt model computes something else, or the model cannot be run.
    """
    copy = copy_model(model)
    sample = run_sample(copy)
    replay = _replay(copy, set(sample.carry))
    found = difference(replay.bridged.model, sample)
    if found > sample.tolerance:
        # A layer whose meaning differs between the two Kerases is carried instead.
        replay = _replay(copy, replay.carry | differing(sample, replay.parts))
        found = difference(replay.bridged.model, sample)
    if found <= sample.tolerance:
        return replay.bridged
    raise RewriteError(
        f"{model.name!r} cannot be brought to TFMOT: rebuilt with tf_keras its outputs differ by "
        f"{found:.2g} of their range (allowed {sample.tolerance:g}). Recipes without prune, "
        "cluster and qat work; please report the model."
    )


def weights_back(bridged: Bridged, trained: Any) -> Any:
    """The Keras 3 copy with the weights of `trained`, a model of the same layers by name.

    Carried layers need nothing: tf_keras has trained the copy's own weights.
    """
    by_name = {layer.name: layer for layer in trained.layers}
    targets = {call.path: call.layer for call in read_graph(bridged.copy).calls}
    for path, made in bridged.layers.items():
        values = [value for layer in made for value in by_name[layer.name].get_weights()]
        # An activation that is a layer has weights behind these, and keeps them.
        for variable, value in zip(targets[path].weights, values, strict=False):
            # Weights of double precision that have not moved must not lose their last bits.
            if not np.array_equal(variable.numpy().astype(value.dtype), value):
                variable.assign(value)
    return bridged.copy


@dataclass(frozen=True)
class _Replayed:
    bridged: Bridged
    parts: Mapping[int, tuple[Any, ...]]
    carry: set[int]


class _MisfitError(Exception):
    """tf_keras refuses a layer, or one of its calls."""

    def __init__(self, operation: Any) -> None:
        super().__init__()
        self.operation = operation


def _replay(copy: Any, carry: set[int]) -> _Replayed:
    """Builds the tf_keras model; the operations in `carry` (by `id`) are called as they are."""
    while True:
        replay = _Replay(carry)
        try:
            return _Replayed(replay.run(copy), replay.parts, carry)
        except _MisfitError as misfit:
            carry = carry | {id(misfit.operation)}


@dataclass(frozen=True)
class _Masked:
    tensor: Any
    mask: Any


class _Replay:
    """One pass over a Keras 3 graph; shared layers are made once.

    `parts` holds what stands for an operation (by `id`), `first_paths` what it was called by first,
    `masks` the mask of a tf_keras tensor (by `id`).
    """

    def __init__(self, carry: set[int]) -> None:
        self.carry = carry
        self.parts: dict[int, tuple[Any, ...]] = {}
        self.first_paths: dict[int, str] = {}
        self.masks: dict[int, _Masked] = {}
        self.carried: set[str] = set()
        self.layers: dict[str, tuple[Any, ...]] = {}
        self.paths: dict[str, str] = {}
        self._names: set[str] = set()

    def run(self, copy: Any) -> Bridged:
        inputs = [
            tf_keras.Input(
                batch_shape=(None, *tensor.shape[1:]),
                dtype=tensor.dtype,
                name=self._name(tensor.name),
            )
            for tensor in copy.inputs
        ]
        outputs = walk(copy, inputs, self._visit)
        # TFMOT's reader of graphs wants every output to be made by a layer of its own.
        named = [
            tf_keras.layers.Activation("linear", name=self._name(f"edgekit.output_{i}"))(tensor)
            if any(tensor is other for other in (*inputs, *outputs[:i]))
            else tensor
            for i, tensor in enumerate(outputs)
        ]
        model = tf_keras.Model(_one(inputs), _one(named), name=self._name(copy.name))
        targets = {call.path: call.layer for call in read_graph(copy).calls}
        for path, made in self.layers.items():
            values = targets[path].get_weights()
            for layer in made:
                count = len(layer.weights)
                layer.set_weights(values[:count])
                values = values[count:]
        return Bridged(model, copy, self.layers, tuple(sorted(self.carried)), self.paths)

    def _visit(self, site: Site, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        path = self.first_paths.setdefault(id(site.operation), site.path)
        if id(site.operation) not in self.carry:
            try:
                parts = self._parts(site.operation, path)
                if parts:
                    return self._chain(parts, path, sole_argument(args, kwargs))
            except (TypeError, ValueError) as error:
                raise _MisfitError(site.operation) from error
        first = path not in self.carried
        self.carried.add(path)
        tensors = [value for value in keras.tree.flatten((args, kwargs)) if is_symbolic(value)]
        masked = tuple(i for i, tensor in enumerate(tensors) if id(tensor) in self.masks)
        masks = [self.masks[id(tensors[i])].mask for i in masked]
        call = CarriedCall(site.operation, args, kwargs, masked, first=first)
        return self._carry(call, path, path, [*tensors, *masks])

    def _parts(self, operation: Any, path: str) -> tuple[Any, ...]:
        """What stands for an operation, made at its first call; empty if it has to be carried."""
        if id(operation) not in self.parts:
            made = translate(operation, lambda suffix: self._name(f"{path}{suffix}"))
            if made is None:
                return ()
            self.parts[id(operation)] = made
            layers = tuple(part for part in made if isinstance(part, tf_keras.layers.Layer))
            self.layers[path] = layers
            self.paths.update({layer.name: path for layer in layers})
        return self.parts[id(operation)]

    def _chain(self, parts: tuple[Any, ...], path: str, value: Any) -> Any:
        result = list(value) if isinstance(value, tuple) else value
        for part in parts:
            if not isinstance(part, tf_keras.layers.Layer):
                call = CarriedCall(part, (result,), {})
                result = self._carry(call, f"{path}.activation", path, [result])
                self.carried.add(f"{path}.activation")
            else:
                result = part(result)
        if id(value) in self.masks:
            self.masks[id(result)] = _Masked(result, self.masks[id(value)].mask)
        return result

    def _carry(self, call: CarriedCall, label: str, path: str, tensors: list[Any]) -> Any:
        # The same layer may be called several times, a tf_keras layer name stands once.
        layer = Carried(lend(call, label), name=self._name(f"carried.{label}"))
        self.paths[layer.name] = path
        flat = keras.tree.flatten(layer(_one(tensors)))
        count = len(flat) - len(call.masked_outputs)
        for i, mask in zip(call.masked_outputs, flat[count:], strict=True):
            self.masks[id(flat[i])] = _Masked(flat[i], mask)
        return _one(flat[:count])

    def _name(self, wanted: str) -> str:
        """A name that stands once and that TensorFlow takes for a scope."""
        name = re.sub(r"[^A-Za-z0-9_.>-]", "_", wanted.replace("/", "."))
        name = name if re.match(r"[A-Za-z0-9.]", name) else f".{name}"
        numbered = (f"{name}_{i}" for i in itertools.count(1))
        while name in self._names:
            name = next(numbered)
        self._names.add(name)
        return name


def _one(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values
