"""Writes small .tflite files without TensorFlow: a FlatBuffer of tables, vectors and scalars."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

FLOAT32, INT32, INT8 = 0, 2, 9
_TYPES = {np.dtype(np.float32): FLOAT32, np.dtype(np.int32): INT32, np.dtype(np.int8): INT8}
ADD, AVERAGE_POOL_2D, CONCATENATION, CONV_2D, DEPTHWISE_CONV_2D = 0, 1, 2, 3, 4
DEQUANTIZE, FULLY_CONNECTED, LOGISTIC, MAX_POOL_2D, MUL = 6, 9, 14, 17, 18
RELU, RELU_N1_TO_1, RELU6, RESHAPE, RESIZE_BILINEAR = 19, 20, 21, 22, 23
SOFTMAX, TANH = 25, 28
PAD, MEAN, PRELU, TRANSPOSE_CONV, RESIZE_NEAREST = 34, 40, 54, 67, 97
LEAKY_RELU, QUANTIZE, HARD_SWISH = 98, 114, 117

# (number of the options in their union, their fields in order of slot, by operator)
_WINDOW = ("padding:b", "stride_w:i", "stride_h:i")
_OPTIONS: dict[int, tuple[int, tuple[str, ...]]] = {
    CONV_2D: (1, (*_WINDOW, "activation:b", "dilation_w:i", "dilation_h:i")),
    DEPTHWISE_CONV_2D: (
        2,
        (*_WINDOW, "multiplier:i", "activation:b", "dilation_w:i", "dilation_h:i"),
    ),
    AVERAGE_POOL_2D: (5, (*_WINDOW, "filter_w:i", "filter_h:i", "activation:b")),
    MAX_POOL_2D: (5, (*_WINDOW, "filter_w:i", "filter_h:i", "activation:b")),
    FULLY_CONNECTED: (8, ("activation:b", "format:b", "keep:?")),
    SOFTMAX: (9, ("beta:f",)),
    CONCATENATION: (10, ("axis:i", "activation:b")),
    ADD: (11, ("activation:b",)),
    MUL: (21, ("activation:b",)),
    RESIZE_BILINEAR: (15, ("_:i", "_:i", "align_corners:?", "half_pixel_centers:?")),
    RESIZE_NEAREST: (74, ("align_corners:?", "half_pixel_centers:?")),
    RESHAPE: (17, ()),
    PAD: (22, ()),
    MEAN: (27, ("keep:?",)),
    TRANSPOSE_CONV: (49, (*_WINDOW, "activation:b")),
    LEAKY_RELU: (75, ("alpha:f",)),
}


@dataclass(frozen=True)
class Scalar:
    """A number inside a table; `format` is one of struct's."""

    format: str
    value: Any


@dataclass(frozen=True)
class Table:
    """Values by slot."""

    fields: Mapping[int, Any]


@dataclass(frozen=True)
class TensorSpec:
    """A tensor: constant if it has data; `scales` along `dimension`, one for the whole tensor."""

    shape: tuple[int, ...]
    dtype: Any = np.int8
    scales: tuple[float, ...] = ()
    zero: int = 0
    dimension: int = 0
    data: Any = None
    signature: tuple[int, ...] = ()


@dataclass
class ModelFile:
    """A model with one graph, put together tensor by tensor and node by node."""

    tensors: list[TensorSpec] = field(default_factory=list)
    nodes: list[tuple[int, list[int], list[int], dict[str, Any]]] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)

    def tensor(self, shape: Sequence[int], *, is_input: bool = False, **more: Any) -> int:
        """Add a tensor and give its index."""
        self.tensors.append(TensorSpec(tuple(int(size) for size in shape), **more))
        index = len(self.tensors) - 1
        if is_input:
            self.inputs.append(index)
        return index

    def constant(self, data: Any, **more: Any) -> int:
        """Add a constant tensor and give its index."""
        array = np.ascontiguousarray(data)
        return self.tensor(array.shape, dtype=array.dtype, data=array, **more)

    def node(self, code: int, inputs: list[int], output: int, **options: Any) -> int:
        """Add a node and give its output's index."""
        self.nodes.append((code, inputs, [output], options))
        return output

    def to_bytes(self) -> bytes:
        """Give the file's content."""
        buffers: list[Any] = [Table({})]
        tensors = []
        for index, spec in enumerate(self.tensors):
            buffer = 0
            if spec.data is not None:
                buffer = len(buffers)
                buffers.append(Table({0: np.frombuffer(spec.data.tobytes(), np.uint8)}))
            tensors.append(_tensor(spec, f"t{index}", buffer))
        codes = sorted({node[0] for node in self.nodes})
        operators = [_operator(codes.index(code), code, *rest) for code, *rest in self.nodes]
        graph = Table(
            {0: tensors, 1: _ints(self.inputs), 2: _ints(self.outputs), 3: operators, 4: "main"}
        )
        opcodes = [
            Table({0: Scalar("b", min(c, 127)), 2: Scalar("i", 1), 3: Scalar("i", c)})
            for c in codes
        ]
        model = Table({0: Scalar("I", 3), 1: opcodes, 2: [graph], 3: "", 4: buffers})
        return _file(model, b"TFL3")


