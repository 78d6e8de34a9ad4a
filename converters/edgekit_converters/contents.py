"""What stands in a .tflite file, as plain values: operators, tensors, kernels.

This is the one module that knows the file's format.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgekit_converters.errors import ExportError

Arithmetic = Literal["float", "integer", "none"]

CONVERSIONS = ("DEQUANTIZE", "QUANTIZE")

_IDENTIFIER = b"TFL3"
_OPERATORS = {code: name for name, code in vars(schema.BuiltinOperator).items() if name.isupper()}
_TYPES = {code: name for name, code in vars(schema.TensorType).items() if name.isupper()}
_COUNTABLE = (
    "FLOAT16", "FLOAT32", "FLOAT64", "INT16", "INT32", "INT64", "INT8", "UINT16", "UINT32", "UINT8",
)  # fmt: skip
_CONTROL = ("CALL", "CALL_ONCE", "IF", "WHILE")
"""What these compute in stands in their subgraphs."""

_LSTM = tuple((place, 0) for place in range(1, 9))
_KERNELS: dict[str, tuple[tuple[int, int], ...]] = {
    "CONV_2D": ((1, 0),),
    "CONV_3D": ((1, 4),),
    "CONV_3D_TRANSPOSE": ((1, 3),),
    "DEPTHWISE_CONV_2D": ((1, 3),),
    "EMBEDDING_LOOKUP": ((1, -1),),
    "FULLY_CONNECTED": ((1, 0),),
    "GATHER": ((0, -1),),
    "LSTM": _LSTM,
    "RNN": ((1, 0), (2, 0)),
    "TRANSPOSE_CONV": ((1, 0),),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _LSTM,
    "UNIDIRECTIONAL_SEQUENCE_RNN": ((1, 0), (2, 0)),
}
"""Which inputs of an operator are kernels, each with the axis of its output channels."""

_BIAS = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2, "TRANSPOSE_CONV": 3}

# What the generated reader raises on bytes that are no table.
_DAMAGE = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError, struct.error)


@dataclass(frozen=True)
class Tensor:
    """One tensor; `data` are the raw values of a constant, `zeros` the raw values that mean 0."""

    name: str
    dtype: str
    arithmetic: Arithmetic
    shape: tuple[int, ...]
    data: Any
    zeros: Any


@dataclass(frozen=True)
class Operator:
    """One operator; tensors are positions in its graph, -1 where an input is left out."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any


@dataclass(frozen=True)
class Graph:
    """One subgraph; `entry` says that a caller of the file runs it, not an operator."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    entry: bool

    def of(self, places: Sequence[int]) -> list[Tensor]:
        """The tensors at these positions."""
        return [self.tensors[place] for place in places if place >= 0]

    def maker(self, place: int) -> Operator | None:
        """The operator whose output a tensor is."""
        return next((found for found in self.operators if place in found.outputs), None)

    def readers(self, place: int) -> list[Operator]:
        """The operators that have a tensor as an input."""
        return [found for found in self.operators if place in found.inputs]

    def arithmetic(self, operator: Operator) -> Arithmetic:
        """What the operator computes in; "none" where no value of the model passes through it.

        That is so for index and shape arithmetic, for control flow, for constants on the way out
        of their storage, and for the conversion of the file's inputs and outputs.
        """
        kinds = {tensor.arithmetic for tensor in self.of((*operator.inputs, *operator.outputs))}
        if operator.name in _CONTROL or self._at_an_end(operator):
            return "none"
        return "float" if "float" in kinds else "integer" if "integer" in kinds else "none"

    def bias(self, operator: Operator) -> list[Tensor]:
        """The constant that the operator adds, if it has one."""
        place = _BIAS.get(operator.name, len(operator.inputs))
        return self.of(operator.inputs[place : place + 1])

    def _at_an_end(self, operator: Operator) -> bool:
        if operator.name not in CONVERSIONS:
            return False
        if self.constant(operator.outputs[0]) is not None:
            return True
        kinds = [tensor.arithmetic for tensor in self.of((operator.inputs[0], operator.outputs[0]))]
        ends = operator.inputs[0] in self.inputs or operator.outputs[0] in self.outputs
        return self.entry and ends and "float" in kinds

    def constant(self, place: int) -> int | None:
        """The position of the constant that a tensor is or is made of by mere conversion."""
        for _ in range(len(self.operators) + 1):
            if place < 0 or self.tensors[place].data is not None:
                return place if place >= 0 else None
            maker = self.maker(place)
            if maker is None or maker.name not in CONVERSIONS:
                return None
            place = maker.inputs[0]
        return None


@dataclass(frozen=True)
class FileKernel:
    """A constant that operators sum products with, and the axis of its output channels."""

    tensor: Tensor
    channel_axis: int
    graph: Graph
    operators: tuple[Operator, ...]


def read_contents(path: Path) -> tuple[Graph, ...]:
    """Reads the file's subgraphs.

    Raises:
        ExportError: no .tflite file, a damaged one, or one whose weights are not inside.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ExportError(f"{path} cannot be read: {error.strerror}; export it again.") from error
    if content[4:8] != _IDENTIFIER:
        raise ExportError(
            f"{path.name} is no .tflite file: its bytes 4 to 8 are {content[4:8]!r}, not "
            f"{_IDENTIFIER!r}; give a file that export wrote."
        )
    try:
        model = schema.ModelT.InitFromPackedBuf(content, 0)
        if any(buffer.offset > 1 for buffer in model.buffers):
            raise ExportError(
                f"{path.name} keeps weights behind its flatbuffer, as files above 2 GB do, and "
                "they cannot be counted there; export a smaller model."
            )
        entries = {0, *(signature.subgraphIndex for signature in model.signatureDefs or ())}
        return tuple(
            _graph(path, model, graph, entry=index in entries)
            for index, graph in enumerate(model.subgraphs)
        )
    except _DAMAGE as error:
        raise ExportError(
            f"{path.name} is damaged and cannot be read ({type(error).__name__}: {error}); "
            "export it again."
        ) from error


