"""Low-rank factorisation: exact at full rank, smaller below it, every other trait kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from cascade_runs import CLASSES, FAST, chain, data, operators
from converter_models import MODELS, assert_same, frozen, outputs, randomise, samples
from keras import layers

from edgekit_converters import LowRank, Quantize, RewriteError, export_tflite, run_pass
from edgekit_converters.complexity import total_macs
from edgekit_converters.factors import build_factors, matrix_of, split
from edgekit_converters.graph import read_graph

FORMS = ("channels", "spatial")


def around(layer: Any, shape: tuple[int | None, ...]) -> Any:
    image = keras.Input(shape)
    return randomise(keras.Model(image, layer(image), name="around"))


def low(kernel: Any, rank: int, form: str, noise: float = 1e-3) -> Any:
    """The kernel's best of that rank, and a little noise."""
    left, right = split(matrix_of(np.asarray(kernel, np.float64), form), rank)
    rng = np.random.default_rng(2)
    matrix = left @ right
    matrix += noise * rng.normal(size=matrix.shape) * np.abs(matrix).max()
    if form != "spatial":
        return matrix.reshape(kernel.shape)
    high, wide, inputs, units = kernel.shape
    return matrix.reshape(high, inputs, wide, units).transpose(0, 2, 1, 3)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    ("strides", "dilation"),
    [((1, 1), (1, 1)), ((2, 2), (1, 1)), ((3, 2), (1, 1)), ((1, 1), (2, 3))],
)
@pytest.mark.parametrize("kernel", [(3, 3), (2, 5)])
def test_at_full_rank_a_convolution_computes_the_same(
    kernel: Any, strides: Any, dilation: Any, padding: str, form: str
) -> None:
    conv = layers.Conv2D(
        7, kernel, strides=strides, padding=padding, dilation_rate=dilation, activation="relu",
    )  # fmt: skip
    model = around(conv, (13, 14, 5))
    full = min(matrix_of(np.asarray(conv.kernel), form).shape)
    image = keras.Input((13, 14, 5))
    factored = keras.Model(image, build_factors(conv, form, full)(image))
    assert [layer.use_bias for layer in factored.layers[1:]] == [False, True]
    assert_same(outputs(factored, samples(model)), outputs(model, samples(model)), 2e-5)


@pytest.mark.parametrize("shape", [(9, 5), (5, 9), (6, 6)])
def test_at_full_rank_a_dense_layer_computes_the_same(shape: tuple[int, int]) -> None:
    dense = layers.Dense(shape[1], activation="tanh")
    model = around(dense, (4, shape[0]))
    image = keras.Input((4, shape[0]))
    factored = keras.Model(image, build_factors(dense, "dense", min(shape))(image))
    assert_same(outputs(factored, samples(model)), outputs(model, samples(model)), 1e-5)


@pytest.mark.parametrize("shape", [(12, 5), (5, 12)])
def test_factors_are_those_of_the_singular_value_decomposition(shape: tuple[int, int]) -> None:
    matrix = np.random.default_rng(4).normal(size=shape)
    values = np.linalg.svd(matrix, compute_uv=False)
    for rank in range(1, 6):
        left, right = split(matrix, rank)
        lost = ((matrix - left @ right) ** 2).sum()
        assert lost == pytest.approx((values[rank:] ** 2).sum(), abs=1e-9)
        norms = np.linalg.norm(left, axis=0), np.linalg.norm(right, axis=1)
        np.testing.assert_allclose(norms[0], norms[1], rtol=1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_the_cheaper_form_of_the_asked_energy_is_taken_and_counted(form: str) -> None:
    conv = layers.Conv2D(16, 3, padding="same", name="it", activation="relu")
    model = around(conv, (10, 12, 12))
    conv.set_weights([low(conv.kernel, 3, form), conv.bias])
    outcome = run_pass(model, LowRank(0.99))
    (told,) = outcome.changed
    assert "rank 3 of" in told
    shapes = [tuple(layer.kernel_size) for layer in outcome.model.layers[1:]]
    assert shapes == {"channels": [(3, 3), (1, 1)], "spatial": [(3, 1), (1, 3)]}[form]
    weights = sum(int(np.prod(layer.kernel.shape)) for layer in outcome.model.layers[1:])
    work = total_macs(read_graph(outcome.model))[0]
    assert told.endswith(f"{9 * 12 * 16} weights become {weights}, {9 * 12 * 16 * 120} MACs {work}")
    assert (weights, work) < (9 * 12 * 16, 9 * 12 * 16 * 120)
    (got,), (wanted,) = outputs(outcome.model, samples(model)), outputs(model, samples(model))
    assert 1e-6 < np.abs(got - wanted).max() < 0.1 * np.abs(wanted).max()


def test_more_energy_is_nearer_and_larger() -> None:
    dense = layers.Dense(64, name="it")
    model = around(dense, (80,))
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(80, 64)) @ np.diag(0.8 ** np.arange(64.0))
    dense.set_weights([kernel, dense.bias])
    found = []
    for energy in (0.5, 0.8, 0.95, 0.999):
        outcome = run_pass(model, LowRank(energy))
        (got,), (wanted,) = outputs(outcome.model, samples(model)), outputs(model, samples(model))
        found.append((-outcome.model.count_params(), float(np.abs(got - wanted).max())))
        basis, mix = (np.asarray(layer.kernel) for layer in outcome.model.layers[1:])
        kept = 1 - ((basis @ mix - kernel) ** 2).sum() / (kernel**2).sum()
        assert kept >= energy - 1e-6
        without_last = split(kernel, basis.shape[1] - 1)
        assert ((without_last[0] @ without_last[1]) ** 2).sum() < energy * (kernel**2).sum()
    assert found == sorted(found, reverse=True)


