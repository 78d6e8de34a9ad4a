"""A Keras graph as plain values: every call of every layer in order, nested models opened.

This is the one module that reads Keras' private graph attributes.
"""

from __future__ import annotations

import inspect
import itertools
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import keras

from edgekit_converters.errors import ModelLoadError

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Call:
    """One call of one layer: who, on which tensors, with which shapes (batch axis included)."""

    layer: Any
    path: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    input_shapes: tuple[Shape, ...]
    output_shapes: tuple[Shape, ...]


@dataclass(frozen=True)
class Graph:
    """All calls in execution order; tensors are numbers."""

    calls: tuple[Call, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def times_called(self) -> Counter[int]:
        """How often each layer (by `id`) is called: more than once means shared."""
        return Counter(id(call.layer) for call in self.calls)


def is_model(layer: Any) -> bool:
    """Whether the layer is itself a model whose graph can be opened.

    A class of the user's own counts as long as it only builds a functional model: one with a call()
    of its own does something that the graph does not show.
    """
    functional: list[Any] = [cls for cls in type(layer).__mro__ if cls.__name__ == "Functional"]
    return isinstance(layer, keras.Sequential) or (
        bool(functional) and type(layer).call is functional[0].call
    )


def functional(model: Any) -> Any:
    """The Functional graph behind a Sequential or Functional model.

    Raises:
        ModelLoadError: the model is subclassed or was never built.
    """
    if isinstance(model, keras.Sequential):
        inner = model._functional
        if inner is None:
            raise ModelLoadError(
                f"The Sequential model {model.name!r} has no input shape, so its layers have no "
                "weights yet: start it with keras.Input(shape=…) and save it again."
            )
        return inner
    if not is_model(model):
        raise ModelLoadError(
            f"{model.name!r} is a subclassed model ({type(model).__name__}): its layers are hidden "
            "in call() and cannot be rewritten. Rebuild it as a functional model: "
            "x = keras.Input(shape=…); keras.Model(x, model.call(x)), and save that."
        )
    return model


def check_graph(model: Any) -> None:
    """Refuses what is no Keras model, or one whose layers cannot be seen.

    Raises:
        ModelLoadError: with what to do.
    """
    if not isinstance(model, keras.Model):
        raise ModelLoadError(
            f"A Keras 3 model is needed, not {type(model).__name__}; give a keras.Model (built "
            "with `import keras`), or the path of a .keras or .h5 file."
        )
    functional(model)


def inner_layers(layer: Any) -> list[Any]:
    """The layer itself and, for wrappers and models, all layers inside it."""
    return list(layer._flatten_layers()) if isinstance(layer, keras.layers.Layer) else []


def read_graph(model: Any) -> Graph:
    """Lists every layer call of a Sequential or Functional model, nested models opened."""
    numbers = itertools.count()
    root = functional(model)
    tensors = {id(tensor): next(numbers) for tensor in root.inputs}
    inputs = tuple(tensors[id(tensor)] for tensor in root.inputs)
    calls = tuple(call for call, _ in _calls(root, "", tensors, numbers))
    return Graph(calls, inputs, tuple(tensors[id(tensor)] for tensor in root.outputs))


Probe = Callable[[list[Any]], dict[int, Any]]
"""Takes a batch, one array per model input, and gives tensors of a graph by their numbers."""


def probe(
    model: Any,
    wanted: Collection[int],
    instead: Mapping[str, Callable[[Any], Any]] | None = None,
) -> Probe:
    """How to compute single tensors in inference, numbered as in `read_graph`, and no others.

    `instead` holds functions tensor -> tensor that take the place of layers, by path.
    """
    instead, numbers, root = instead or {}, itertools.count(), functional(model)
    tensors = {id(tensor): next(numbers) for tensor in root.inputs}
    inputs = [(tensors[id(tensor)], tensor.dtype) for tensor in root.inputs]
    needed, steps = set(wanted), []
    for call, node in reversed(list(_calls(root, "", tensors, numbers))):
        if needed.intersection(call.outputs):
            needed.update(call.inputs)
            steps.append((call, node, instead.get(call.path) or _inference(call.layer)))
    steps.reverse()
    last_use = {n: i for i, (call, _, _) in enumerate(steps) for n in call.inputs}
    last_use |= dict.fromkeys(wanted, len(steps))

    def run(batch: list[Any]) -> dict[int, Any]:
        values = {
            number: keras.ops.convert_to_tensor(array, dtype)
            for (number, dtype), array in zip(inputs, batch, strict=True)
        }
        for index, (call, node, operate) in enumerate(steps):
            given = zip(node.input_tensors, call.inputs, strict=True)
            args, kwargs = node.arguments.fill_in({id(t): values[n] for t, n in given})
            outputs = keras.tree.flatten(operate(*args, **kwargs))
            values |= zip(call.outputs, outputs, strict=True)
            values = {n: value for n, value in values.items() if last_use.get(n, -1) > index}
        return {number: values[number] for number in wanted}

    return run


def _inference(layer: Any) -> Callable[..., Any]:
    if "training" in inspect.signature(layer.call).parameters:
        return partial(layer, training=False)
    return cast(Callable[..., Any], layer)


def run_graph(model: Any, inputs: Any, operate: Callable[[Any], Callable[..., Any]]) -> Any:
    """Runs values of any kind through the graph of a functional model.

    `operate` gives, for each operation, the function that takes its place.
    """
    return model._run_through_graph(inputs, operation_fn=operate)


def _calls(
    model: Any, prefix: str, tensors: dict[int, int], numbers: Iterator[int]
) -> Iterator[tuple[Call, Any]]:
    """Every call with Keras' node of it."""
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if node.is_input or not node.operation:
                continue
            layer = node.operation
            if is_model(layer) and (not isinstance(layer, keras.Sequential) or layer._functional):
                inner = functional(layer)
                scope = dict(
                    zip(
                        (id(tensor) for tensor in inner.inputs),
                        (tensors[id(tensor)] for tensor in node.input_tensors),
                        strict=True,
                    )
                )
                yield from _calls(inner, f"{prefix}{layer.name}/", scope, numbers)
                for outer, tensor in zip(node.outputs, inner.outputs, strict=True):
                    tensors[id(outer)] = scope[id(tensor)]
                continue
            for tensor in node.outputs:
                tensors[id(tensor)] = next(numbers)
            call = Call(
                layer=layer,
                path=f"{prefix}{layer.name}",
                inputs=tuple(tensors[id(tensor)] for tensor in node.input_tensors),
                outputs=tuple(tensors[id(tensor)] for tensor in node.outputs),
                input_shapes=tuple(tuple(tensor.shape) for tensor in node.input_tensors),
                output_shapes=tuple(tuple(tensor.shape) for tensor in node.outputs),
            )
            yield call, node


def input_keys(model: Any) -> list[str]:
    """The file's input names, unique; Keras numbers unnamed inputs anew in every process."""
    return _unique(["input"] if len(model.inputs) == 1 else [t.name for t in model.inputs])


def output_keys(model: Any) -> list[str]:
    """The file's output names, unique."""
    return _unique(["output"] if len(model.outputs) == 1 else model.output_names)


def _unique(given: list[str]) -> list[str]:
    names = [re.sub(r"\W", "_", name) for name in given]
    return [name if names.count(name) == 1 else f"{name}_{i}" for i, name in enumerate(names)]
