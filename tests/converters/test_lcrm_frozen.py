"""LCRM on frozen and on uncopyable layers: what starts fresh learns, what fails is named."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from edgekit_converters import RewriteError, apply_lcrm


def backbone() -> Any:
    inputs = keras.Input((8, 8, 3))
    x = layers.BatchNormalization(name="bn1")(layers.Conv2D(4, 3, name="c1")(inputs))
    x = layers.ReLU()(layers.BatchNormalization(name="bn2")(layers.Conv2D(8, 3, name="c2")(x)))
    x = layers.BatchNormalization(name="bn3")(x)
    x = layers.BatchNormalization(name="bn4")(layers.Dense(6, name="mix")(x))
    model = keras.Model(inputs, x, name="backbone")
    model.trainable = False
    return model


def trainable(model: Any) -> set[str]:
    return {layer.name for layer in model._flatten_layers() if layer.trainable_weights}


def test_substitutes_and_the_normalisations_behind_them_are_trained() -> None:
    rewritten, plan = apply_lcrm(backbone(), keep_ends=False)
    learning = {name for name in trainable(rewritten) if name != "backbone"}
    assert learning == {
        "c1_depthwise_1", "c1_pointwise_0", "c1_pointwise_1", "bn1",
        "c2_depthwise", "c2_pointwise", "bn2", "bn3",
    }  # fmt: skip
    assert all(decision.frozen for decision in plan)


def test_frozen_backbones_inside_a_model_are_trained_where_replaced() -> None:
    inputs = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(backbone()(inputs))
    rewritten, _ = apply_lcrm(keras.Model(inputs, layers.Dense(2, name="head")(x)))
    learning = trainable(rewritten)
    assert {"c2_depthwise", "c2_pointwise", "bn2", "head"} <= learning
    assert not {"c1", "bn1", "mix", "bn4"} & learning


def test_a_layer_that_refuses_its_configuration_without_a_word_is_named() -> None:
    class Silent(layers.Layer):
        def call(self, x: Any) -> Any:
            return x

        def get_config(self) -> Any:
            raise NotImplementedError

    model = keras.Sequential([keras.Input((8, 8, 3)), Silent(name="mute"), layers.Conv2D(2, 3)])
    with pytest.raises(RewriteError, match=r"'mute' .*get_config.*NotImplementedError"):
        apply_lcrm(model)


def test_a_frozen_model_really_learns() -> None:
    rewritten, _ = apply_lcrm(backbone())
    before = rewritten.get_layer("c2_pointwise").get_weights()[0].copy()
    rewritten.compile("adam", "mse")
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 3))
    rewritten.fit(x, np.ones((4, 4, 4, 6)), verbose=0)
    assert not np.array_equal(before, rewritten.get_layer("c2_pointwise").get_weights()[0])
