"""Small .tflite files, written operator by operator: no converter is needed to know their sizes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import Builder


@dataclass
class File:
    """A graph under construction; places are those of its tensors."""

    tensors: list[Any] = field(default_factory=list)
    buffers: list[Any] = field(default_factory=lambda: [schema.BufferT()])
    operators: list[Any] = field(default_factory=list)
    codes: list[Any] = field(default_factory=list)

    def tensor(self, *shape: int, kind: str = "INT8", name: str = "") -> int:
        found = schema.TensorT()
        found.name = (name or f"tensor {len(self.tensors)}").encode()
        found.shape, found.type = list(shape), getattr(schema.TensorType, kind)
        found.buffer = 0
        if kind in ("INT8", "INT16"):
            found.quantization = schema.QuantizationParametersT()
            found.quantization.scale, found.quantization.zeroPoint = [0.1], [0]
        self.tensors.append(found)
        return len(self.tensors) - 1

    def constant(self, values: np.ndarray, *, scaled: bool = True) -> int:
        place = self.tensor(*values.shape, kind=values.dtype.name.upper())
        tensor = self.tensors[place]
        if scaled:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [0.1], [0]
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        self.buffers.append(buffer)
        tensor.buffer = len(self.buffers) - 1
        return place

    def add(self, name: str, inputs: list[int], outputs: list[int], **options: Any) -> None:
        code, operator = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        self.codes.append(code)
        operator.opcodeIndex = len(self.codes) - 1
        operator.inputs, operator.outputs = inputs, outputs
        if options:
            kind = options.pop("kind")
            made = getattr(schema, f"{kind}T")()
            for key, value in options.items():
                setattr(made, key, value)
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            operator.builtinOptions = made
        self.operators.append(operator)

    def write(self, path: Path, inputs: list[int], outputs: list[int]) -> Path:
        graph, model = schema.SubGraphT(), schema.ModelT()
        graph.tensors, graph.operators = self.tensors, self.operators
        graph.inputs, graph.outputs = inputs, outputs
        model.version, model.subgraphs = 3, [graph]
        model.buffers, model.operatorCodes = self.buffers, self.codes
        builder = Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        path.write_bytes(bytes(builder.Output()))
        return path


CONV = {"kind": "Conv2DOptions", "dilationHFactor": 1, "dilationWFactor": 1, "padding": 0}


def every_product(folder: Path) -> Path:
    """A convolution, a grouped and a dilated one, depthwise, transposed and dense, one by one."""
    file = File()

    def weights(*shape: int) -> int:
        values = np.arange(np.prod(shape)).reshape(shape) % 7 - 3
        return file.constant(values.astype(np.int8))

    image = file.tensor(1, 16, 12, 4)
    plain = file.tensor(1, 8, 6, 8, name="plain")
    bias = file.constant(np.zeros(8, np.int32))
    kernel = weights(8, 3, 3, 4)
    file.add("CONV_2D", [image, kernel, bias], [plain], **CONV, strideH=2, strideW=2)
    grouped = file.tensor(1, 8, 6, 6, name="grouped")
    kernel = weights(6, 3, 3, 4)
    file.add("CONV_2D", [plain, kernel, -1], [grouped], **CONV, strideH=1, strideW=1)
    dilated = {**CONV, "dilationHFactor": 2, "dilationWFactor": 2, "padding": 1}
    holes = file.tensor(1, 4, 2, 5, name="dilated")
    kernel = weights(5, 3, 3, 6)
    file.add("CONV_2D", [grouped, kernel, -1], [holes], **dilated, strideH=1, strideW=1)
    deep = file.tensor(1, 4, 2, 10, name="depthwise")
    options = {**CONV, "kind": "DepthwiseConv2DOptions", "depthMultiplier": 2}
    kernel = weights(1, 3, 3, 10)
    file.add("DEPTHWISE_CONV_2D", [holes, kernel, -1], [deep], **options, strideH=1, strideW=1)
    up = file.tensor(1, 8, 4, 3, name="transposed")
    shape = file.constant(np.array([1, 8, 4, 3], np.int32), scaled=False)
    kernel = weights(3, 2, 2, 10)
    file.add(
        "TRANSPOSE_CONV",
        [shape, kernel, deep],
        [up],
        kind="TransposeConvOptions",
        strideH=2,
        strideW=2,
    )
    flat = file.tensor(1, 96)
    size = file.constant(np.array([1, 96], np.int32), scaled=False)
    file.add("RESHAPE", [up, size], [flat])
    dense = file.tensor(1, 7, name="dense")
    file.add("FULLY_CONNECTED", [flat, weights(7, 96), -1], [dense])
    return file.write(folder / "products.tflite", [image], [dense])


def odd_ones(folder: Path) -> Path:
    """What an NPU cannot estimate beside what it can: pool, add, float, unknown, open shape."""
    file = File()
    image = file.tensor(1, 8, 8, 4)
    pooled = file.tensor(1, 4, 4, 4, name="pooled")
    pool = {"kind": "Pool2DOptions", "filterHeight": 2, "filterWidth": 2}
    file.add("MAX_POOL_2D", [image], [pooled], **pool, strideH=2, strideW=2)
    constant = file.constant(np.ones((1, 1, 1, 4), np.int8))
    summed = file.tensor(1, 4, 4, 4, name="summed")
    file.add("ADD", [pooled, constant], [summed])
    real = file.tensor(1, 4, 4, 4, kind="FLOAT32", name="real")
    file.add("DEQUANTIZE", [summed], [real])
    rooted = file.tensor(1, 4, 4, 4, kind="FLOAT32", name="rooted")
    file.add("RSQRT", [real], [rooted])
    wide = file.tensor(1, 4, 4, 4, kind="FLOAT32", name="wide")
    file.add("ADD", [real, rooted], [wide])
    open_ = file.tensor(1, 0, 4, name="open")
    file.add("RELU", [wide], [open_])
    return file.write(folder / "odd.tflite", [image], [open_])
