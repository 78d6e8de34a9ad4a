"""What a .tflite file asks of an NPU, read from files whose sizes are known."""

from pathlib import Path

import pytest
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import Builder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tflite_files import CONV, File, every_product, odd_ones

from edgekit.errors import NpuError
from edgekit.npu import estimate, load_npu
from edgekit.npu.dataflow import Gemm
from edgekit.npu.networks import alexnet, mobilenet_v1, mobilenet_v2, resnet50, vgg16
from edgekit.npu.workload import Layer, Loops, read_workload
from edgekit_converters.errors import ConverterError, ExportError

NEPU = load_npu("nepu-v1")
DEVICE_MODELS = Path(__file__).parents[1] / "device" / "models"


@pytest.fixture
def products(tmp_path: Path) -> dict[str, Layer]:
    return {layer.name: layer for layer in read_workload(every_product(tmp_path)).layers}


def test_a_convolution_as_loops_and_as_a_matrix_product(products: dict[str, Layer]) -> None:
    layer = products["plain"]
    loops = layer.loops
    assert loops is not None
    assert (loops.p, loops.q, loops.m, loops.c, loops.r, loops.s) == (8, 6, 8, 4, 3, 3)
    assert (loops.strides, loops.height, loops.width) == ((2, 2), 16, 12)
    assert loops.gemm == Gemm(48, 8, 36)
    assert layer.macs == 8 * 6 * 8 * 4 * 9
    assert layer.inputs[0].elements == 16 * 12 * 4
    assert layer.weights is not None
    assert (layer.weights.elements, layer.weights.bits) == (8 * 9 * 4, 8)
    assert layer.bias_bytes == 32
    # Of the values -3 to 3 in turn, one in seven is 0.
    assert layer.zero_weights == pytest.approx(1 / 7, abs=0.01)


@pytest.mark.parametrize(
    ("name", "macs", "groups"),
    [
        ("grouped", 8 * 6 * 6 * 4 * 9, 2),
        ("dilated", 4 * 2 * 5 * 6 * 9, 1),
        ("depthwise", 4 * 2 * 10 * 9, 5),
        ("transposed", 4 * 2 * 3 * 4 * 10, 1),
        ("dense", 7 * 96, 1),
    ],
)
def test_the_other_products(products: dict[str, Layer], name: str, macs: int, groups: int) -> None:
    loops = products[name].loops
    assert loops is not None
    assert (products[name].macs, loops.groups) == (macs, groups)


def test_a_dilated_kernel_reaches_further(products: dict[str, Layer]) -> None:
    loops = products["dilated"].loops
    assert loops is not None
    # 4 rows of outputs and a reach of 5: all 8 rows there are.
    assert loops.span(0, 1) == 8
    assert loops.input_elements == 8 * 6 * 6


def test_padding_is_read_from_nowhere() -> None:
    loops = Loops(p=8, q=8, m=1, c=1, r=3, s=3, height=8, width=8)
    assert loops.input_elements == 64
    assert Loops(p=8, q=8, m=1, c=1, r=3, s=3).input_elements == 100


def test_rows_that_a_stride_leaves_out_are_not_needed() -> None:
    loops = Loops(p=4, q=4, m=1, c=1, strides=(2, 2), height=8, width=8)
    assert loops.input_elements == 16


def test_constants_and_indices_are_no_activations(products: dict[str, Layer]) -> None:
    assert [len(layer.inputs) for layer in products.values()] == [1] * len(products)


def test_vector_operations_count_windows_and_elements(tmp_path: Path) -> None:
    layers = {layer.name: layer for layer in read_workload(odd_ones(tmp_path)).layers}
    assert layers["pooled"].operations == 64 * 4
    assert layers["summed"].operations == 64 * 3
    constant = layers["summed"].weights
    assert constant is not None
    assert constant.elements == 4
    assert layers["real"].outputs[0].floating


