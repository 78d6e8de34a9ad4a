"""Costly activations: what takes their place, what is left with the reason, what the file holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from cascade_runs import FAST, chain, data, operators
from converter_models import MODELS, assert_same, frozen, outputs, randomise, samples
from keras import layers, ops

from edgekit_converters import (
    Activations,
    NpuQat,
    Quantize,
    RewriteError,
    export_tflite,
    prove_file,
    run_pass,
)
from edgekit_converters.activations import CHEAP
from edgekit_converters.graph import read_graph

INTEGER = {
    "AVERAGE_POOL_2D", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "HARD_SWISH",
    "LEAKY_RELU", "MEAN", "MUL", "QUANTIZE", "RELU", "RELU6", "RELU_N1_TO_1", "RESHAPE", "SOFTMAX",
}  # fmt: skip


def net(activation: str, second: Any = None) -> Any:
    """Convolutions with the activation inside and apart, and the output's own."""
    keras.utils.set_random_seed(1)
    image = keras.Input((8, 8, 4), name="image")
    x = layers.Conv2D(8, 3, activation=activation, name="conv")(image)
    x = layers.BatchNormalization(name="bn")(layers.Conv2D(8, 3, name="plain")(x))
    x = (second or layers.Activation(activation, name="apart"))(x)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 1, activation="relu", name="last")(x))
    return keras.Model(image, layers.Dense(3, activation="sigmoid", name="out")(x), name="net")


def names(model: Any) -> dict[str, str]:
    return {
        call.path: call.layer.activation.__name__
        for call in read_graph(model).calls
        if hasattr(call.layer, "activation")
    }


@pytest.mark.parametrize("name", CHEAP)
def test_each_has_a_cheap_one_near_it(name: str) -> None:
    """Around 0, where normalised tensors are, the two functions are not far apart."""
    target, reason = CHEAP[name]
    assert reason
    x = np.linspace(-3, 3, 301).astype("float32")
    before = np.asarray(getattr(keras.activations, name)(x))
    after = np.asarray(getattr(keras.activations, target)(x))
    assert np.abs(before - after).max() < 1.2
    assert np.corrcoef(before, after)[0, 1] > 0.93
    swish = np.asarray(keras.activations.silu(x))
    assert name != "mish" or np.abs(before - swish).max() < 0.2


@pytest.mark.parametrize("name", CHEAP)
def test_inside_layers_and_apart_they_are_replaced_and_the_file_is_integer(
    name: str, tmp_path: Path
) -> None:
    model = net(name)
    before = frozen(model)
    outcome = run_pass(model, Activations())
    assert frozen(model) == before
    target = CHEAP[name][0]
    assert outcome.changed == (
        f"conv: {name} becomes {target}", f"apart: {name} becomes {target}",
    )  # fmt: skip
    assert names(outcome.model) == {
        "conv": target, "plain": "linear", "apart": target, "last": "relu", "out": "sigmoid"
    }  # fmt: skip
    assert dict(outcome.skipped) == {"out": "sigmoid: it makes the output"}
    assert_same(outcome.model.get_weights(), model.get_weights(), 0)
    images = [data().train[0]]
    file = export_tflite(
        outcome.model, Quantize("int8"), tmp_path / "m.tflite", representative=images
    )
    assert set(operators(file.path)[:-1]) <= INTEGER | {"LOGISTIC"}, name
    assert operators(file.path).count("LOGISTIC") == 1


@pytest.mark.parametrize("to", ["relu", "relu6", "hard_swish"])
def test_one_kind_for_all(to: Any) -> None:
    outcome = run_pass(net("exponential", layers.ELU(name="apart")), Activations(to))
    assert names(outcome.model)["conv"] == {"hard_swish": "hard_silu"}.get(to, to)
    assert outcome.changed[1] == f"apart: elu becomes {to}"
    assert outcome.model.get_layer("apart").activation is getattr(keras.activations, to)


def test_what_has_nothing_near_it_stays_with_auto() -> None:
    outcome = run_pass(net("exponential", layers.ELU(name="apart")), Activations())
    assert dict(outcome.skipped)["conv"] == (
        "exponential: no cheap activation is near it; to=relu6 replaces it"
    )
    assert [line.split(":")[0] for line in outcome.changed] == ["apart"]


@pytest.mark.parametrize(
    "cheap", [layers.PReLU, layers.LeakyReLU, layers.ReLU, lambda: layers.ReLU(6.0)]
)
def test_cheap_ones_stay(cheap: Any) -> None:
    with pytest.raises(RewriteError, match=r"finds no activation .*out: sigmoid: it makes the out"):
        run_pass(net("relu", cheap()), Activations())
    with pytest.raises(RewriteError, match=r"all of them are cheap already.*leave activ"):
        run_pass(chain(), Activations())


def test_a_sigmoid_inside_is_replaced_on_demand() -> None:
    model = net("sigmoid", layers.ELU(name="apart"))
    assert "(LOGISTIC)" in dict(run_pass(model, Activations()).skipped)["conv"]
    outcome = run_pass(model, Activations("relu6"))
    assert outcome.changed == ("conv: sigmoid becomes relu6", "apart: elu becomes relu6")
    assert dict(outcome.skipped) == {"out": "sigmoid: it makes the output"}


def squeezed() -> Any:
    image = keras.Input((8, 8, 4))
    x = layers.Conv2D(8, 3, activation="silu", name="conv")(image)
    gate = layers.Dense(4, activation="silu", name="reduce")(layers.GlobalAveragePooling2D()(x))
    gate = layers.Dense(8, activation="sigmoid", name="gate")(gate)
    x = layers.Multiply(name="scaled")([x, layers.Reshape((1, 1, 8))(gate)])
    x = layers.Dense(5, activation="tanh", name="hidden")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, layers.Activation("tanh", name="end")(layers.Dense(3)(x)))


