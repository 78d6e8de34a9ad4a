"""Whole Keras 3 models in tf_keras and back: graphs, carried layers, names, training, TFMOT."""

from __future__ import annotations

import gc
import subprocess
import sys
from typing import Any

import keras
import numpy as np
import pytest
import tf_keras
from bridge_runs import (
    agree,
    model_of,
    outputs,
    round_trip,
    same_weights,
    samples,
    shaken,
    tf_outputs,
)
from converter_models import nested, nested_twice, shared, skip, two_by_two
from keras import layers, ops

from edgekit_converters.errors import RewriteError
from edgekit_converters.keras2 import carried
from edgekit_converters.keras2.bridge import to_tf_keras, weights_back


@keras.saving.register_keras_serializable("test_bridge")
class Gain(layers.Layer):
    """Weights, a state, dropout within and no training argument of its own."""

    def __init__(self, rate: float = 0.0, **settings: Any) -> None:
        super().__init__(**settings)
        self.rate = rate
        self.dropout = layers.Dropout(rate)
        self.normalise = layers.BatchNormalization(momentum=0.5)

    def build(self, shape: Any) -> None:
        self.gain = self.add_weight(shape=(shape[-1],), initializer="ones", name="gain")
        self.calls = self.add_weight(shape=(), initializer="zeros", name="calls", trainable=False)
        self.normalise.build(shape)

    def call(self, x: Any) -> Any:
        self.calls.assign_add(1.0)
        return self.normalise(self.dropout(x * self.gain))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate}


@keras.saving.register_keras_serializable("test_bridge")
class Switch(layers.Layer):
    """Another value in training, and an argument that is no tensor."""

    def call(self, x: Any, training: bool = False, factor: float = 1.0) -> Any:
        return x * factor * (100.0 if training else 1.0)


@keras.saving.register_keras_serializable("test_bridge")
class Halves(layers.Layer):
    """Several outputs, by name."""

    def call(self, x: Any) -> Any:
        left, right = ops.split(x, 2, axis=-1)
        return {"right": right, "left": left}


def image(*shape: int | None, **options: Any) -> Any:
    return keras.Input(shape or (8, 8, 4), **options)


def shared_inside() -> Any:
    """One convolution in two nested models and outside them."""
    conv = layers.Conv2D(4, 3, padding="same", name="both")
    inner = [keras.Sequential([image(), conv, layers.ReLU()], name=name) for name in "ab"]
    x = image()
    return keras.Model(x, conv(inner[1](inner[0](x))))


def deep_sequential() -> Any:
    inner = keras.Sequential([image(), layers.Conv2D(4, 3), layers.BatchNormalization()])
    return keras.Sequential([image(), inner, keras.Sequential([layers.Flatten(), layers.Dense(2)])])


def dictionary_inputs() -> Any:
    given = {"zebra": image(5, name="zebra"), "ant": image(3, name="ant")}
    x = layers.Concatenate()([layers.Dense(4)(given["zebra"]), given["ant"]])
    return keras.Model(given, {"out": layers.Dense(2)(x), "early": x})


def nested_dictionary() -> Any:
    zebra, ant = image(5, name="zebra"), image(3, name="ant")
    inner = keras.Model([zebra, ant], layers.Concatenate()([layers.Dense(4)(zebra), ant]))
    one, two = image(5), image(3)
    return keras.Model([one, two], inner([one, two]))


def input_given_out() -> Any:
    x = image(4)
    y = layers.Dense(4)(x)
    return keras.Model(x, [x, y, y, layers.ReLU()(y)])


def bare_operations() -> Any:
    x = image()
    y = layers.Conv2D(4, 3, padding="same")(x) * 2 + 1
    y = ops.concatenate([y[:, 1:, :, :2], ops.relu(x)[:, 1:]], axis=-1) / np.float32(3)
    y = ops.mean(y, axis=[1, 2], keepdims=True) - ops.max(y, axis=(1, 2), keepdims=True)
    return keras.Model(x, layers.Dense(2)(layers.Flatten()(y)))


def arguments_in_calls() -> Any:
    x, switch = image(4), Switch(name="switch")
    y = switch(layers.Dense(4)(x), factor=2.0)
    y = layers.Dropout(0.5)(y, training=True)
    return keras.Model(x, switch(y, factor=3.0, training=True))


def two_outputs() -> Any:
    x = image()
    halves = Halves()(x)
    return keras.Model(x, [layers.Conv2D(3, 3)(halves["left"]), halves["right"]])


def sentences() -> Any:
    x = image(6, dtype="int32")
    y = layers.Embedding(10, 4, mask_zero=True)(x)
    y = layers.Dense(4, activation="relu")(y)
    y = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(y)
    y = layers.MultiHeadAttention(2, 3)(y, y, use_causal_mask=True)
    y = layers.TimeDistributed(layers.Dense(3))(y)
    return keras.Model(x, layers.Dense(2)(layers.GlobalAveragePooling1D()(y)))


