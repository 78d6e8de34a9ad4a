"""Running values through a Keras 3 model call by call, nested models opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from edgekit_converters.graph import functional, is_model, run_graph


@dataclass(frozen=True)
class Site:
    """Where an operation is called: the names of the models around it are in the path."""

    operation: Any
    path: str

    def infer(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Calls the operation as the model does in inference."""
        if isinstance(self.operation, keras.layers.Layer):
            return self.operation(*args, **kwargs, training=False)
        return self.operation(*args, **kwargs)


def sole_argument(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The inputs of a call that has no other argument; None for any other call."""
    # A copied model has its masks as arguments, of which most are None.
    given = {key: value for key, value in kwargs.items() if value is not None}
    if len(args) == 1 and not given:
        return args[0]
    return given["inputs"] if not args and set(given) == {"inputs"} else None


Visit = Callable[[Site, tuple[Any, ...], dict[str, Any]], Any]
"""What is done at a call, with its arguments: gives the outputs that go on through the graph."""


def walk(model: Any, inputs: Any, visit: Visit) -> list[Any]:
    """Visits every call in the order of execution and gives the model's outputs, flat."""
    return list(keras.tree.flatten(_walk(model, "", inputs, visit)))


def _walk(model: Any, prefix: str, inputs: Any, visit: Visit) -> Any:
    def operate(operation: Any) -> Callable[..., Any]:
        path = f"{prefix}{operation.name}"

        def call(*args: Any, **kwargs: Any) -> Any:
            if isinstance(operation, keras.layers.Layer):
                # What a model runs as outweighs what its author wrote at the call: so does Keras 3.
                kwargs.pop("training", None)
            if is_model(operation):
                value = args[0] if args else kwargs["inputs"]
                return _walk(operation, f"{path}/", value, visit)
            return visit(Site(operation, path), args, kwargs)

        return call

    root = functional(model)
    return run_graph(root, _in_order(root, inputs), operate)


def _in_order(model: Any, inputs: Any) -> Any:
    """Inputs given by name as the model counts them; Keras sorts a dictionary by its keys."""
    if isinstance(inputs, dict) and not isinstance(model.input, dict):
        return [inputs[tensor.name] for tensor in model.inputs]
    return inputs
