"""Running cascades on tiny data, and counting what they left in models and files."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from keras import layers

from edgekit_converters import Outcome, Training, TrainingData, parse_recipe, run_pass
from edgekit_converters.graph import read_graph

FAST = Training(tuning_epochs=1, batch_size=16, deterministic=True)
CLASSES = 3

_NAMES = {code: name for name, code in vars(schema.BuiltinOperator).items() if name.isupper()}
_TYPES = {code: name for name, code in vars(schema.TensorType).items() if name.isupper()}
_WEIGHED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")


@cache
def data(count: int = 48, size: int = 8, channels: int = 4) -> TrainingData:
    """Images whose class says which channel is bright."""
    rng = np.random.default_rng(7)
    labels = rng.integers(0, CLASSES, count)
    images = rng.random((count, size, size, channels)).astype(np.float32)
    images[np.arange(count), :, :, labels] += 1.0
    held = count // 3
    return TrainingData((images[held:], labels[held:]), (images[:held], labels[:held]), CLASSES)


def chain(seed: int = 1) -> Any:
    """Convolution, depthwise and pointwise convolution, hidden and last dense layer."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((8, 8, 4), name="image"),
            layers.Conv2D(8, 3, name="conv"),
            layers.BatchNormalization(name="bn"),
            layers.ReLU(name="relu"),
            layers.DepthwiseConv2D(3, name="depthwise"),
            layers.Conv2D(12, 1, activation="relu", name="pointwise"),
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dense(10, activation="relu", name="hidden"),
            layers.Dense(CLASSES, activation="softmax", name="out"),
        ],
        name="chain",
    )


def cascade(
    model: Any, recipe: str, training: Training = FAST, given: TrainingData | None = None
) -> list[Outcome]:
    """What each pass of the recipe did, one behind another."""
    outcomes: list[Outcome] = []
    passes = parse_recipe(recipe).rewrites
    for index, step in enumerate(passes):
        outcomes.append(
            run_pass(
                outcomes[-1].model if outcomes else model, step,
                before=passes[:index], data=given or data(), training=training,
            )
        )  # fmt: skip
    return outcomes


def kernels(model: Any) -> dict[str, np.ndarray]:
    """Every kernel by its layer's path."""
    return {
        call.path: np.asarray(call.layer.kernel)
        for call in read_graph(model).calls
        if getattr(call.layer, "kernel", None) is not None
    }


def zeros(kernel: np.ndarray) -> int:
    return int((kernel == 0).sum())


def distinct(kernel: np.ndarray) -> int:
    return len(np.unique(kernel))


def per_channel(kernel: np.ndarray) -> int:
    """The most distinct values that one output channel (last axis) has."""
    return max(distinct(kernel[..., channel]) for channel in range(kernel.shape[-1]))


def operators(path: Path) -> list[str]:
    """The file's operators in order, a float output marked: `CONV_2D`, `MUL:FLOAT32`."""
    model, graph = _read(path)
    return [
        name + ("" if kind in ("INT8", "INT32") else f":{kind}")
        for name, kind in (
            (_name(model, operator), _TYPES[graph.tensors[operator.outputs[0]].type])
            for operator in graph.operators
        )
    ]


def file_kernels(path: Path) -> list[np.ndarray]:
    """The kernels of the file's operators in order, the output channel as the last axis."""
    model, graph = _read(path)
    found = []
    for operator in graph.operators:
        name = _name(model, operator)
        if name not in _WEIGHED:
            continue
        tensor = graph.tensors[operator.inputs[1]]
        content = model.buffers[tensor.buffer].data
        if content is None:
            continue
        dtype = _TYPES[tensor.type].lower()
        kernel = np.frombuffer(bytes(content), dtype).reshape(tensor.shape)
        found.append(kernel if name == "DEPTHWISE_CONV_2D" else np.moveaxis(kernel, 0, -1))
    return found


def _read(path: Path) -> tuple[Any, Any]:
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    return model, model.subgraphs[0]


def _name(model: Any, operator: Any) -> str:
    code = model.operatorCodes[operator.opcodeIndex]
    return _NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]