def open_sizes() -> Any:
    x = image(None, None, 3)
    y = layers.Conv2D(4, 3, strides=2, activation="silu")(x)
    for _ in range(3):  # 32 pixels are too few
        y = layers.Conv2D(4, 3, strides=2)(y)
    return keras.Model(x, layers.GlobalAveragePooling2D()(layers.Resizing(4, 5)(y)))


def augmented() -> Any:
    x = image()
    y = layers.Rescaling(1 / 255)(layers.RandomFlip()(layers.Resizing(6, 6)(x)))
    y = layers.RandomContrast(0.3)(y)
    return keras.Model(x, layers.Conv2D(3, 3)(layers.GaussianNoise(0.3)(y)))


def own_layers() -> Any:
    return model_of(layers.Conv2D(4, 3), Gain(0.5), Switch(), layers.Flatten(), layers.Dense(2))


GRAPHS = (
    skip, two_by_two, shared, nested, nested_twice, shared_inside, deep_sequential,
    dictionary_inputs, nested_dictionary, input_given_out, bare_operations, arguments_in_calls,
    two_outputs, sentences, open_sizes, augmented, own_layers,
)  # fmt: skip
CARRIED = {
    "arguments_in_calls": {"switch"},
    "augmented": {"rescaling", "random_flip", "resizing", "random_contrast", "gaussian_noise"},
    "own_layers": {"gain", "switch"},
    "two_outputs": {"halves"},
}


@pytest.mark.parametrize("build", GRAPHS, ids=lambda build: build.__name__)
def test_a_graph_comes_to_tf_keras_and_back(build: Any) -> None:
    keras.backend.clear_session()
    model = build()
    if build is not sentences:
        shaken(model)
    bridged = round_trip(model)
    kernels = [
        layer.name for layer in model._flatten_layers() if hasattr(layer, "kernel") and layer.built
    ]
    if build is not sentences:
        assert {path.rpartition("/")[2] for path in bridged.layers} >= set(kernels)
        carried_types = CARRIED.get(build.__name__)
        assert carried_types is None or set(bridged.carried) == carried_types
    assert set(bridged.paths) <= {layer.name for layer in bridged.model.layers}
    assert set(bridged.paths.values()) >= set(bridged.layers) | {
        path.removesuffix(".activation") for path in bridged.carried
    }


def test_masks_reach_the_layers_that_heed_them() -> None:
    model = sentences()
    bridged = to_tf_keras(model)
    words = np.array([[1, 2, 0, 0, 0, 0], [3, 4, 5, 6, 7, 8], [9, 0, 0, 0, 0, 0]], "int32")
    agree(outputs(model, [words]), tf_outputs(bridged.model, [words]))


ODD_NAMES = ("with space", "a.b", "_hidden", "x", "x.activation", "x.depthwise", "input_0", "größe")


def test_names_that_tf_keras_or_the_bridge_would_stumble_over() -> None:
    inner = keras.Sequential([image(4), layers.Dense(4, name="b")], name="a")
    chain = [layers.Dense(4, name=name, activation="silu") for name in ODD_NAMES]
    x = start = image(4, name="strange name")
    for layer in [inner, *chain, layers.Activation("celu", name="carried.x")]:
        x = layer(x)
    bridged = round_trip(shaken(keras.Model(start, x, name="my model")))
    assert set(bridged.layers) == {"a/b", *ODD_NAMES}
    assert bridged.carried == ("carried.x",)
    assert {bridged.paths[layers[0].name] for layers in bridged.layers.values()} == set(
        bridged.layers
    )


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16", "float64"])
def test_precisions_are_compared_in_float32(policy: str) -> None:
    chain = (
        layers.Conv2D(4, 3, activation="silu", dtype=policy),
        layers.BatchNormalization(dtype=policy),
        layers.PReLU(dtype=policy),
        layers.Flatten(dtype=policy),
        layers.Dense(3, dtype=policy),
    )
    model = model_of(*chain)
    bridged = to_tf_keras(model)
    assert bridged.carried == (chain[2].name,)
    same_weights(model.get_weights(), weights_back(bridged, bridged.model).get_weights())
    assert [layer.dtype_policy.name for layer in bridged.copy.layers[1:]] == [policy] * 5
    tolerance = 1e-6 if policy == "float64" else 0.05
    agree(outputs(model, samples(model)), tf_outputs(bridged.model, samples(model)), tolerance)


def test_training_trains_carried_layers_and_their_state() -> None:
    model = model_of(
        layers.Dense(4), Gain(0.5, name="gain"), layers.PReLU(name="slope"), shape=(4,)
    )
    before = model.get_weights()
    bridged = to_tf_keras(model)
    assert bridged.carried == ("gain", "slope")
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    bridged.model.compile("sgd", "mse")
    bridged.model.fit(x, np.ones((64, 4)), batch_size=16, epochs=2, verbose=0)
    trained = weights_back(bridged, bridged.model)
    agree(outputs(trained, [x]), tf_outputs(bridged.model, [x]))
    for path, old, new in zip(trained.weights, before, trained.get_weights(), strict=True):
        assert not np.array_equal(old, new), path.path
    same_weights(before, model.get_weights())
    one, two = (np.asarray(bridged.model(x, training=True)) for _ in range(2))
    assert not np.allclose(one, two), "the dropout within the layer is off"