def test_gates_stay_unless_a_pattern_names_them() -> None:
    model = squeezed()
    outcome = run_pass(model, Activations())
    found = names(outcome.model)
    assert found["gate"] == "sigmoid"
    assert (found["conv"], found["reduce"], found["hidden"]) == (
        "hard_silu", "hard_silu", "hard_tanh",
    )  # fmt: skip
    assert found["end"] == "tanh"
    assert "a gate: it is multiplied" in dict(outcome.skipped)["gate"]
    for where, taken in ((("gate",), {"gate"}), (("!conv",), {"reduce", "hidden"})):
        outcome = run_pass(model, Activations(where=where))
        assert names(outcome.model)["gate"] == ("hard_sigmoid" if "gate" in where else "sigmoid")
        assert {line.split(":")[0] for line in outcome.changed} == taken


def test_bare_operations_and_swish_written_out() -> None:
    image = keras.Input((6, 6, 4))
    x = layers.Conv2D(8, 3, name="conv")(image)
    x = layers.Conv2D(8, 1)(keras.activations.gelu(x))
    x = x * ops.sigmoid(x)
    x = layers.Dense(3)(layers.Flatten()(ops.tanh(x)))
    model = randomise(keras.Model(image, x))
    outcome = run_pass(model, Activations())
    assert [line.split(": ")[1] for line in outcome.changed] == [
        "gelu becomes hard_silu", "tanh becomes hard_tanh",
    ]  # fmt: skip
    (reason,) = (reason for _, reason in outcome.skipped)
    assert reason.startswith("sigmoid: a gate")
    kinds = [type(call.layer).__name__ for call in read_graph(outcome.model).calls]
    assert kinds.count("Activation") == 2
    (got,), (wanted,) = outputs(outcome.model, samples(model)), outputs(model, samples(model))
    assert got.shape == wanted.shape
    assert not np.allclose(got, wanted)


class Own(layers.Dense):  # type: ignore[misc]
    """A dense layer with a mind of its own."""


def test_layers_that_are_not_opened_are_listed() -> None:
    signal = keras.Input((7, 3))
    x = layers.LSTM(4, name="lstm", return_sequences=True)(signal)
    x = layers.TimeDistributed(layers.Dense(4, activation="gelu"), name="each")(x)
    x = Own(4, activation="gelu", name="own")(x)
    twin = layers.Dense(4, activation="elu", name="twin")
    x = layers.Dense(2)(layers.Flatten()(twin(twin(x))))
    outcome = run_pass(keras.Model(signal, x), Activations())
    reasons = dict(outcome.skipped)
    assert reasons["lstm"] == "tanh: inside LSTM, whose gates were trained with it"
    assert reasons["each"] == "gelu: inside TimeDistributed, which is not opened"
    assert reasons["own"].startswith("gelu: Own is a class of its own")
    assert outcome.changed == ("twin: elu becomes leaky_relu",)
    assert max(read_graph(outcome.model).times_called().values()) == 2


@pytest.mark.parametrize("name", MODELS)
def test_every_graph_comes_out_whole(name: str) -> None:
    """With its ReLUs made swish first, which nested and shared layers have too."""
    model = MODELS[name]()
    for call in read_graph(model).calls:
        if getattr(call.layer, "activation", None) is keras.activations.relu:
            call.layer.activation = keras.activations.silu
    randomise(model)
    if not any(value == "silu" for value in names(model).values()):
        with pytest.raises(RewriteError, match="leave activations out"):
            run_pass(model, Activations())
        return
    outcome = run_pass(model, Activations())
    assert "silu" not in names(outcome.model).values()
    assert_same(outcome.model.get_weights(), model.get_weights(), 0)
    assert [t.shape for t in outcome.model.outputs] == [t.shape for t in model.outputs]


def test_with_data_the_model_is_trained_frozen_parts_too() -> None:
    model = net("gelu")
    model.get_layer("conv").trainable = model.get_layer("bn").trainable = False
    model.get_layer("plain").trainable = False
    outcome = run_pass(model, Activations(), data=data(), training=FAST)
    assert outcome.trained.epochs == 1
    assert outcome.accuracy_after is not None
    assert outcome.changed[0] == "conv: was frozen, now trained; gelu becomes hard_silu"
    for layer, moved in (("conv", True), ("bn", False), ("plain", False)):
        before, after = (m.get_layer(layer).get_weights()[0] for m in (model, outcome.model))
        assert np.array_equal(before, after) != moved, layer


@pytest.mark.slow
def test_behind_training_with_rounding_the_file_is_integer_too(tmp_path: Path) -> None:
    image = keras.Input((8, 8, 4))
    x = layers.Conv2D(8, 3, activation="silu", name="a")(image)
    x = layers.Activation("gelu")(layers.BatchNormalization()(layers.Conv2D(8, 3, name="b")(x)))
    x = layers.ELU()(layers.Conv2D(8, 3, activation="tanh", name="c")(x))
    x = layers.Conv2D(8, 1, activation="softplus", name="d")(x)
    x = layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(x))
    model = run_pass(keras.Model(image, x, name="many"), Activations()).model
    outcome = run_pass(model, NpuQat(4), data=data(), training=FAST)
    images = [data().train[0]]
    file = export_tflite(
        outcome.model, Quantize("int8"), tmp_path / "m.tflite", representative=images
    )
    assert set(operators(file.path)[:-1]) <= INTEGER
    assert prove_file(file.path, outcome.proof).floats == ()


def test_patterns_that_match_nothing_are_refused() -> None:
    with pytest.raises(RewriteError, match=r"activations\(where='nope'\) matches no layer"):
        run_pass(net("gelu"), Activations(where=("nope",)))
