"""Shapes and sizes that the delegate refuses: a sentence, never a read beyond a buffer."""

from pathlib import Path

import numpy as np
import pytest
import tflite_file as tf
from chains import SAME, Q, reshaped
from delegate_models import (
    OPERATORS,
    RUNTIME,
    input_tensor,
    need_delegate,
    weights,
)
from tflite_file import ModelFile

from edgekit_device.delegate import Nepu
from edgekit_device.errors import ModelError


@pytest.fixture(scope="module", autouse=True)
def _delegate() -> None:
    need_delegate()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20)


def test_a_size_that_fits_no_window_is_refused_with_a_sentence(rng: np.random.Generator) -> None:
    model = ModelFile()
    x = input_tensor(model, rng, (1, 6, 6, 4))
    constants = weights(model, rng, (4, 5, 5, 4), 0, x)
    out = model.tensor((1, 2, 2, 4), **Q)
    model.outputs = [
        model.node(tf.CONV_2D, [x, *constants], out, activation=0, **{**SAME, "padding": 1})
    ]
    interpreter = Nepu(None, RUNTIME).interpreter(model.to_bytes())
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], (1, 3, 3, 4))
    with pytest.raises(RuntimeError, match="a window of 5 does not fit into 3"):
        interpreter.allocate_tensors()


@pytest.mark.parametrize("name", ["CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D", "PAD"])
def test_another_number_of_dimensions_is_refused_with_a_sentence(
    name: str, rng: np.random.Generator
) -> None:
    model, _ = OPERATORS[name](rng)
    interpreter = Nepu(None, RUNTIME).interpreter(model.to_bytes())
    details = interpreter.get_input_details()[0]
    interpreter.resize_tensor_input(details["index"], [*details["shape"], 1, 1])
    with pytest.raises(RuntimeError):
        interpreter.allocate_tensors()


@pytest.mark.parametrize(
    ("shape", "received"), [((1, 16), "16"), ((2, 4), "4"), ((), "that of a scalar")]
)
def test_a_dense_layer_that_keeps_dimensions_is_refused_another_depth(
    shape: tuple[int, ...], received: str, rng: np.random.Generator
) -> None:
    model = ModelFile()
    x = input_tensor(model, rng, (1, 8), **Q)
    constants = weights(model, rng, (5, 8), 0, x)
    out = model.tensor((1, 5), **Q)
    model.outputs = [model.node(tf.FULLY_CONNECTED, [x, *constants], out, activation=0, keep=True)]
    interpreter = Nepu(None, RUNTIME).interpreter(model.to_bytes())
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], shape)
    sentence = "FULLY_CONNECTED: with keep_num_dims the input's last dimension must be 8"
    # A depth that is no multiple of the weights' is refused before.
    expected = "FULLY_CONNECTED: " if received != "16" else f"{sentence}, .* not {received}"
    with pytest.raises(RuntimeError, match=expected):
        interpreter.allocate_tensors()


@pytest.mark.parametrize("code", [tf.CONV_2D, tf.DEPTHWISE_CONV_2D, tf.TRANSPOSE_CONV])
@pytest.mark.parametrize("shape", [(2,), (2, 3, 3), (1, 3, 3, 4, 1)])
def test_weights_of_other_than_four_dimensions_are_left_to_the_runtime(
    code: int, shape: tuple[int, ...], rng: np.random.Generator
) -> None:
    model = ModelFile()
    # No channels are as many as weights without a fourth dimension seem to have.
    x = input_tensor(model, rng, (1, 6, 6, 4 if len(shape) > 4 else 0), **Q)
    w = model.constant(np.ones(shape, np.int8), scales=(0.01,))
    inputs = [x, w]
    if code == tf.TRANSPOSE_CONV:
        inputs = [model.constant(np.array([1, 6, 6, 2], np.int32)), w, x]
    out = model.tensor((1, 6, 6, 2), **Q)
    options = {**SAME, "activation": 0}
    if code == tf.TRANSPOSE_CONV:
        options = {name: options[name] for name in ("padding", "stride_h", "stride_w")}
    model.outputs = [model.node(code, inputs, out, **options)]
    nepu = Nepu(None, RUNTIME)
    with pytest.raises(ModelError):  # the runtime's own kernel refuses it too
        nepu.interpreter(model.to_bytes())
    (left,) = nepu.coverage().left()
    received = f"weights have four dimensions, all at least 1. Received: {list(shape)}"
    assert left.reason is not None
    assert left.reason.endswith(received)


