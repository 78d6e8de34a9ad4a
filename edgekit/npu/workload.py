"""The operators of a .tflite file as the work they ask of an NPU: loops, operations, operands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.errors import NpuError
from edgekit.npu.dataflow import Gemm
from edgekit_converters.contents import Graph, Operator, Tensor, read_contents

ARRAY_OPERATORS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
"""What is a matrix product, and may run on the array."""

CONVERSIONS = ("DEQUANTIZE", "QUANTIZE")
"""What brings numbers from one storage into another."""

VIEWS = ("EXPAND_DIMS", "RESHAPE", "SQUEEZE")
"""What changes a shape only: nothing is moved or computed."""

OPERATIONS = {
    "ABS": 1, "ADD": 3, "CONCATENATION": 1, "DEQUANTIZE": 2, "ELU": 1, "GELU": 1, "HARD_SWISH": 1,
    "LEAKY_RELU": 2, "LOGISTIC": 1, "MAXIMUM": 1, "MINIMUM": 1, "MUL": 2, "PAD": 1, "PRELU": 2,
    "QUANTIZE": 2, "RELU": 1, "RELU6": 1, "RELU_N1_TO_1": 1, "RESIZE_BILINEAR": 8,
    "RESIZE_NEAREST_NEIGHBOR": 1, "SLICE": 1, "SOFTMAX": 5, "SPLIT": 1, "STRIDED_SLICE": 1,
    "SUB": 3, "TANH": 1, "TRANSPOSE": 1,
}  # fmt: skip
"""Operations of the vector unit for each element that comes out.