def _ints(values: Sequence[int]) -> np.ndarray:
    return np.asarray(values, np.int32)


def _tensor(spec: TensorSpec, name: str, buffer: int) -> Table:
    fields: dict[int, Any] = {
        0: _ints(spec.shape),
        1: Scalar("b", _TYPES[np.dtype(spec.dtype)]),
        2: Scalar("I", buffer),
        3: name,
    }
    if spec.scales:
        zeros = np.full(len(spec.scales), spec.zero, np.int64)
        scales = np.asarray(spec.scales, np.float32)
        fields[4] = Table({2: scales, 3: zeros, 6: Scalar("i", spec.dimension)})
    if spec.signature:
        fields[7] = _ints(spec.signature)
    return Table(fields)


def _operator(
    index: int, code: int, inputs: list[int], outputs: list[int], options: dict[str, Any]
) -> Table:
    fields: dict[int, Any] = {0: Scalar("I", index), 1: _ints(inputs), 2: _ints(outputs)}
    if code in _OPTIONS:
        union, slots = _OPTIONS[code]
        known = {name.split(":")[0]: slot for slot, name in enumerate(slots)}
        chosen = {
            known[name]: Scalar(slots[known[name]].split(":")[1], value)
            for name, value in options.items()
        }
        fields[3], fields[4] = Scalar("B", union), Table(chosen)
    return Table(fields)


def _file(root: Table, identifier: bytes) -> bytes:
    out = bytearray(4) + identifier
    struct.pack_into("<I", out, 0, _write_table(out, root))
    return bytes(out)


def _align(out: bytearray, to: int, before: int = 0) -> None:
    """Pad so that what follows `before` bytes from here is aligned."""
    out.extend(bytes(-(len(out) + before) % to))


def _write(out: bytearray, value: Any) -> int:
    if isinstance(value, Table):
        return _write_table(out, value)
    if isinstance(value, str):
        _align(out, 4)
        at = len(out)
        out.extend(struct.pack("<I", len(value)) + value.encode() + b"\0")
        return at
    if isinstance(value, np.ndarray):
        _align(out, 16, before=4)
        at = len(out)
        out.extend(struct.pack("<I", value.size) + value.tobytes())
        return at
    _align(out, 4)
    at = len(out)
    out.extend(struct.pack("<I", len(value)) + bytes(4 * len(value)))
    for i, child in enumerate(value):
        place = at + 4 + 4 * i
        struct.pack_into("<I", out, place, _write(out, child) - place)
    return at


def _write_table(out: bytearray, table: Table) -> int:
    places, size = {}, 4
    for slot, value in table.fields.items():
        width = struct.calcsize(value.format) if isinstance(value, Scalar) else 4
        size += -size % width
        places[slot] = size
        size += width
    slots = max(places, default=-1) + 1
    _align(out, 2)
    vtable = len(out)
    entries = [places.get(slot, 0) for slot in range(slots)]
    out.extend(struct.pack(f"<{2 + slots}H", 4 + 2 * slots, size, *entries))
    _align(out, 4)
    at = len(out)
    out.extend(struct.pack("<i", at - vtable) + bytes(size - 4))
    for slot, value in table.fields.items():
        place = at + places[slot]
        if isinstance(value, Scalar):
            struct.pack_into(f"<{value.format}", out, place, value.value)
        else:
            struct.pack_into("<I", out, place, _write(out, value) - place)
    return at