def test_what_no_npu_can_be_asked_is_named(tmp_path: Path) -> None:
    layers = {layer.name: layer.refused for layer in read_workload(odd_ones(tmp_path)).layers}
    assert layers["rooted"] == "the cost model knows no such operator"
    assert "export with a fixed batch" in str(layers["open"])
    assert layers["pooled"] is None


def test_a_kernel_made_at_run_time_is_named(tmp_path: Path) -> None:
    file = File()
    image, kernel = file.tensor(1, 4, 4, 2), file.tensor(3, 3, 3, 2)
    out = file.tensor(1, 2, 2, 3, name="out")
    file.add("CONV_2D", [image, kernel, -1], [out], **CONV, strideH=1, strideW=1)
    (layer,) = read_workload(file.write(tmp_path / "x.tflite", [image, kernel], [out])).layers
    assert layer.refused == "its kernel is no constant of the file"


def test_shapes_that_contradict_the_operator_are_refused(tmp_path: Path) -> None:
    import numpy as np

    file = File()
    image, out = file.tensor(4, 4), file.tensor(1, 2, 2, 3)
    kernel = file.constant(np.ones((3, 3, 3, 2), np.int8))
    file.add("CONV_2D", [image, kernel, -1], [out], **CONV, strideH=1, strideW=1)
    path = file.write(tmp_path / "x.tflite", [image], [out])
    with pytest.raises(NpuError, match=r"x\.tflite: operator 0 \(CONV_2D\) contradicts"):
        read_workload(path)


def test_what_is_no_tflite_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tflite"
    path.write_text("hello, this is no model")
    with pytest.raises(ExportError, match=r"is no \.tflite file"):
        read_workload(path)


def test_a_file_without_a_graph_is_refused(tmp_path: Path) -> None:
    model, builder = schema.ModelT(), Builder(64)
    model.subgraphs, model.operatorCodes, model.buffers = [], [], []
    builder.Finish(model.Pack(builder), b"TFL3")
    path = tmp_path / "x.tflite"
    path.write_bytes(bytes(builder.Output()))
    with pytest.raises(NpuError, match=r"x\.tflite holds no graph"):
        read_workload(path)


def test_a_real_converters_file() -> None:
    layers = read_workload(DEVICE_MODELS / "conv_int8.tflite").layers
    assert [layer.operator for layer in layers] == [
        "CONV_2D", "CONV_2D", "MEAN", "FULLY_CONNECTED", "SOFTMAX",
    ]  # fmt: skip
    assert [layer.macs for layer in layers] == [10_584, 28_800, 0, 80, 0]


@pytest.mark.parametrize(
    ("network", "macs", "weights"),
    [
        # The papers' totals: 569 M, 300 M, 15.5 G, 3.8 G and 666 M multiply-accumulates.
        (mobilenet_v1(), 568_740_352, 4_209_088),
        (mobilenet_v2(), 300_774_272, 3_469_760),
        (vgg16(), 15_470_264_320, 138_344_128),
        (resnet50(), 3_857_973_248, 25_502_912),
        (alexnet(), 665_784_864, 2_332_704),
    ],
    ids=["mobilenet-v1", "mobilenet-v2", "vgg16", "resnet50", "alexnet"],
)
def test_published_networks_have_their_published_size(
    network: tuple[tuple[str, Loops], ...], macs: int, weights: int
) -> None:
    assert sum(loops.macs for _, loops in network) == macs
    assert sum(loops.weight_elements for _, loops in network) == weights


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    flips=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6
    )
)
def test_a_flipped_file_is_estimated_or_refused(
    flips: list[tuple[float, int]], tmp_path: Path
) -> None:
    path = every_product(tmp_path)
    content = bytearray(path.read_bytes())
    for place, value in flips:
        content[8 + int(place * (len(content) - 8))] = value
    path.write_bytes(content)
    try:
        workload = read_workload(path)
    except (ConverterError, NpuError):
        return
    found = estimate(workload, NEPU)
    assert len(found.layers) + len(found.not_estimated) == len(workload.layers)
    assert found.cycles >= 0
