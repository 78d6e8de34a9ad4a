"""LCRM as a pass: shapes stay, the plan tells the truth, what is kept stays as it was."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from converter_models import MODELS, assert_same, outputs, randomise, samples
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from edgekit_converters import apply_lcrm
from edgekit_converters.complexity import total_macs
from edgekit_converters.graph import read_graph
from edgekit_converters.lcrm.rules import STYLES


def around(conv: Any, shape: tuple[int | None, ...], bn: bool = False) -> Any:
    """The convolution between BN + ReLU, as an inner layer of a model."""
    image = keras.Input(shape)
    x = conv(layers.ReLU()(image))
    if bn:
        x = layers.ReLU()(layers.BatchNormalization()(x))
    return keras.Model(image, x)


CASES = {"1.1": (3, 6), "1.2": (4, 9), "2": (6, 4), "3": (4, 4), "from one": (1, 5)}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.sampled_from(sorted(CASES)),
    st.tuples(st.integers(1, 5), st.integers(1, 5)).filter(lambda k: k != (1, 1)),
    st.integers(1, 3),
    st.sampled_from([1, 2, (1, 2)]),
    st.sampled_from(["same", "valid"]),
    st.booleans(),
    st.sampled_from([None, "relu", "softmax", "swish"]),
    st.sampled_from(STYLES),
    st.tuples(st.integers(9, 13), st.integers(9, 13)),
    st.booleans(),
)
def test_shapes_stay_and_the_plan_tells_the_truth(
    case: str, kernel: Any, stride: int, dilation: Any, padding: str, bias: bool,
    activation: str | None, style: Any, size: tuple[int, int], bn: bool,
) -> None:  # fmt: skip
    m, n = CASES[case]
    conv = layers.Conv2D(
        n, kernel, strides=stride, padding=padding, use_bias=bias, activation=activation,
        dilation_rate=dilation if stride == 1 else 1, name="it",
    )  # fmt: skip
    model = around(conv, (*size, m), bn)
    rewritten, (decision,) = apply_lcrm(model, style=style, keep_ends=False)
    assert rewritten.output_shape == model.output_shape
    x = samples(model)
    (before,), (after,) = outputs(model, x), outputs(rewritten, x)
    assert after.shape == before.shape
    assert np.isfinite(after).all()
    saved = decision.parameters_before - decision.parameters_after
    assert model.count_params() - rewritten.count_params() == saved
    assert (saved > 0) == (decision.substitute is not None)
    work = [total_macs(read_graph(each))[0] for each in (model, rewritten)]
    assert decision.macs_before is not None
    assert decision.macs_after is not None
    assert work[0] - work[1] == decision.macs_before - decision.macs_after
    if not bn and activation == "relu":
        assert after.min() >= 0
    if not bn and activation == "softmax":
        np.testing.assert_allclose(after.sum(-1), 1, rtol=1e-5)


CENTRES = [
    (kernel, stride, dilation, padding, size)
    for kernel in (2, 3, 5, 7)
    for stride, dilation in ((1, 1), (2, 1), (3, 1), (1, 2))
    for padding in ("same", "valid")
    for size in (14, 15)
    if (kernel - 1) * dilation // 2 % dilation == 0  # else no tap lies in the middle
]


@pytest.mark.parametrize(("kernel", "stride", "dilation", "padding", "size"), CENTRES)
def test_a_pointwise_substitute_reads_the_centres_of_the_windows(
    kernel: int, stride: int, dilation: int, padding: str, size: int
) -> None:
    options = {"strides": stride, "padding": padding, "dilation_rate": dilation}
    model = around(layers.Conv2D(2, kernel, name="it", **options), (size, size + 3, 3))
    weights, bias = np.random.default_rng(0).normal(size=(3, 2)), np.array([0.3, -0.2])
    full = np.zeros((kernel, kernel, 3, 2))
    middle = (kernel - 1) * dilation // 2 // dilation
    full[middle, middle] = weights
    model.get_layer("it").set_weights([full, bias])
    rewritten, _ = apply_lcrm(model, keep_ends=False)
    rewritten.get_layer("it_pointwise").set_weights([weights[None, None], bias])
    x = samples(model, 1)
    assert_same(outputs(rewritten, x), outputs(model, x), 1e-5)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", MODELS)
def test_layers_that_stay_keep_their_weights(name: str, style: Any) -> None:
    model = randomise(MODELS[name]())
    rewritten, plan = apply_lcrm(model, style=style)
    replaced = {decision.path for decision in plan if decision.substitute}
    copies = {call.path: call.layer for call in read_graph(rewritten).calls}
    stayed = 0
    for call in read_graph(model).calls:
        if call.path not in replaced and isinstance(call.layer, keras.layers.Layer):
            copy = copies[call.path]
            assert copy is not call.layer
            assert_same(copy.get_weights(), call.layer.get_weights(), 0)
            stayed += len(call.layer.weights)
    assert stayed > 0
    assert [tuple(t.shape) for t in rewritten.outputs] == [tuple(t.shape) for t in model.outputs]
    assert [tensor.name for tensor in rewritten.inputs] == [t.name for t in model.inputs]


@pytest.mark.parametrize("name", MODELS)
def test_a_model_with_nothing_to_replace_computes_the_same(name: str) -> None:
    model = randomise(MODELS[name]())
    inner = [d.path for d in apply_lcrm(model)[1]]
    rewritten, plan = apply_lcrm(model, where=tuple(f"!{path}" for path in inner))
    assert not [decision for decision in plan if decision.substitute]
    assert_same(outputs(rewritten, samples(model)), outputs(model, samples(model)), 1e-6)


@pytest.mark.parametrize("case", ["1.1", "1.2"])
def test_a_multiplier_repeats_channels_for_depthwise_layers_of_one_kernel_each(case: str) -> None:
    m, n = CASES[case]
    model = around(layers.Conv2D(n, 3, strides=2, name="it"), (9, 9, m), bn=True)
    rewritten, (decision,) = apply_lcrm(model, keep_ends=False, multiplier=3)
    assert rewritten.output_shape == model.output_shape
    assert model.count_params() - rewritten.count_params() == (
        decision.parameters_before - decision.parameters_after
    )
    (deep,) = (la for la in rewritten.layers if isinstance(la, layers.DepthwiseConv2D))
    assert deep.depth_multiplier == 1
    assert deep.kernel.shape == (3, 3, 3 * m, 1)


@pytest.mark.parametrize("style", STYLES)
def test_every_style_trains_and_comes_back_from_a_file(style: Any, tmp_path: Path) -> None:
    model, _ = apply_lcrm(MODELS["skip"](), style=style, keep_ends=False)
    x, y = samples(model, 16)[0], np.zeros((16, 2), "float32")
    model.compile("sgd", "mse")
    losses = model.fit(x, y, epochs=3, verbose=0).history["loss"]
    assert all(later < earlier for earlier, later in pairwise(losses))
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert_same(outputs(loaded, [x]), outputs(model, [x]))


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("case", CASES)
def test_an_open_size_stays_open(case: str, padding: str) -> None:
    m, n = CASES[case]
    conv = layers.Conv2D(n, 3, strides=2, padding=padding, name="it")
    model = around(conv, (None, None, m))
    rewritten, (decision,) = apply_lcrm(model, keep_ends=False)
    assert rewritten.output_shape == model.output_shape == (None, None, None, n)
    assert decision.substitute is not None
    assert decision.macs_before is decision.macs_after is None
    assert decision.verdict.startswith("cannot say")
    for size in (7, 8, 11):
        x = np.ones((1, size, size + 1, m), np.float32)
        assert np.shape(rewritten(x)) == np.shape(model(x))


def test_the_substitute_inherits_what_the_convolution_was_told() -> None:
    options: dict[str, Any] = {
        "kernel_regularizer": keras.regularizers.L2(1e-3),
        "bias_regularizer": keras.regularizers.L1(1e-3),
        "activity_regularizer": keras.regularizers.L2(1e-2),
        "kernel_constraint": keras.constraints.MaxNorm(2),
        "kernel_initializer": keras.initializers.HeNormal(seed=1),
        "bias_initializer": "ones",
        "dtype": "float32",
    }
    for case, (m, n) in CASES.items():
        model = around(layers.Conv2D(n, 3, name="it", **options), (8, 8, m))
        rewritten, _ = apply_lcrm(model, keep_ends=False)
        made = [layer for layer in rewritten.layers if "wise" in layer.name]
        assert all(layer.bias_regularizer is not None for layer in made), case
        assert all((layer.bias.numpy() == 1).all() for layer in made), case
        rewritten(samples(model)[0])
        weighted = sum(2 for _ in made)
        assert len(rewritten.losses) == weighted + 1, case


def test_what_nested_models_share_stays_shared() -> None:
    inside, image = keras.Input((8, 8, 4)), keras.Input((8, 8, 4))
    twin = layers.Conv2D(4, 3, padding="same", name="twin")
    inner = keras.Model(inside, twin(inside), name="inner")
    model = keras.Model(image, layers.Flatten()(inner(layers.ReLU()(twin(image)))))
    rewritten, _ = apply_lcrm(model, keep_ends=False)
    assert rewritten.count_params() == model.count_params()
    assert_same(outputs(rewritten, samples(model)), outputs(model, samples(model)), 0)


def test_a_model_compiled_with_a_loss_of_the_users_own_is_rewritten() -> None:
    inputs = keras.Input((8, 8, 4))
    tensor = inputs
    for _ in range(3):
        tensor = keras.layers.Conv2D(4, 3, padding="same")(tensor)
    model = keras.Model(inputs, tensor)
    model.compile(loss=lambda wanted, got: keras.ops.mean(wanted - got))
    rewritten, plan = apply_lcrm(model)
    assert [decision.case for decision in plan if decision.substitute] == ["3"]
    assert rewritten.output_shape == model.output_shape
