"""Random models of one operator each, and how to run one with and without the delegate."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tflite_file as tf
from tflite_file import ModelFile

from edgekit_device.arithmetic import Arithmetic
from edgekit_device.delegate import Event, Nepu, library_path
from edgekit_device.errors import DelegateUnavailableError
from edgekit_device.runtime import choose, import_interpreter, installed

RUNTIME = choose("auto", installed())
# Fewer where every access to memory is checked.
EXAMPLES = int(os.environ.get("EDGEKIT_EXAMPLES", "60"))
Random = np.random.Generator


def need_delegate() -> None:
    """Skip where no library was built."""
    try:
        library_path()
    except DelegateUnavailableError as error:
        pytest.skip(str(error))


def reference(content: bytes) -> Any:
    """Make an interpreter with the runtime's reference kernels."""
    module = __import__(import_interpreter(RUNTIME.name).__module__, fromlist=["Interpreter"])
    made = module.Interpreter(
        model_content=content,
        experimental_op_resolver_type=module.OpResolverType.BUILTIN_REF,
    )
    made.allocate_tensors()
    return made


def invoke(interpreter: Any, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Set the inputs, run, and give copies of the outputs."""
    for details, value in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(details["index"], value)
    interpreter.invoke()
    return [interpreter.get_tensor(each["index"]) for each in interpreter.get_output_details()]


def run(
    content: bytes,
    inputs: Sequence[np.ndarray],
    arithmetic: Arithmetic | None = None,
    instructions: str = "auto",
) -> tuple[list[np.ndarray], tuple[Event, ...]]:
    """Run a model that the delegate must take as a whole; give its outputs and events."""
    nepu = Nepu(arithmetic, RUNTIME, instructions)
    interpreter = nepu.interpreter(content, reference=True)
    coverage = nepu.coverage()
    assert not coverage.left(), coverage.summary()
    return invoke(interpreter, inputs), nepu.events()


def codes(rng: Random, shape: Sequence[int], low: int = -128) -> np.ndarray:
    """Draw int8 codes, at times only the extreme ones."""
    if rng.random() < 0.2:
        return rng.choice(np.array([low, 127], np.int8), size=tuple(shape))
    return rng.integers(low, 128, tuple(shape), np.int8)


def scale(rng: Random, middle: float = 0.05) -> float:
    return float(np.float32(middle * 2 ** rng.uniform(-3, 3)))


def zero(rng: Random) -> int:
    return int(rng.choice([-128, 127, 0, rng.integers(-128, 128)]))


def out_size(size: int, filter_: int, stride: int, dilation: int, same: bool) -> int:
    reach = (filter_ - 1) * dilation + 1
    return -(-size // stride) if same else (size - reach) // stride + 1


def input_tensor(model: ModelFile, rng: Random, shape: Sequence[int], **more: Any) -> int:
    return model.tensor(
        shape, is_input=True, **{"scales": (scale(rng),), "zero": zero(rng), **more}
    )


def weights(model: ModelFile, rng: Random, shape: Sequence[int], channel: int, x: int) -> list[int]:
    """Add weights and a bias; `channel` is the dimension that scales may run along."""
    count = shape[channel]
    per_channel = rng.random() < 0.6
    scales = tuple(scale(rng, 0.01) for _ in range(count if per_channel else 1))
    low = -128 if rng.random() < 0.3 else -127
    data = codes(rng, shape, low)
    data[rng.random(tuple(shape)) < 0.2] = 0
    w = model.constant(data, scales=scales, dimension=channel if per_channel else 0)
    bias_scales = tuple(model.tensors[x].scales[0] * each for each in scales)
    bias = rng.integers(-9000, 9000, count).astype(np.int32)
    return [w, model.constant(bias, scales=bias_scales)]


def window(rng: Random) -> dict[str, int]:
    stride = [int(s) for s in rng.integers(1, 4, 2)]
    return {"padding": int(rng.integers(2)), "stride_h": stride[0], "stride_w": stride[1]}


def image(rng: Random) -> list[int]:
    return [int(n) for n in (rng.integers(1, 3), *rng.integers(7, 13, 2), rng.integers(1, 20))]


def conv_2d(rng: Random, depthwise: bool = False) -> tuple[ModelFile, list[np.ndarray]]:
    model, shape, options = ModelFile(), image(rng), window(rng)
    kernel = [int(k) for k in rng.integers(1, 4, 2)]
    dilation = [int(d) for d in rng.integers(1, 3, 2)]
    x = input_tensor(model, rng, shape)
    multiplier, filters = int(rng.integers(1, 4)), int(rng.integers(1, 40))
    if depthwise:
        shape[3] = min(shape[3], 40)
        filters = shape[3] * multiplier
        constants = weights(model, rng, (1, *kernel, filters), 3, x)
        options["multiplier"] = multiplier
    else:
        constants = weights(model, rng, (filters, *kernel, shape[3]), 0, x)
    same = options["padding"] == 0
    size = [
        out_size(
            shape[1 + i],
            kernel[i],
            (options["stride_h"], options["stride_w"])[i],
            dilation[i],
            same,
        )
        for i in range(2)
    ]
    out = model.tensor((shape[0], *size, filters), scales=(scale(rng, 0.2),), zero=zero(rng))
    code = tf.DEPTHWISE_CONV_2D if depthwise else tf.CONV_2D
    options |= {"dilation_h": dilation[0], "dilation_w": dilation[1]}
    model.outputs = [
        model.node(code, [x, *constants], out, activation=int(rng.integers(4)), **options)
    ]
    return model, [codes(rng, shape)]


def depthwise_conv_2d(rng: Random) -> tuple[ModelFile, list[np.ndarray]]:
    return conv_2d(rng, depthwise=True)


def transpose_conv(rng: Random) -> tuple[ModelFile, list[np.ndarray]]:
    model, shape, options = ModelFile(), image(rng), window(rng)
    kernel = [int(k) for k in rng.integers(1, 5, 2)]
    filters = int(rng.integers(1, 9))
    strides = (options["stride_h"], options["stride_w"])
    size = [
        shape[1 + i] * strides[i] - int(rng.integers(strides[i]))
        if options["padding"] == 0
        else (shape[1 + i] - 1) * strides[i] + kernel[i]
        for i in range(2)
    ]
    wanted = model.constant(np.array([shape[0], *size, filters], np.int32))
    x = input_tensor(model, rng, shape)
    w, *bias = weights(model, rng, (filters, *kernel, shape[3]), 0, x)
    out = model.tensor((shape[0], *size, filters), scales=(scale(rng, 0.2),), zero=zero(rng))
    bias = bias if rng.random() < 0.8 else []
    model.outputs = [model.node(tf.TRANSPOSE_CONV, [wanted, w, x, *bias], out, **options)]
    return model, [codes(rng, shape)]


def fully_connected(rng: Random) -> tuple[ModelFile, list[np.ndarray]]:
    model = ModelFile()
    rows, depth, filters = (int(n) for n in (rng.integers(1, 5), *rng.integers(1, 90, 2)))
    keep = bool(rng.integers(2))
    shape = [2, rows, depth] if keep else [rows, depth]
    x = input_tensor(model, rng, shape)
    constants = weights(model, rng, (filters, depth), 0, x)
    if len(model.tensors[constants[0]].scales) > 1 and RUNTIME.name == "tflite-runtime":
        # 2.14's kernel takes the output for a matrix and leaves what is beyond it unwritten.
        keep, shape = False, [rows, depth]
        model.tensors[x] = replace(model.tensors[x], shape=(rows, depth))
    if rng.random() < 0.2:
        constants[1] = -1
    out = model.tensor((*shape[:-1], filters), scales=(scale(rng, 0.2),), zero=zero(rng))
    model.outputs = [
        model.node(
            tf.FULLY_CONNECTED, [x, *constants], out, activation=int(rng.integers(4)), keep=keep
        )
    ]
    return model, [codes(rng, shape)]


def pool(code: int) -> Callable[[Random], tuple[ModelFile, list[np.ndarray]]]:
    def made(rng: Random) -> tuple[ModelFile, list[np.ndarray]]:
        model, shape, options = ModelFile(), image(rng), window(rng)
        size = [int(k) for k in rng.integers(1, 5, 2)]
        quantized = {"scales": (scale(rng),), "zero": zero(rng)}
        x = input_tensor(model, rng, shape, **quantized)
        same = options["padding"] == 0
        outer = (
            out_size(shape[1], size[0], options["stride_h"], 1, same),
            out_size(shape[2], size[1], options["stride_w"], 1, same),
        )
        out = model.tensor((shape[0], *outer, shape[3]), **quantized)
        options |= {"filter_h": size[0], "filter_w": size[1], "activation": int(rng.integers(4))}
        model.outputs = [model.node(code, [x], out, **options)]
        return model, [codes(rng, shape)]

    return made


def mean(rng: Random) -> tuple[ModelFile, list[np.ndarray]]:
    model = ModelFile()
    shape = [int(n) for n in rng.integers(1, 8, rng.integers(1, 5))]
    axes = rng.permutation(len(shape))[: rng.integers(1, len(shape) + 1)].astype(np.int32)
    keep = bool(rng.integers(2))
    left = [1 if i in axes else n for i, n in enumerate(shape) if keep or i not in axes]
    x = input_tensor(model, rng, shape)
    signs = rng.integers(2, size=axes.size)
    a = model.constant((axes - signs * len(shape)).astype(np.int32))
    out = model.tensor(left, scales=(scale(rng),), zero=zero(rng))
    model.outputs = [model.node(tf.MEAN, [x, a], out, keep=keep)]
    return model, [codes(rng, shape)]


def binary(code: int) -> Callable[[Random], tuple[ModelFile, list[np.ndarray]]]:
    def made(rng: Random) -> tuple[ModelFile, list[np.ndarray]]:
        model = ModelFile()
        shape = [int(n) for n in rng.integers(1, 6, rng.integers(1, 5))]
        other = [n if rng.random() < 0.7 else 1 for n in shape][rng.integers(2) * 0 :]
        other = other[int(rng.integers(len(other))) :] if rng.random() < 0.3 else other
        if code == tf.PRELU:
            sides = [shape, other]
        else:
            sides = [shape, other] if rng.random() < 0.5 else [other, shape]
        middle = 0.05 if code == tf.ADD else 0.5
        indices, data = [], []
        for i, side in enumerate(sides):
            if i == 1 and (code == tf.PRELU or rng.random() < 0.3):
                constant = codes(rng, side)
                indices.append(
                    model.constant(constant, scales=(scale(rng, middle),), zero=zero(rng))
                )
            else:
                indices.append(input_tensor(model, rng, side, scales=(scale(rng, middle),)))
                data.append(codes(rng, side))
        out = model.tensor(shape, scales=(scale(rng, 2 * middle),), zero=zero(rng))
        options = {} if code == tf.PRELU else {"activation": int(rng.integers(4))}
        model.outputs = [model.node(code, indices, out, **options)]
        return model, data

    return made


def concatenation(rng: Random) -> tuple[ModelFile, list[np.ndarray]]:
    model = ModelFile()
    shape = [int(n) for n in rng.integers(1, 6, rng.integers(1, 5))]
    axis = int(rng.integers(len(shape)))
    quantized = {"scales": (scale(rng),), "zero": zero(rng)}
    sides = [[*shape[:axis], int(rng.integers(1, 5)), *shape[axis + 1 :]] for _ in range(3)]
    inputs = [input_tensor(model, rng, side, **quantized) for side in sides]
    total = [*shape[:axis], sum(side[axis] for side in sides), *shape[axis + 1 :]]
    out = model.tensor(total, **quantized)
    given = axis - len(shape) if rng.integers(2) else axis
    model.outputs = [model.node(tf.CONCATENATION, inputs, out, axis=given, activation=0)]
    return model, [codes(rng, side) for side in sides]


def pad(rng: Random) -> tuple[ModelFile, list[np.ndarray]]:
    model = ModelFile()
    shape = [int(n) for n in rng.integers(1, 6, rng.integers(1, 5))]
    quantized = {"scales": (scale(rng),), "zero": zero(rng)}
    paddings = rng.integers(0, 4, (len(shape), 2)).astype(np.int32)
    x = input_tensor(model, rng, shape, **quantized)
    out = model.tensor(
        [n + int(p.sum()) for n, p in zip(shape, paddings, strict=True)], **quantized
    )
    model.outputs = [model.node(tf.PAD, [x, model.constant(paddings)], out)]
    return model, [codes(rng, shape)]


def unary(
    code: int, middle: float = 0.05
) -> Callable[[Random], tuple[ModelFile, list[np.ndarray]]]:
    def made(rng: Random) -> tuple[ModelFile, list[np.ndarray]]:
        model = ModelFile()
        shape = [int(n) for n in rng.integers(1, 9, rng.integers(1, 5))]
        if code in (tf.LOGISTIC, tf.SOFTMAX):
            quantized: dict[str, Any] = {"scales": (1 / 256,), "zero": -128}
        else:
            quantized = {"scales": (scale(rng, middle),), "zero": zero(rng)}
        in_scale = scale(rng, middle)
        if code == tf.HARD_SWISH:
            in_scale = min(in_scale, quantized["scales"][0] * 100)
        options: dict[str, Any] = {}
        if code == tf.LEAKY_RELU:
            options["alpha"] = float(rng.uniform(0, 1.5))
        if code == tf.SOFTMAX:
            options["beta"] = float(rng.choice([1.0, 0.5, 2.0]))
        x = input_tensor(model, rng, shape, scales=(in_scale,))
        model.outputs = [model.node(code, [x], model.tensor(shape, **quantized), **options)]
        return model, [codes(rng, shape)]

    return made


def quantize(rng: Random) -> tuple[ModelFile, list[np.ndarray]]:
    model = ModelFile()
    shape = [int(n) for n in rng.integers(1, 9, 2)]
    x = model.tensor(shape, dtype=np.float32, is_input=True)
    q = model.tensor(shape, scales=(scale(rng),), zero=zero(rng))
    model.outputs = [model.node(tf.QUANTIZE, [x], q)]
    return model, [(rng.normal(size=shape) * 5).astype(np.float32)]


def dequantize(rng: Random) -> tuple[ModelFile, list[np.ndarray]]:
    model = ModelFile()
    shape = [int(n) for n in rng.integers(1, 9, 2)]
    x = input_tensor(model, rng, shape)
    model.outputs = [model.node(tf.DEQUANTIZE, [x], model.tensor(shape, dtype=np.float32))]
    return model, [codes(rng, shape)]


def reshape(rng: Random) -> tuple[ModelFile, list[np.ndarray]]:
    model = ModelFile()
    shape = [int(n) for n in rng.integers(1, 6, 3)]
    quantized = {"scales": (scale(rng),), "zero": zero(rng)}
    wanted = [shape[0] * shape[2], shape[1]]
    given = np.array([-1, wanted[1]] if rng.integers(2) else wanted, np.int32)
    x = input_tensor(model, rng, shape, **quantized)
    out = model.tensor(wanted, **quantized)
    model.outputs = [model.node(tf.RESHAPE, [x, model.constant(given)], out)]
    return model, [codes(rng, shape)]


def resize(code: int) -> Callable[[Random], tuple[ModelFile, list[np.ndarray]]]:
    def made(rng: Random) -> tuple[ModelFile, list[np.ndarray]]:
        model, shape = ModelFile(), image(rng)
        size = rng.integers(1, 25, 2).astype(np.int32)
        quantized = {"scales": (scale(rng),), "zero": zero(rng)}
        x = input_tensor(model, rng, shape, **quantized)
        out = model.tensor((shape[0], *size, shape[3]), **quantized)
        half, corners = ((False, False), (True, False), (False, True))[rng.integers(3)]
        model.outputs = [
            model.node(
                code, [x, model.constant(size)], out, half_pixel_centers=half, align_corners=corners
            )
        ]
        return model, [codes(rng, shape)]

    return made


OPERATORS: dict[str, Callable[[Random], tuple[ModelFile, list[np.ndarray]]]] = {
    "CONV_2D": conv_2d,
    "DEPTHWISE_CONV_2D": depthwise_conv_2d,
    "TRANSPOSE_CONV": transpose_conv,
    "FULLY_CONNECTED": fully_connected,
    "AVERAGE_POOL_2D": pool(tf.AVERAGE_POOL_2D),
    "MAX_POOL_2D": pool(tf.MAX_POOL_2D),
    "MEAN": mean,
    "ADD": binary(tf.ADD),
    "MUL": binary(tf.MUL),
    "CONCATENATION": concatenation,
    "PAD": pad,
    "RELU": unary(tf.RELU),
    "RELU_N1_TO_1": unary(tf.RELU_N1_TO_1),
    "RELU6": unary(tf.RELU6),
    "LEAKY_RELU": unary(tf.LEAKY_RELU),
    "PRELU": binary(tf.PRELU),
    "HARD_SWISH": unary(tf.HARD_SWISH),
    "LOGISTIC": unary(tf.LOGISTIC),
    "SOFTMAX": unary(tf.SOFTMAX, 0.1),
    "RESHAPE": reshape,
    "QUANTIZE": quantize,
    "DEQUANTIZE": dequantize,
    "RESIZE_BILINEAR": resize(tf.RESIZE_BILINEAR),
    "RESIZE_NEAREST_NEIGHBOR": resize(tf.RESIZE_NEAREST),
    "REQUANTIZE": unary(tf.QUANTIZE),
}
