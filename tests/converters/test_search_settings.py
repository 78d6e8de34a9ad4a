"""Hyperparameters: what a trial changes in a model, and what the space takes."""

from typing import Any

import keras
import numpy as np
import pytest

import edgekit_converters as ec
from edgekit_converters.search.hyperparameters import optimizer, restarted
from edgekit_converters.search.space import TABLE_16, space_of


def gated() -> Any:
    inputs = keras.Input((8, 8, 2))
    x = keras.layers.Conv2D(4, 3, padding="same", name="conv")(inputs)
    x = keras.layers.ReLU(name="relu")(x)
    gate = keras.layers.Conv2D(4, 1, activation="sigmoid", name="gate")(x)
    x = keras.layers.Multiply()([x, gate])
    frozen = keras.layers.Conv2D(4, 1, activation="relu", name="frozen", trainable=False)
    x = keras.layers.GlobalAveragePooling2D()(frozen(x))
    x = keras.layers.Dense(5, activation="relu", name="hidden")(x)
    return keras.Model(inputs, keras.layers.Dense(3, "softmax", name="out")(x), name="gated")


def test_hidden_activations_and_initialisers_change_and_nothing_else() -> None:
    model = gated()
    made = restarted(model, "uniform", "tanh")
    by_name = {layer.name: layer for layer in made.layers}
    assert by_name["relu"].activation is keras.activations.tanh
    assert by_name["hidden"].activation is keras.activations.tanh
    assert by_name["gate"].activation is keras.activations.sigmoid
    assert by_name["frozen"].activation is keras.activations.relu
    assert by_name["out"].activation is keras.activations.softmax
    for name in ("conv", "gate", "hidden", "out"):
        assert type(by_name[name].kernel_initializer).__name__ == "RandomUniform"
        assert np.abs(by_name[name].kernel).max() <= 0.05
    np.testing.assert_array_equal(by_name["frozen"].kernel, model.get_layer("frozen").kernel)
    assert model.get_layer("hidden").activation is keras.activations.relu


@pytest.mark.parametrize("name", TABLE_16["optimizer"])
def test_every_optimiser_of_table_16_is_keras_own(name: str) -> None:
    made = optimizer(name, 0.01)
    assert type(made).__name__ == name
    assert float(made.learning_rate) == pytest.approx(0.01)


@pytest.mark.parametrize("activation", TABLE_16["activation"])
@pytest.mark.parametrize("initializer", TABLE_16["initializer"])
def test_every_pair_of_table_16_builds(initializer: str, activation: str) -> None:
    assert restarted(gated(), initializer, activation)(np.zeros((1, 8, 8, 2))).shape == (1, 3)


def test_a_model_without_weights_to_train_is_refused() -> None:
    model = gated()
    model.trainable = False
    with pytest.raises(ec.RewriteError, match="no weights to train"):
        restarted(model, "uniform", "relu")


def test_the_space_is_table_16_or_what_it_is_narrowed_to() -> None:
    assert space_of("hyperparameters").size == 5 * 5 * 5 * 3 * 5
    narrow = space_of("hyperparameters", {"batch_size": ("8", "16"), "optimizer": ("adam",)})
    assert narrow.choices["batch_size"] == (8, 16)
    assert narrow.choices["optimizer"] == ("Adam",)
    points = list(narrow.points(seed=3))
    assert len({tuple(point.items()) for point in points}) == len(points) == narrow.size
    assert points == list(narrow.points(seed=3))


@pytest.mark.parametrize(
    ("what", "narrowed", "told"),
    [
        ("hyperparameters", {"momentum": ("1",)}, "no 'momentum'"),
        ("hyperparameters", {"batch_size": ("0",)}, "no whole number"),
        ("hyperparameters", {"learning_rate": ("nan",)}, "no positive number"),
        ("hyperparameters", {"optimizer": ("Lion",)}, "none of SGD"),
        ("hyperparameters", {"optimizer": ()}, "no choice left"),
        ("substitutes", {"substitute": ("gruop",)}, "choose from"),
        ("everything", {}, "substitutes and hyperparameters"),
    ],
)
def test_choices_that_are_none_are_refused(what: Any, narrowed: Any, told: str) -> None:
    with pytest.raises(ec.ConverterError, match=told):
        space_of(what, narrowed)
