"""The proof of a file that is damaged, truncated or odd."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import Builder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from keras import layers
from proved_files import written

from edgekit_converters import ExportError
from edgekit_converters.file_proof import prove_file
from edgekit_converters.proof import count_values


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    with pytest.raises(ExportError, match="cannot be read: No such file"):
        prove_file(path)
    for content in (
        b"",
        b"PK\x03\x04 a zip archive",
        b"\0\0\0\0TFL3",
        b"\xff" * 4 + b"TFL3\0\0\0\0",
    ):
        path.write_bytes(content)
        with pytest.raises(ExportError, match=r"model\.tflite is (no \.tflite file|damaged)"):
            prove_file(path)


@pytest.fixture(scope="module")
def small_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    model = keras.Sequential(
        [keras.Input((4, 4, 2)), layers.Conv2D(3, 3, name="conv"), layers.ELU()], name="small"
    )
    return written(model, tmp_path_factory.mktemp("small"), "int8").read_bytes()


def test_a_truncated_file_is_refused(small_file: bytes, tmp_path: Path) -> None:
    path = tmp_path / "short.tflite"
    for length in range(0, len(small_file) - 64, 97):
        path.write_bytes(small_file[:length])
        with pytest.raises(ExportError):
            prove_file(path)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6)
)
def test_a_damaged_file_is_read_or_refused(
    flips: list[tuple[float, int]], small_file: bytes, tmp_path: Path
) -> None:
    content = bytearray(small_file)
    for place, value in flips:
        content[8 + int(place * (len(content) - 8))] = value
    path = tmp_path / "flipped.tflite"
    path.write_bytes(content)
    try:
        proof = prove_file(path)
    except ExportError:
        return
    assert proof.integer_operators <= proof.operators


def changed(content: bytes, change: Callable[[Any], None]) -> bytes:
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    change(model)
    builder = Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_weights_outside_the_file_are_refused(small_file: bytes, tmp_path: Path) -> None:
    def move(model: Any) -> None:
        model.buffers[1].offset, model.buffers[1].size = 4096, 64

    path = tmp_path / "huge.tflite"
    path.write_bytes(changed(small_file, move))
    with pytest.raises(ExportError, match=r"huge\.tflite keeps weights behind its flatbuffer"):
        prove_file(path)


def test_packed_weights_are_refused(small_file: bytes, tmp_path: Path) -> None:
    def pack(model: Any) -> None:
        for tensor in model.subgraphs[0].tensors:
            if (
                tensor.type == schema.TensorType.INT8
                and model.buffers[tensor.buffer].data is not None
            ):
                tensor.type = schema.TensorType.INT4

    path = tmp_path / "packed.tflite"
    path.write_bytes(changed(small_file, pack))
    with pytest.raises(ExportError, match=r"packed\.tflite stores the tensor .* as INT4"):
        prove_file(path)


def test_a_zero_is_what_the_channel_calls_zero(small_file: bytes, tmp_path: Path) -> None:
    def shift(model: Any) -> None:
        for tensor in model.subgraphs[0].tensors:
            data = model.buffers[tensor.buffer].data
            if tensor.type == schema.TensorType.INT8 and data is not None:
                raw = np.repeat(np.array([[5], [7], [9]], np.int8), 18, axis=1)
                raw[1, :4] = 0
                model.buffers[tensor.buffer].data = raw.ravel().view(np.uint8)
                tensor.quantization.zeroPoint = [5, 7, 0]
                tensor.quantization.scale = [1.0] * 3
                tensor.quantization.quantizedDimension = 0

    path = tmp_path / "shifted.tflite"
    path.write_bytes(changed(small_file, shift))
    (kernel,) = prove_file(path).weights
    assert round(kernel.sparsity * 54) == 18 + 14
    assert (kernel.distinct, kernel.distinct_per_channel) == (4, 2)


@given(
    kernel=arrays.arrays(
        np.float32,
        arrays.array_shapes(min_dims=2, max_dims=4, max_side=5),
        elements=st.sampled_from([0.0, -0.0, 0.25, -1.0, 3.0]),
    ),
    powers=st.lists(st.integers(-3, 3), min_size=5, max_size=5),
)
def test_scaling_channels_changes_no_count_within_them(kernel: Any, powers: list[int]) -> None:
    zeros, distinct, most = count_values(kernel)
    scaled = kernel * np.exp2(powers[: kernel.shape[-1]]).astype(np.float32)
    scaled_zeros, scaled_distinct, scaled_most = count_values(scaled)
    assert (scaled_zeros, scaled_most) == (zeros, most)
    assert most <= distinct
    assert most <= scaled_distinct
    assert count_values(np.moveaxis(kernel, -1, 0), 0) == (zeros, distinct, most)