@pytest.mark.parametrize(
    "sizes",
    [
        {"dilation_h": 2**30},
        {"dilation_w": 2**31 - 1},
        {"stride_h": 2**31 - 1},
        {"dilation_h": 2**30, "stride_h": 2**31 - 1, "padding": 1},
    ],
)
@pytest.mark.parametrize("code", [tf.CONV_2D, tf.DEPTHWISE_CONV_2D])
def test_windows_beyond_any_image_are_refused_with_a_sentence(
    sizes: dict[str, int], code: int, rng: np.random.Generator
) -> None:
    model = ModelFile()
    x = input_tensor(model, rng, (1, 6, 6, 4), **Q)
    filters = (4, 3, 3, 4) if code == tf.CONV_2D else (1, 3, 3, 4)
    constants = weights(model, rng, filters, 0 if code == tf.CONV_2D else 3, x)
    out = model.tensor((1, 6, 6, 4), **Q)
    options = {**SAME, **sizes, "activation": 0}
    model.outputs = [model.node(code, [x, *constants], out, **options)]
    with pytest.raises(ModelError, match=r"a window of \d+ with a stride of \d+ on 6 is too large"):
        Nepu(None, RUNTIME).interpreter(model.to_bytes())


@pytest.mark.parametrize(
    ("shape", "wanted", "received"), [((1, 1), (-1, -1), -1), ((2, 2), (-2, -2), -2)]
)
def test_sizes_below_zero_are_refused_even_if_they_multiply_to_the_count(
    shape: tuple[int, ...], wanted: tuple[int, ...], received: int, rng: np.random.Generator
) -> None:
    model = reshaped(rng, shape, wanted)
    with pytest.raises(ModelError, match=f"RESHAPE: a size must be 0 or more, .* not {received}$"):
        Nepu(None, RUNTIME).interpreter(model.to_bytes())


def test_sizes_whose_product_fits_no_number_are_refused(rng: np.random.Generator) -> None:
    model = reshaped(rng, (2, 2), (2**30, 2**30, 2**30))
    with pytest.raises(ModelError, match="NEPU delegate: a tensor is too large"):
        Nepu(None, RUNTIME).interpreter(model.to_bytes())


def test_a_failure_is_one_line_with_the_files_name_and_the_reason(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    file = tmp_path / "odd.tflite"
    file.write_bytes(reshaped(rng, (2, 2), (3, 3)).to_bytes())
    with pytest.raises(ModelError) as caught:
        Nepu(None, RUNTIME).interpreter(file)
    assert str(caught.value) == (
        "odd.tflite: NEPU delegate: RESHAPE: 4 elements do not fill the new shape"
    )


def test_a_failure_of_the_runtimes_own_node_still_names_it(rng: np.random.Generator) -> None:
    model = ModelFile()
    x = input_tensor(model, rng, (1, 6, 6, 4), **Q)
    w = model.constant(np.ones((3, 3), np.int8), scales=(0.01,))
    out = model.tensor((1, 6, 6, 4), **Q)
    model.outputs = [model.node(tf.CONV_2D, [x, w], out, activation=0, **SAME)]
    with pytest.raises(
        ModelError, match=r"; Node number 0 \(CONV_2D\) failed to prepare$"
    ) as caught:
        Nepu(None, RUNTIME).interpreter(model.to_bytes())
    assert "\n" not in str(caught.value)


def test_a_bias_of_another_length_is_refused(rng: np.random.Generator) -> None:
    model = ModelFile()
    x = input_tensor(model, rng, (1, 6, 6, 4), **Q)
    w, _ = weights(model, rng, (4, 3, 3, 4), 0, x)
    short = model.constant(np.zeros(2, np.int32), scales=(0.01,))
    out = model.tensor((1, 6, 6, 4), **Q)
    model.outputs = [model.node(tf.CONV_2D, [x, w, short], out, activation=0, **SAME)]
    nepu = Nepu(None, RUNTIME)
    with pytest.raises(ModelError):  # the runtime's own kernel refuses it too
        nepu.interpreter(model.to_bytes())
    (left,) = nepu.coverage().left()
    assert left.reason is not None
    assert left.reason.endswith("one value per output channel. Received: 2 values for 4")