def test_what_does_not_pay_is_left_with_the_numbers() -> None:
    model = chain()
    hidden = model.get_layer("hidden")
    hidden.set_weights([low(hidden.kernel, 2, "dense"), hidden.bias])
    outcome = run_pass(model, LowRank(0.99))
    assert [line.split(":")[0] for line in outcome.changed] == ["hidden"]
    skipped = dict(outcome.skipped)
    assert skipped["depthwise"] == "depthwise: already a factor"
    assert "weights and" in skipped["conv"]
    assert "while it has 288 and 10368" in skipped["conv"]
    assert list(skipped) == ["conv", "depthwise", "pointwise", "out"]


def test_other_layers_are_left_with_the_reason() -> None:
    image = keras.Input((8, 8, 16))
    x = layers.Conv2D(16, 3, groups=4, name="groups", padding="same")(image)
    x = layers.Conv2DTranspose(16, 3, name="up", padding="same")(x)
    x = layers.SeparableConv2D(16, 3, name="separable", padding="same")(x)
    x = layers.Conv2D(16, 3, name="bound", kernel_constraint="non_neg")(x)
    zero = layers.Conv2D(16, 3, name="zero", kernel_initializer="zeros")
    model = keras.Model(image, layers.Dense(3, name="out")(layers.Flatten()(zero(x))))
    with pytest.raises(RewriteError, match=r"low_rank.* finds no kernel .*leave low_r"):
        run_pass(model, LowRank(0.9, ("!out",)))
    model.get_layer("out").set_weights([np.ones((256, 3)), np.zeros(3)])
    outcome = run_pass(model, LowRank(0.9))
    reasons = dict(outcome.skipped)
    assert reasons["groups"] == "grouped convolution (4 groups)"
    assert reasons["up"] == "Conv2DTranspose is not factorised, only Conv2D and Dense are"
    assert reasons["separable"] == "depthwise: already a factor"
    assert "constraint" in reasons["bound"]
    assert reasons["zero"] == "all of its weights are zero"
    assert "rank 1 of 3" in outcome.changed[0]


def test_patterns_choose_and_unknown_ones_are_refused() -> None:
    model = chain()
    with pytest.raises(RewriteError, match=r"low_rank\(where='nope'\) matches no convolution or"):
        run_pass(model, LowRank(where=("nope",)))
    outcome = run_pass(model, LowRank(0.3, ("!conv", "!hidden")))
    assert dict(outcome.skipped)["conv"] == "excluded by where"
    assert "hidden" not in {line.split(":")[0] for line in outcome.changed}


@pytest.mark.parametrize("name", MODELS)
def test_every_graph_comes_out_whole(name: str) -> None:
    """At a third of the energy something pays in each; what is left computes as it did."""
    model = randomise(MODELS[name]())
    before = frozen(model)
    try:
        outcome = run_pass(model, LowRank(0.3))
    except RewriteError as error:
        assert "finds no kernel" in str(error)  # noqa: PT017
        assert name == "recurrent"
        return
    assert frozen(model) == before
    assert [t.shape for t in outcome.model.outputs] == [t.shape for t in model.outputs]
    assert outcome.model.count_params() < model.count_params()
    assert total_macs(read_graph(outcome.model))[0] < total_macs(read_graph(model))[0]
    for got, wanted in zip(
        outputs(outcome.model, samples(model)), outputs(model, samples(model)), strict=True
    ):
        assert got.shape == wanted.shape
        assert np.isfinite(got).all()
    times = {count for count in read_graph(outcome.model).times_called().values()}
    assert times == set(read_graph(model).times_called().values())


def test_with_data_the_factors_are_trained(tmp_path: Path) -> None:
    model = chain()
    model.get_layer("hidden").trainable = False
    outcome = run_pass(model, LowRank(0.6), data=data(), training=FAST)
    assert outcome.trained.epochs == 1
    assert outcome.accuracy_before is not None
    assert outcome.accuracy_after is not None
    changed = dict(line.split(": ", 1) for line in outcome.changed)
    assert changed["hidden"].startswith("was frozen, now trained; rank")
    untrained = run_pass(model, LowRank(0.6)).model
    for layer in outcome.model.layers:
        assert layer.name in [other.name for other in untrained.layers]
    basis = outcome.model.get_layer("hidden_basis").kernel
    assert not np.array_equal(basis, untrained.get_layer("hidden_basis").kernel)
    path = tmp_path / "m.tflite"
    images = [data().train[0]]
    export_tflite(outcome.model, Quantize("int8"), path, representative=images)
    assert operators(path).count("FULLY_CONNECTED") >= 3
    assert outcome.model.output_shape == (None, CLASSES)