Integer arithmetic: a sum rescales both operands (3), a product rescales once (2), what has one
operand of 8 bits is looked up in a table (1), SOFTMAX is maximum, difference, table, sum and
quotient (5), RESIZE_BILINEAR four products and their sum (8), a copy is 1.
"""
POOLS = ("AVERAGE_POOL_2D", "MAX_POOL_2D")
REDUCTIONS = ("MEAN", "REDUCE_MAX", "REDUCE_MIN", "SUM")
VECTOR_OPERATORS = (*OPERATIONS, *POOLS, *REDUCTIONS)

# What shapes and options that do not fit together raise.
_CONTRADICTIONS = (AttributeError, IndexError, TypeError, ValueError, ZeroDivisionError)

_MOST_ELEMENTS = 2**31

_CONTROL = ("CALL", "CALL_ONCE", "IF", "WHILE")
_BITS = {
    "bool": 8, "float16": 16, "float32": 32, "float64": 64, "int16": 16, "int32": 32, "int4": 4,
    "int64": 64, "int8": 8, "uint16": 16, "uint32": 32, "uint8": 8,
}  # fmt: skip


@dataclass(frozen=True)
class Operand:
    """A tensor in use: its place in the graph, its elements and bits each."""

    place: int
    elements: int
    bits: int
    floating: bool


@dataclass(frozen=True)
class Loops:
    """A convolution as loops: of each of `groups` groups, of each of `n` images.

    p, q: output rows and columns; m: filters; c: input channels; r, s: kernel rows and columns.
    height and width are those of the input, without padding.
    """

    p: int
    q: int
    m: int
    c: int
    r: int = 1
    s: int = 1
    n: int = 1
    groups: int = 1
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    height: int | None = None
    width: int | None = None

    def __post_init__(self) -> None:
        """Refuse loops that do not run; ValueError says which."""
        counts = (self.p, self.q, self.m, self.c, self.r, self.s, self.n, self.groups)
        if min(*counts, *self.strides, *self.dilations) < 1:
            raise ValueError(f"loops must be 1 or more: {self}")

    @property
    def gemm(self) -> Gemm:
        """The matrix product of one group and image, its input unrolled (im2col)."""
        return Gemm(self.p * self.q, self.m, self.c * self.r * self.s)

    @property
    def macs(self) -> int:
        """Multiply-accumulates, those on padding included."""
        return self.n * self.groups * self.gemm.macs

    @property
    def weight_elements(self) -> int:
        """Elements of all kernels."""
        return self.groups * self.m * self.c * self.r * self.s

    @property
    def input_elements(self) -> int:
        """Elements of the input that any output needs, without padding."""
        # A stride above the kernel's reach leaves rows out: as if each output were its own tile.
        rows = min(self.span(0, 1), self.span(0, self.p))
        columns = min(self.span(1, 1), self.span(1, self.q))
        return int(self.n * self.groups * self.c * rows * columns)

    @property
    def output_elements(self) -> int:
        """Elements of the output."""
        return self.n * self.groups * self.m * self.p * self.q

    def span(self, side: int, tiles: Any) -> Any:
        """Input rows (side 0) or columns (1) read when the output's are cut into `tiles`.

        A tile of t outputs reads (t - 1) stride + reach of them, reach = (kernel - 1) dilation +
        1; what is padding is read from nowhere.
        """
        outputs = (self.p, self.q)[side]
        given = (self.height, self.width)[side]
        stride = self.strides[side]
        reach = ((self.r, self.s)[side] - 1) * self.dilations[side] + 1
        padded = (outputs - 1) * stride + reach
        padding = 0 if given is None else max(0, padded - given)
        return stride * outputs + tiles * (reach - stride) - padding


@dataclass(frozen=True)
class Layer:
    """One operator of the file's first graph; `node` is its position, as the runtime counts.

    `loops` where it is a matrix product, else `operations` of the vector unit; `refused` says why
    the operator cannot be estimated on any NPU. `zero_weights` is the share of weights that are 0.
    `weights` are as they are stored, `kernel` as the product takes them, where both may differ.
    """

    node: int
    operator: str
    name: str
    inputs: tuple[Operand, ...]
    outputs: tuple[Operand, ...]
    weights: Operand | None = None
    kernel: Operand | None = None
    bias_bytes: int = 0
    zero_weights: float = 0.0
    loops: Loops | None = None
    operations: int = 0
    refused: str | None = None

    @property
    def macs(self) -> int:
        """Multiply-accumulates of a matrix product, else 0."""
        return self.loops.macs if self.loops else 0


@dataclass(frozen=True)
class Workload:
    """The layers of a file, and the places of the tensors that its caller hands in and gets."""

    name: str
    layers: tuple[Layer, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read_workload(path: Path) -> Workload:
    """Read the first graph of a .tflite file, which is what an interpreter runs.

    Raises:
        ExportError: no .tflite file, or a damaged one.
        NpuError: an operator whose shapes or options do not fit together.
    """
    graphs = read_contents(path)
    if not graphs:
        raise NpuError(f"{path.name} holds no graph; export the model again.")
    graph = graphs[0]
    layers = []
    for node, operator in enumerate(graph.operators):
        try:
            layers.append(_layer(graph, node, operator))
        except _CONTRADICTIONS as error:
            raise NpuError(
                f"{path.name}: operator {node} ({operator.name}) contradicts the shapes of its "
                f"tensors ({type(error).__name__}: {error}); export the file again."
            ) from error
    return Workload(path.stem, tuple(layers), graph.inputs, graph.outputs)


def of_loops(
    name: str, loops: Loops, *, bits: int = 8, node: int = 0, zero_weights: float = 0.0
) -> Layer:
    """A convolution by its loops alone; it reads place `node` and writes place `node` + 1."""
    return Layer(
        node=node,
        operator="DEPTHWISE_CONV_2D" if loops.groups > 1 and loops.c == 1 else "CONV_2D",
        name=name,
        inputs=(Operand(node, loops.input_elements, bits, False),),
        outputs=(Operand(node + 1, loops.output_elements, bits, False),),
        weights=Operand(-1, loops.weight_elements, bits, False),
        zero_weights=zero_weights,
        loops=loops,
    )


def _layer(graph: Graph, node: int, operator: Operator) -> Layer:
    outs = graph.of(operator.outputs)
    name = outs[0].name if outs else operator.name
    refused = _refusal(graph, operator)
    given = tuple(
        _operand(graph, place)
        for place in operator.inputs
        if place >= 0 and graph.tensors[place].arithmetic != "none"
    )
    produced = tuple(_operand(graph, place) for place in operator.outputs)
    moving = tuple(found for found in given if graph.constant(found.place) is None)
    if refused is not None:
        return Layer(node, operator.name, name, moving, produced, refused=refused)
    if operator.name in ARRAY_OPERATORS:
        return _product(graph, node, operator, name, produced)
    held = [found for found in given if graph.constant(found.place) is not None]
    constants = None
    if held:
        bits = max(found.bits for found in held)
        elements = sum(found.elements for found in held)
        constants = Operand(-1, elements, bits, any(found.floating for found in held))
    operations = _operations(graph, operator)
    return Layer(
        node, operator.name, name, moving, produced, weights=constants, operations=operations
    )


def _refusal(graph: Graph, operator: Operator) -> str | None:
    if operator.name in _CONTROL:
        return "how often its subgraphs run is not known before they do"
    used = graph.of((*operator.inputs, *operator.outputs))
    if any(size <= 0 for tensor in used for size in tensor.shape):
        return "the shape of its tensors is not known before it runs; export with a fixed batch"
    if any(math.prod(tensor.shape) > _MOST_ELEMENTS for tensor in used):
        return "its tensors are larger than any that a file can hold"
    if operator.name in ARRAY_OPERATORS:
        kernel = graph.constant(operator.inputs[1]) if len(operator.inputs) > 1 else None
        if kernel is None or graph.tensors[kernel].data is None:
            return "its kernel is no constant of the file"
        return None
    known = operator.name in VECTOR_OPERATORS or operator.name in VIEWS
    return None if known else "the cost model knows no such operator"


def _product(
    graph: Graph, node: int, operator: Operator, name: str, produced: tuple[Operand, ...]
) -> Layer:
    place = graph.constant(operator.inputs[1])
    if place is None:  # _refusal has seen to it
        raise ValueError(f"{operator.name} lacks its kernel")
    kernel = graph.tensors[place]
    source = 2 if operator.name == "TRANSPOSE_CONV" else 0
    image = graph.tensors[operator.inputs[source]]
    output = graph.tensors[operator.outputs[0]]
    bias = sum(math.prod(found.shape) * _bits(found) // 8 for found in graph.bias(operator))
    return Layer(
        node=node,
        operator=operator.name,
        name=name,
        inputs=(_operand(graph, operator.inputs[source]),),
        outputs=produced,
        weights=_operand(graph, place),
        kernel=_operand(graph, operator.inputs[1]),
        bias_bytes=bias,
        zero_weights=float(np.mean(kernel.data == kernel.zeros)),
        loops=_loops(operator, image.shape, kernel.shape, output.shape),
    )


def _loops(
    operator: Operator, image: Sequence[int], kernel: Sequence[int], output: Sequence[int]
) -> Loops:
    options = operator.options
    if operator.name == "FULLY_CONNECTED":
        filters, depth = kernel
        _divides(depth, math.prod(image), "the kernel's depth", "the input")
        return Loops(p=math.prod(image) // depth, q=1, m=filters, c=depth)
    n, height, width, channels = image
    if operator.name == "TRANSPOSE_CONV":
        # Each input pixel meets the whole kernel; the overlapping results are summed.
        filters, r, s, _ = kernel
        return Loops(p=height, q=width, m=filters * r * s, c=channels, n=n)
    depthwise = operator.name == "DEPTHWISE_CONV_2D"
    filters, r, s, depth = kernel
    groups = channels if depthwise else channels // depth
    _divides(groups, depth if depthwise else filters, "the groups", "the filters")
    _divides(1 if depthwise else depth, channels, "the kernel's depth", "the input's channels")
    loops = Loops(
        p=output[1],
        q=output[2],
        m=(depth if depthwise else filters) // groups,
        c=1 if depthwise else depth,
        r=r,
        s=s,
        n=n,
        groups=groups,
        strides=(int(options.strideH), int(options.strideW)),
        dilations=(int(options.dilationHFactor), int(options.dilationWFactor)),
        height=height,
        width=width,
    )
    for side, given in enumerate((height, width)):
        reach = ((r, s)[side] - 1) * loops.dilations[side] + 1
        same, valid = given, given - reach + 1
        outputs, stride = (loops.p, loops.q)[side], loops.strides[side]
        if outputs not in (-(-same // stride), -(-valid // stride)):
            raise ValueError(f"{outputs} outputs of {given} inputs at stride {stride}")
    return loops


def _divides(part: int, whole: int, what: str, of_what: str) -> None:
    if part < 1 or whole % part:
        raise ValueError(f"{what}, {part}, do not divide {of_what}, {whole}")


def _operations(graph: Graph, operator: Operator) -> int:
    produced = sum(math.prod(tensor.shape) for tensor in graph.of(operator.outputs))
    if operator.name in VIEWS:
        return 0
    if operator.name in POOLS:
        window = int(operator.options.filterHeight), int(operator.options.filterWidth)
        if min(window) < 1:
            raise ValueError(f"a window of {window[0]}x{window[1]}")
        return produced * window[0] * window[1]
    if operator.name in REDUCTIONS:
        return produced + math.prod(graph.tensors[operator.inputs[0]].shape)
    return produced * OPERATIONS[operator.name]


def _operand(graph: Graph, place: int) -> Operand:
    tensor = graph.tensors[place]
    return Operand(place, math.prod(tensor.shape), _bits(tensor), tensor.arithmetic == "float")


def _bits(tensor: Tensor) -> int:
    return _BITS.get(tensor.dtype, 32)
