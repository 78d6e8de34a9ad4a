"""Reading a .tflite file: operators, kernels with their channels, and files that are broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from converter_models import MODELS, randomise, samples
from flatbuffers import Builder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import layers

from edgekit_converters import ConverterError, ExportError, Quantize, export_tflite
from edgekit_converters.contents import FileKernel, file_kernels, read_contents
from edgekit_converters.file_proof import prove_file
from edgekit_converters.passes import SCHEMES
from edgekit_converters.proof import FileProof, LayerProof, count_values

Change = Callable[[Any], None]


def written(model: Any, folder: Path, scheme: str = "float32") -> Path:
    path = folder / f"{model.name}.tflite"
    export_tflite(model, Quantize(scheme), path, representative=samples(model, 8))  # type: ignore[arg-type]
    return path


def kernels_of(path: Path) -> list[FileKernel]:
    return [kernel for graph in read_contents(path) for kernel in file_kernels(graph)]


def halved(kernel: Any, axis: int, values: tuple[float, ...] = (-1.0, 0.5, 2.0)) -> Any:
    """Every second weight zero and, in each output channel, the others of the same few values."""
    moved = np.moveaxis(np.zeros(kernel.shape), axis, 0)
    for channel, kept in enumerate(moved):
        flat = np.zeros(kept.size)
        flat[channel % 2 :: 2] = np.resize(values, flat[channel % 2 :: 2].size)
        moved[channel] = flat.reshape(kept.shape)
    return np.moveaxis(moved, 0, axis)


def of_every_rank() -> Any:
    """Grouped, one-, two- and three-dimensional convolution, and a product written by einsum."""
    image = keras.Input((6, 6, 4), name="image")
    x = layers.Conv2D(8, 3, groups=2, name="grouped")(image)
    x = layers.Conv3D(3, (1, 1, 4), name="cube")(layers.Reshape((4, 4, 8, 1))(x))
    x = layers.Conv1D(5, 2, name="line")(layers.Reshape((16, 15))(x))
    x = layers.EinsumDense("abc,cd->abd", output_shape=(15, 7), name="einsum")(x)
    model = randomise(keras.Model(image, layers.Dense(3, name="dense")(x), name="ranks"))
    for name in ("grouped", "cube", "line", "einsum", "dense"):
        kernel = model.get_layer(name).kernel
        kernel.assign(halved(kernel, -1))
    return model


@pytest.mark.parametrize("scheme", SCHEMES)
def test_channels_are_where_keras_has_them(scheme: str, tmp_path: Path) -> None:
    model = of_every_rank()
    found = kernels_of(written(model, tmp_path, scheme))
    by_size = {kernel.tensor.data.size: kernel for kernel in found}
    assert len(by_size) == len(found) == 5
    for name in ("grouped", "cube", "line", "einsum", "dense"):
        kept = np.asarray(model.get_layer(name).kernel)
        got = by_size[kept.size]
        assert got.tensor.shape[got.channel_axis] == kept.shape[-1]
        sparsity, _, most = count_values(got.tensor.data, got.channel_axis)
        wanted, _, distinct = count_values(kept)
        assert (round(sparsity * kept.size), most) == (round(wanted * kept.size), distinct)


def test_both_kernels_of_a_separable_layer_are_named_and_checked(tmp_path: Path) -> None:
    model = keras.Sequential(
        [keras.Input((6, 6, 4)), layers.SeparableConv2D(10, 3, name="sep")], name="separable"
    )
    depthwise, pointwise = randomise(model).layers[0].weights[:2]
    depthwise.assign(halved(depthwise, 2))
    pointwise.assign(halved(pointwise, -1))
    for scheme in SCHEMES:
        path = written(model, tmp_path, scheme)
        asked = [
            LayerProof("sep", size, 0.5, 4, 4, sparsity_asked=0.5, distinct_asked=4)
            for size in (36, 40)
        ]
        proof = prove_file(path, asked)
        assert [(w.layer, w.weights) for w in proof.weights] == [("sep", 36), ("sep", 40)]
        assert proof.not_found == ()
        with pytest.raises(ConverterError, match=r"'sep' in separable\.tflite has 5"):
            prove_file(path, [asked[0], LayerProof("sep", 40, 0.8, 4, 4, sparsity_asked=0.8)])


@pytest.mark.parametrize("order", [("conv", "conv_1", "conv_1_1"), ("conv_1_1", "conv", "conv_1")])
@pytest.mark.parametrize("scheme", ["float32", "int8"])
def test_convolutions_with_numbers_in_their_names_stay_apart(
    order: tuple[str, ...], scheme: str, tmp_path: Path
) -> None:
    steps = [layers.Conv2D(4, 1, use_bias=False, name=name) for name in order]
    model = keras.Sequential([keras.Input((4, 4, 4)), *steps], name="conv")
    for zeros, layer in enumerate(model.layers, start=1):
        kernel = np.full(16, 0.5)
        kernel[:zeros] = 0.0
        layer.kernel.assign(kernel.reshape(layer.kernel.shape))
    path = written(model, tmp_path, scheme)
    for known in range(1, 4):
        asked = [LayerProof(name, 16, 0.0, 2, 2, distinct_asked=2) for name in order[:known]]
        proof = prove_file(path, asked)
        for tensor in proof.weights:
            assert tensor.layer in ("", order[round(tensor.sparsity * 16) - 1])
        named = {tensor.layer for tensor in proof.weights} - {""}
        assert named | set(proof.not_found) == set(order[:known])
    assert proof.not_found == ()


def test_a_layer_that_is_not_in_the_file_is_not_found(tmp_path: Path) -> None:
    model = randomise(MODELS["sequential"]())
    asked = [
        LayerProof("elsewhere", 108, 0.5, 9, 9, sparsity_asked=0.5),
        LayerProof("first", 109, 0.5, 9, 9, distinct_asked=9),  # of another size
        LayerProof("unasked", 108, 0.5, 9, 9),
    ]
    assert prove_file(written(model, tmp_path), asked).not_found == ("elsewhere", "first")


def test_kernels_inside_a_loop_are_counted(tmp_path: Path) -> None:
    graphs = read_contents(written(randomise(MODELS["recurrent"]()), tmp_path))
    assert [graph.entry for graph in graphs] == [True] + [False] * (len(graphs) - 1)
    sizes = sorted(kernel.tensor.data.size for graph in graphs for kernel in file_kernels(graph))
    # Two GRUs of 4 units on 3 features, an LSTM of 5 on 8, a dense layer.
    assert sizes == sorted([36, 48, 36, 48, 160, 100, 10])
    loops = [found for graph in graphs for found in graph.operators if found.name == "WHILE"]
    assert len(loops) == 3
    assert {graphs[0].arithmetic(loop) for loop in loops} == {"none"}


def test_a_float16_kernel_is_read_where_it_is_stored(tmp_path: Path) -> None:
    (graph,) = read_contents(written(randomise(MODELS["sequential"]()), tmp_path, "float16"))
    assert {kernel.tensor.dtype for kernel in file_kernels(graph)} == {"float16"}
    unpacking = [found for found in graph.operators if found.name == "DEQUANTIZE"]
    assert unpacking
    assert {graph.arithmetic(found) for found in unpacking} == {"none"}


def test_the_ends_of_an_integer_file_do_not_compute(tmp_path: Path) -> None:
    (graph,) = read_contents(written(randomise(MODELS["two_by_two"]()), tmp_path, "int8"))
    ends = [found for found in graph.operators if found.name in ("QUANTIZE", "DEQUANTIZE")]
    said = [graph.arithmetic(found) for found in ends]
    assert said.count("none") == 4  # two inputs, two outputs
    assert "float" not in said


def test_what_is_no_file_is_refused_in_one_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "folder.tflite"
    folder.mkdir()
    empty = tmp_path / "empty.tflite"
    empty.write_bytes(b"")
    for path in (folder, empty, tmp_path / "absent.tflite"):
        with pytest.raises(ExportError, match=path.name) as refusal:
            prove_file(path)
        assert "\n" not in str(refusal.value)
        assert str(refusal.value).endswith(".")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    steps = [layers.Conv2D(3, 3, name="conv"), layers.ELU(), layers.Flatten(), layers.Dense(8)]
    model = randomise(keras.Sequential([keras.Input((4, 4, 2)), *steps], name="plain"))
    return written(model, tmp_path_factory.mktemp("plain"), "int8").read_bytes()


def changed(content: bytes, change: Change) -> bytes:
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    graph.operators, graph.tensors = list(graph.operators), list(graph.tensors)
    change(model)
    builder = Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def activation(model: Any) -> int:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type = b"more", [1, 4], schema.TensorType.FLOAT32
    model.subgraphs[0].tensors.append(tensor)
    return len(model.subgraphs[0].tensors) - 1


def add(model: Any, name: str, inputs: list[int], outputs: list[int]) -> None:
    code, operator = schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = getattr(schema.BuiltinOperator, name)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    model.operatorCodes.append(code)
    operator.opcodeIndex = len(model.operatorCodes) - 1
    operator.inputs, operator.outputs = inputs, outputs
    model.subgraphs[0].operators.append(operator)


def conversions_in_a_ring(model: Any) -> None:
    one, other = activation(model), activation(model)
    add(model, "DEQUANTIZE", [one], [other])
    add(model, "QUANTIZE", [other], [one])
    add(model, "FULLY_CONNECTED", [one, other, -1], [activation(model)])


def test_conversions_in_a_ring_lead_to_no_kernel(plain: bytes, tmp_path: Path) -> None:
    path = tmp_path / "ring.tflite"
    path.write_bytes(plain)
    before = kernels_of(path)
    path.write_bytes(changed(plain, conversions_in_a_ring))
    assert len(kernels_of(path)) == len(before) == 2
    assert len(prove_file(path).weights) == 2


def zero_points_of_more_channels(model: Any) -> None:
    for tensor in model.subgraphs[0].tensors:
        if tensor.type == schema.TensorType.INT8 and model.buffers[tensor.buffer].data is not None:
            tensor.quantization.zeroPoint, tensor.quantization.scale = [5] * 7, [1.0] * 7
            tensor.quantization.quantizedDimension = 0


def no_inputs(model: Any) -> None:
    add(model, "DEQUANTIZE", [], [activation(model)])


def no_outputs(model: Any) -> None:
    add(model, "QUANTIZE", [activation(model)], [])


def absent_tensor(model: Any) -> None:
    add(model, "FULLY_CONNECTED", [0, 10**6, -1], [activation(model)])


def unreadable_name(model: Any) -> None:
    model.subgraphs[0].tensors[0].name = b"\xff\xfe"


@pytest.mark.parametrize(
    "damage",
    [zero_points_of_more_channels, no_inputs, no_outputs, absent_tensor, unreadable_name],
)
def test_what_contradicts_itself_is_refused(damage: Change, plain: bytes, tmp_path: Path) -> None:
    path = tmp_path / "wrong.tflite"
    path.write_bytes(changed(plain, damage))
    with pytest.raises(ExportError, match=r"wrong\.tflite is damaged .*; export it again\."):
        prove_file(path)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cut=st.floats(0.5, 1),
    flips=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8
    ),
)
def test_a_cut_and_flipped_file_with_layers_asked_is_proved_or_refused(
    cut: float, flips: list[tuple[float, int]], plain: bytes, tmp_path: Path
) -> None:
    content = bytearray(plain[: int(cut * len(plain))])
    for place, value in flips:
        content[8 + int(place * (len(content) - 8))] = value
    path = tmp_path / "flipped.tflite"
    path.write_bytes(content)
    asked = [LayerProof("conv", 54, 0.0, 54, 18, distinct_asked=18)]
    try:
        proof = prove_file(path, asked, {"conv": "left out"})
    except ConverterError:
        return
    assert isinstance(proof, FileProof)
