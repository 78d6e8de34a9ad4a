"""Keras 2 models (`.h5`, `.keras`) as Keras 3 models.

The graph is replayed call by call with Keras 3's layers: Keras 3's own reader numbers the calls of
nested models differently and refuses such files.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import keras
import numpy as np

from edgekit_converters.errors import ModelLoadError

_TOLERANCE = 1e-4
_OPERATIONS = {
    "__operators__.add": keras.ops.add,
    "math.add": keras.ops.add,
    "math.multiply": keras.ops.multiply,
    "math.sigmoid": keras.ops.sigmoid,
    "math.subtract": keras.ops.subtract,
    "math.tanh": keras.ops.tanh,
    "math.truediv": keras.ops.true_divide,
    "nn.relu": keras.ops.relu,
    "nn.relu6": keras.ops.relu6,
    "nn.softmax": keras.ops.softmax,
}
"""What bare TensorFlow operations between Keras 2 layers are in Keras 3."""


def load(path: Path, safe: bool) -> Any:
    """Loads with tf_keras, rebuilds in Keras 3, copies the weights and compares the outputs.

    Raises:
        ModelLoadError: the model is subclassed, or the rebuilt one computes something else.
    """
    import tf_keras

    with tf_keras.saving.custom_object_scope(keras.saving.get_custom_objects()):
        old = tf_keras.models.load_model(path, compile=False, safe_mode=safe)
    new = _Replay(path).model(old)
    _compare(path, old, new)
    return new


class _Replay:
    """One pass over a Keras 2 graph; shared layers are made once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.layers: dict[int, Any] = {}

    def model(self, old: Any) -> Any:
        if type(old).__name__ not in {"Functional", "Sequential"} or not old.built:
            raise ModelLoadError(
                f"{self.path} holds {type(old).__name__} {old.name!r}, a subclassed or unbuilt "
                "Keras 2 model whose layers cannot be seen; rebuild it as functional and save that."
            )
        tensors = {
            id(tensor): keras.Input(
                batch_shape=(None, *tensor.shape[1:]),
                dtype=tensor.dtype.name,
                name=tensor.node.layer.name,
            )
            for tensor in old.inputs
        }
        inputs = [tensors[id(tensor)] for tensor in old.inputs]
        for depth in sorted(old._nodes_by_depth, reverse=True):
            for node in old._nodes_by_depth[depth]:
                if not node.is_input:
                    self._call(node, tensors)
        outputs = [tensors[id(tensor)] for tensor in old.outputs]
        return keras.Model(_one(inputs), _one(outputs), name=old.name)

    def _call(self, node: Any, tensors: dict[int, Any]) -> None:
        args, kwargs = _swap((node.call_args, node.call_kwargs), tensors)
        kwargs = {key: value for key, value in kwargs.items() if value is not None}
        old = node.layer
        if type(old).__name__ == "TFOpLambda":
            kwargs.pop("name", None)
            outputs = self._operation(old)(*args, *kwargs.values())
        else:
            new = self._layer(old)
            outputs = new(*args, **kwargs)
            new.set_weights(old.get_weights())
        for before, after in zip(_flat(node.outputs), _flat(outputs), strict=True):
            tensors[id(before)] = after

    def _operation(self, old: Any) -> Any:
        name = old.get_config().get("function", old.name)
        if name not in _OPERATIONS:
            raise ModelLoadError(
                f"{self.path} applies the bare TensorFlow operation {name!r} between its layers, "
                "which has no Keras 3 counterpart here; use a layer for it and save it again."
            )
        return _OPERATIONS[name]

    def _layer(self, old: Any) -> Any:
        if id(old) not in self.layers:
            if type(old).__name__ in {"Functional", "Sequential"}:
                self.layers[id(old)] = self.model(old)
            elif type(old).__name__ == "Lambda":
                self.layers[id(old)] = keras.layers.Lambda(
                    old.function, arguments=old.arguments, name=old.name
                )
            else:
                name = type(old).__name__
                custom = keras.saving.get_custom_objects()
                made = custom.get(name) or getattr(keras.layers, name, None)
                if made is None:
                    raise ModelLoadError(
                        f"{self.path} uses the layer {name}, which Keras 3 no longer has; "
                        "replace it and save the model again."
                    )
                config = _translate({"class_name": name, "config": old.get_config()})["config"]
                self.layers[id(old)] = made.from_config(config)
        return self.layers[id(old)]


def _translate(value: Any) -> Any:
    """Layer configurations without the keys that Keras 3's layers refuse."""
    if isinstance(value, list):
        return [_translate(item) for item in value]
    if not isinstance(value, dict):
        return value
    translated = {key: _translate(item) for key, item in value.items()}
    layer = getattr(keras.layers, str(value.get("class_name")), None)
    settings = translated.get("config")
    if inspect.isclass(layer) and isinstance(settings, dict):
        if "alpha" in settings and issubclass(layer, keras.layers.LeakyReLU):
            settings["negative_slope"] = float(settings["alpha"])
        if layer is keras.layers.BatchNormalization and isinstance(settings.get("axis"), list):
            (settings["axis"],) = settings["axis"]
        known = _arguments(layer)
        translated["config"] = {key: item for key, item in settings.items() if key in known}
    return {key: item for key, item in translated.items() if key != "build_config"}


def _arguments(layer: type) -> set[str]:
    """The names that the constructors of the layer and its bases take."""
    names = {"layers", "layer", "name", "dtype", "trainable"}
    for cls in layer.__mro__:
        if "__init__" in vars(cls):
            names.update(inspect.signature(vars(cls)["__init__"]).parameters)
    return names


def _swap(value: Any, tensors: dict[int, Any]) -> Any:
    if id(value) in tensors:
        return tensors[id(value)]
    if isinstance(value, list | tuple):
        return type(value)(_swap(item, tensors) for item in value)
    if isinstance(value, dict):
        return {key: _swap(item, tensors) for key, item in value.items()}
    return value


def _flat(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _one(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values


def _compare(path: Path, old: Any, new: Any) -> None:
    generator = np.random.default_rng(0)
    inputs = [
        generator.uniform(size=[1, *(size or 32 for size in tensor.shape[1:])]).astype(tensor.dtype)
        for tensor in new.inputs
    ]
    before, after = (_outputs(model, inputs) for model in (old, new))
    for index, (expected, got) in enumerate(zip(before, after, strict=True)):
        scale = max(float(np.abs(expected).max()), 1e-6)
        error = float(np.abs(expected - got).max()) / scale
        if not error <= _TOLERANCE:
            raise ModelLoadError(
                f"{path}: Keras {keras.__version__} computes output {index} differently from "
                f"Keras 2 (relative difference {error:.2g}, allowed {_TOLERANCE:g}); a layer "
                "changed its meaning. Rebuild the model in Keras 3 and train it there."
            )


def _outputs(model: Any, inputs: list[Any]) -> list[Any]:
    return [np.asarray(tensor) for tensor in _flat(model(_one(inputs), training=False))]