def file_kernels(graph: Graph) -> tuple[FileKernel, ...]:
    """The graph's kernels, each once, in the order in which operators first use them."""
    axes: dict[int, int] = {}
    users: dict[int, list[Operator]] = {}
    for operator in graph.operators:
        for place, axis in _kernel_places(operator, graph):
            found = graph.constant(operator.inputs[place])
            if found is None or graph.tensors[found].arithmetic == "none":
                continue
            axes.setdefault(found, axis)
            users.setdefault(found, []).append(operator)
    return tuple(
        FileKernel(graph.tensors[place], axes[place], graph, tuple(operators))
        for place, operators in users.items()
    )


def _kernel_places(operator: Operator, graph: Graph) -> Iterator[tuple[int, int]]:
    places = _KERNELS.get(operator.name, ())
    if operator.name == "BATCH_MATMUL":
        places = (
            (0, -1 if getattr(operator.options, "adjX", False) else -2),
            (1, -2 if getattr(operator.options, "adjY", False) else -1),
        )
    for place, axis in places:
        if place < len(operator.inputs):
            rank = len(graph.tensors[operator.inputs[place]].shape)
            if -rank <= axis < rank:
                yield place, axis


def _graph(path: Path, model: Any, graph: Any, *, entry: bool) -> Graph:
    operators = tuple(
        Operator(
            _operator_name(model.operatorCodes[operator.opcodeIndex]),
            _places(operator.inputs, graph),
            _places(operator.outputs, graph),
            operator.builtinOptions,
        )
        for operator in graph.operators
    )
    for operator in operators:
        if operator.name in CONVERSIONS and not (operator.inputs and operator.outputs):
            raise ValueError(f"a {operator.name} lacks its input or output")
    return Graph(
        tensors=tuple(_tensor(path, model, tensor) for tensor in graph.tensors),
        operators=operators,
        inputs=_places(graph.inputs, graph),
        outputs=_places(graph.outputs, graph),
        entry=entry,
    )


def _places(given: Any, graph: Any) -> tuple[int, ...]:
    places = tuple(int(place) for place in given) if given is not None else ()
    if any(not -1 <= place < len(graph.tensors) for place in places):
        raise ValueError(f"there is no tensor {max(places)}")
    return places


def _operator_name(code: Any) -> str:
    # Codes below 127 stand in a field of their own, for readers that know no others.
    name = _OPERATORS[max(code.builtinCode, code.deprecatedBuiltinCode)]
    return str(code.customCode.decode()) if name == "CUSTOM" and code.customCode else name


def _tensor(path: Path, model: Any, tensor: Any) -> Tensor:
    name, kind = (tensor.name or b"").decode(), _TYPES[tensor.type]
    shape = tuple(int(size) for size in tensor.shape) if tensor.shape is not None else ()
    scale = tensor.quantization.scale if tensor.quantization is not None else None
    scaled = scale is not None and len(scale) > 0
    raw = model.buffers[tensor.buffer].data
    data: Any = None
    is_real = "FLOAT" in kind or scaled
    if raw is not None and len(raw) and is_real:
        if kind not in _COUNTABLE or tensor.sparsity is not None:
            how = "in sparse form" if tensor.sparsity is not None else f"as {kind}"
            raise ExportError(
                f"{path.name} stores the tensor {name!r} {how}, and its weights cannot be counted "
                "so; convert the model with one of the kit's schemes."
            )
        data = np.frombuffer(raw, kind.lower()).reshape(shape)
    return Tensor(
        name,
        kind.lower(),
        "float" if "FLOAT" in kind else "integer" if scaled else "none",
        shape,
        data,
        _zero_points(tensor.quantization, shape) if scaled else np.zeros(()),
    )


def _zero_points(quantization: Any, shape: tuple[int, ...]) -> Any:
    """Zero points, of such a shape that they stand beside the values they belong to."""
    points = quantization.zeroPoint
    if points is None or len(points) < 2:
        return np.zeros(()) if points is None or not len(points) else np.asarray(points[0])
    axis = quantization.quantizedDimension
    if len(points) != shape[axis]:
        raise ValueError(f"{len(points)} zero points for {shape[axis]} channels")
    beside = [1] * len(shape)
    beside[axis] = -1
    return np.asarray(points).reshape(beside)