def test_frozen_carried_layers_stay_as_they_are() -> None:
    frozen = layers.PReLU(name="frozen")
    model = model_of(layers.Dense(4), frozen, layers.LayerNormalization(), shape=(4,))
    frozen.trainable = False
    bridged = to_tf_keras(model)
    assert len(bridged.model.trainable_weights) == len(model.trainable_weights) == 4
    bridged.model.compile("sgd", "mse")
    bridged.model.fit(np.ones((8, 4)), np.full((8, 4), 3.0), verbose=0)
    same_weights(frozen.get_weights(), bridged.copy.get_layer("frozen").get_weights())


def test_copies_of_the_tf_keras_model_call_the_same_carried_layers() -> None:
    model = sentences()
    bridged = to_tf_keras(model)
    copied = tf_keras.models.clone_model(bridged.model)
    copied.set_weights(bridged.model.get_weights())
    words = np.array([[1, 2, 0, 0, 0, 0], [3, 4, 5, 6, 7, 8]], "int32")
    agree(outputs(model, [words]), tf_outputs(copied, [words]))


def attention(x: Any) -> Any:
    y = layers.MultiHeadAttention(2, 3, name="attention")(x, x)
    y = layers.LayerNormalization()(layers.Add()([x, y]))
    return layers.Dense(3, name="own")(layers.Bidirectional(layers.LSTM(3))(y))


def test_quantisation_does_not_mix_up_the_weights_of_carried_layers() -> None:
    from edgekit_converters.cascades.library import tfmot

    x = image(6, 4)
    model = shaken(keras.Model(x, attention(x)))
    bridged = to_tf_keras(model)
    before = bridged.copy.get_weights()
    library = tfmot.quantization.keras

    def annotate(layer: Any) -> Any:
        return library.quantize_annotate_layer(layer) if layer.name == "own" else layer

    annotated = tf_keras.models.clone_model(bridged.model, clone_function=annotate)
    with library.quantize_scope({"Carried": carried.Carried}):
        rounded = library.quantize_apply(annotated)
    same_weights(before, bridged.copy.get_weights())
    rounded.compile("sgd", "mse")
    given = np.random.default_rng(0).normal(size=(16, 6, 4)).astype("float32")
    expected = tf_outputs(bridged.model, [given])
    agree(expected, tf_outputs(rounded, [given]), 0.1)
    rounded.set_weights(rounded.get_weights())
    same_weights(before, bridged.copy.get_weights())
    rounded.fit(given, np.ones((16, 3)), verbose=0)
    moved = [
        not np.array_equal(old, new)
        for old, new in zip(before, bridged.copy.get_weights(), strict=True)
    ]
    assert sum(moved) >= 10, "the carried layers do not train"


def test_nothing_is_kept_of_a_model_that_is_gone() -> None:
    gc.collect()
    before = len(carried._lent)
    bridged = to_tf_keras(model_of(layers.PReLU(), layers.Dense(2, activation="celu")))
    copied = tf_keras.models.clone_model(bridged.model)
    assert len(carried._lent) == before + 2
    del bridged
    gc.collect()
    assert np.asarray(tf_keras.models.clone_model(copied)(np.ones((1, 9, 8, 4)))).shape
    del copied
    tf_keras.backend.clear_session()
    gc.collect()
    assert len(carried._lent) == before


def test_a_model_that_no_input_suits_is_refused() -> None:
    x = image(None, None, 3)
    y = layers.Flatten()(layers.Conv2D(2, 300)(x))
    with pytest.raises(RewriteError, match=r"fails on random inputs .* Give open axes a size"):
        to_tf_keras(keras.Model(x, y))


def test_the_bridge_leaves_the_process_s_keras_alone() -> None:
    code = (
        "import os, keras, tensorflow as tf\n"
        "before = dict(os.environ)\n"
        "import edgekit_converters.keras2.bridge as bridge\n"
        "assert dict(os.environ) == before\n"
        "assert 'TF_USE_LEGACY_KERAS' not in os.environ\n"
        "assert keras.__version__.startswith('3.')\n"
        "assert tf.keras.__version__ == keras.__version__\n"
        "assert issubclass(tf.keras.Model, keras.Model)\n"
        "x = keras.Input((3,)); model = keras.Model(x, keras.layers.Dense(2)(x))\n"
        "assert isinstance(bridge.to_tf_keras(model).copy, keras.Model)\n"
        "assert keras.config.dtype_policy().name == 'float32'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
