"""Each layer that TFMOT can work on, alone and with odd options, in tf_keras and back."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from bridge_runs import model_of, round_trip
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from edgekit_converters.keras2.bridge import to_tf_keras


@keras.saving.register_keras_serializable("test_bridge_layers")
def sine(x: Any) -> Any:
    return keras.ops.sin(3 * x)


@keras.saving.register_keras_serializable("test_bridge_layers")
class Cubes(keras.regularizers.Regularizer):
    """A regularizer of the user's own."""

    def __call__(self, x: Any) -> Any:
        return keras.ops.sum(keras.ops.abs(x) ** 3)

    def get_config(self) -> dict[str, Any]:
        return {}


@keras.saving.register_keras_serializable("test_bridge_layers")
class Below(keras.constraints.Constraint):
    """A constraint of the user's own."""

    def __call__(self, w: Any) -> Any:
        return keras.ops.minimum(w, 0.05)

    def get_config(self) -> dict[str, Any]:
        return {}


TRANSLATED = {
    "conv": layers.Conv2D(5, 3),
    "conv same strides": layers.Conv2D(5, (3, 2), strides=2, padding="same", use_bias=False),
    "conv dilation": layers.Conv2D(5, (2, 3), dilation_rate=(2, 1), activation="relu"),
    "conv groups": layers.Conv2D(6, 3, groups=2, padding="same", activation="elu"),
    "conv 1x1": layers.Conv2D(5, 1, activation="softmax"),
    "conv regularized": layers.Conv2D(
        5, 3, kernel_regularizer="l2", bias_regularizer=keras.regularizers.L1L2(0.1, 0.2)
    ),
    "conv constrained": layers.Conv2D(5, 3, kernel_constraint="max_norm"),
    "conv frozen": layers.Conv2D(5, 3, trainable=False),
    "depthwise": layers.DepthwiseConv2D(3, depth_multiplier=2, activation="relu6"),
    "depthwise same": layers.DepthwiseConv2D((3, 3), strides=2, padding="same", use_bias=False),
    "depthwise dilation": layers.DepthwiseConv2D(2, dilation_rate=2, depthwise_regularizer="l1"),
    "separable": layers.SeparableConv2D(5, 3, depth_multiplier=3, activation="tanh"),
    "separable same": layers.SeparableConv2D(5, 3, strides=2, padding="same", use_bias=False),
    "separable dilation": layers.SeparableConv2D(5, 2, dilation_rate=2, bias_regularizer="l2"),
    "transposed": layers.Conv2DTranspose(5, 3, strides=2),
    "transposed same": layers.Conv2DTranspose(5, 3, strides=2, padding="same", use_bias=False),
    "transposed output": layers.Conv2DTranspose(5, 4, strides=3, output_padding=1),
    "transposed output same": layers.Conv2DTranspose(
        5, (3, 4), strides=2, padding="same", output_padding=1, activation="sigmoid"
    ),
    "dense": layers.Dense(3, use_bias=False),
    "batch normalization": layers.BatchNormalization(momentum=0.7, epsilon=0.01),
    "batch normalization bare": layers.BatchNormalization(center=False, scale=False),
    "batch normalization frozen": layers.BatchNormalization(trainable=False),
    "batch normalization last axis": layers.BatchNormalization(axis=3, scale=False),
    "leaky relu": layers.LeakyReLU(0.2),
    "relu": layers.ReLU(max_value=0.8, negative_slope=0.1, threshold=0.2),
    "softmax": layers.Softmax(),
    "activation layer": layers.Activation("gelu"),
    "average pooling": layers.AveragePooling2D(3, strides=2, padding="same"),
    "max pooling": layers.MaxPooling2D((2, 3), strides=1),
    "global average": layers.GlobalAveragePooling2D(keepdims=True),
    "global max": layers.GlobalMaxPooling2D(),
    "cropping": layers.Cropping2D(((1, 2), (0, 1))),
    "zero padding": layers.ZeroPadding2D(((1, 0), (2, 1))),
    "upsampling": layers.UpSampling2D((2, 3), interpolation="bilinear"),
    "upsampling nearest": layers.UpSampling2D(2),
    "flatten": layers.Flatten(),
    "reshape": layers.Reshape((-1, 8)),
    "permute": layers.Permute((3, 1, 2)),
    "dropout": layers.Dropout(0.3, seed=4),
    "dropout noise": layers.Dropout(0.3, noise_shape=(None, 1, 1, 4)),
    "spatial dropout": layers.SpatialDropout2D(0.3),
    "activity": layers.ActivityRegularization(l2=0.1),
}


@pytest.mark.parametrize("layer", TRANSLATED.values(), ids=TRANSLATED)
def test_a_layer_becomes_a_layer_of_tf_keras(layer: Any) -> None:
    layer = layer.from_config(layer.get_config())
    bridged = round_trip(model_of(layer))
    assert bridged.carried == ()
    (made,) = bridged.layers.values()
    assert made[0].trainable == layer.trainable


SEQUENCES = {
    "conv1d causal": layers.Conv1D(5, 3, padding="causal", dilation_rate=2),
    "conv1d strides": layers.Conv1D(6, 3, strides=2, padding="same", groups=2),
    "conv1d transposed": layers.Conv1DTranspose(5, 3, strides=2, output_padding=1),
    "depthwise1d": layers.DepthwiseConv1D(3, depth_multiplier=2),
    "separable1d": layers.SeparableConv1D(5, 3, padding="same"),
    "average1d": layers.GlobalAveragePooling1D(),
    "max1d": layers.MaxPooling1D(3, strides=2, padding="same"),
    "batch normalization": layers.BatchNormalization(),
    "dense": layers.Dense(3, activation="silu"),
    "padding1d": layers.ZeroPadding1D((1, 2)),
}


@pytest.mark.parametrize("layer", SEQUENCES.values(), ids=SEQUENCES)
def test_a_layer_on_sequences_becomes_a_layer_of_tf_keras(layer: Any) -> None:
    assert round_trip(model_of(layer.from_config(layer.get_config()), shape=(9, 4))).carried == ()


VOLUMES = {
    "conv3d": layers.Conv3D(5, 2, strides=2, padding="same"),
    "conv3d transposed": layers.Conv3DTranspose(5, 2, strides=2),
    "average3d": layers.GlobalAveragePooling3D(),
}


@pytest.mark.parametrize("layer", VOLUMES.values(), ids=VOLUMES)
def test_a_layer_on_volumes_becomes_a_layer_of_tf_keras(layer: Any) -> None:
    model = model_of(layer.from_config(layer.get_config()), shape=(5, 4, 6, 2))
    assert round_trip(model).carried == ()


CARRIED = {
    "channels first": layers.Conv2D(5, 3, data_format="channels_first"),
    "moved axis": layers.BatchNormalization(axis=1),
    "softmax axis": layers.Softmax(axis=1),
    "prelu": layers.PReLU(shared_axes=[1, 2]),
    "layer normalization": layers.LayerNormalization(),
    "group normalization": layers.GroupNormalization(2),
    "rescaling": layers.Rescaling(1 / 255, offset=-1),
    "resizing": layers.Resizing(5, 6),
    "random flip": layers.RandomFlip(),
    "random rotation": layers.RandomRotation(0.2),
    "gaussian noise": layers.GaussianNoise(0.3),
    "time distributed": layers.TimeDistributed(layers.Dense(3)),
    "elu": layers.ELU(0.5),
    "lambda": layers.Lambda(sine),
    "activation of one's own": layers.Activation(sine),
    "activity behind an activation": layers.Conv2D(
        5, 3, activation="silu", activity_regularizer="l2"
    ),
}


@pytest.mark.parametrize("layer", CARRIED.values(), ids=CARRIED)
def test_a_layer_that_only_keras_3_knows_is_carried_and_named(layer: Any) -> None:
    layer = layer.from_config(layer.get_config())
    shape = (9, 4) if "1D" in type(layer).__name__ else (9, 8, 4)
    bridged = round_trip(model_of(layer, shape=shape))
    assert bridged.carried == (layer.name,)
    assert layer.name in bridged.paths.values()


WITHIN = ("linear", "relu", "softmax", None, tf.nn.relu, keras.ops.relu)
APART = (
    "relu6", "silu", "elu", "selu", "gelu", "sigmoid", "tanh", "softplus", "softsign", "mish",
    "exponential", tf.nn.relu6, keras.ops.sigmoid, layers.LeakyReLU(0.3), layers.ReLU(2.0),
)  # fmt: skip
ONLY_KERAS_3 = (
    "hard_sigmoid", "hard_silu", "leaky_relu", "log_softmax", "celu", "glu", "squareplus",
    "tanh_shrink", "log_sigmoid", keras.ops.hard_silu, sine,
)  # fmt: skip


@pytest.mark.parametrize("kind", ["Conv2D", "DepthwiseConv2D", "SeparableConv2D", "Dense"])
@pytest.mark.parametrize(
    "activation",
    [*WITHIN, *APART, *ONLY_KERAS_3],
    ids=lambda activation: getattr(activation, "__name__", str(activation)),
)
def test_a_kernel_stays_in_reach_whatever_its_activation_is(kind: str, activation: Any) -> None:
    sizes = {"Dense": (4,), "DepthwiseConv2D": (3,)}.get(kind, (4, 3))
    model = model_of(getattr(layers, kind)(*sizes, activation=activation, name="it"))
    bridged = round_trip(model)
    expected = ("it.activation",) if activation in ONLY_KERAS_3 else ()
    assert bridged.carried == expected
    assert bridged.layers["it"][0].weights
    assert set(bridged.paths.values()) == {"it"}


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_regularizer": "l2"},
        {"kernel_regularizer": Cubes()},
        {"kernel_regularizer": keras.regularizers.OrthogonalRegularizer()},
        {"bias_regularizer": "l1", "activity_regularizer": "l2"},
    ],
    ids=["l2", "own", "orthogonal", "bias and activity"],
)
@pytest.mark.parametrize("kind", ["Dense", "LayerNormalization"])
def test_regularisation_counts_as_in_keras_3(kind: str, options: dict[str, Any]) -> None:
    if kind == "LayerNormalization":  # carried, with vectors for weights
        names = {"kernel_regularizer": "gamma_regularizer", "bias_regularizer": "beta_regularizer"}
        options = {
            names.get(name, name): Cubes() if "Orthogonal" in type(value).__name__ else value
            for name, value in options.items()
        }
    layer = layers.Dense(3, **options) if kind == "Dense" else layers.LayerNormalization(**options)
    model = model_of(layer, layer, shape=(3,))  # called twice, the losses of its weights count once
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    model(x, training=True)
    bridged = to_tf_keras(model)
    for same in (bridged.model, tf_keras.models.clone_model(bridged.model)):
        same.set_weights(bridged.model.get_weights())
        same(x, training=True)
        assert float(sum(same.losses)) == pytest.approx(float(sum(model.losses)), rel=1e-5)


def test_constraints_hold_in_training_of_either_kind() -> None:
    model = model_of(
        layers.Dense(3, kernel_constraint=Below(), bias_constraint="non_neg", name="own"),
        shape=(3,),
    )
    bridged = to_tf_keras(model)
    bridged.model.compile("sgd", "mse")
    bridged.model.fit(np.ones((4, 3)), np.full((4, 3), 5.0), verbose=0)
    kernel, bias = bridged.layers["own"][0].get_weights()
    assert kernel.max() <= 0.05
    assert bias.min() >= 0


CONVOLUTIONS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(
            ["Conv2D", "DepthwiseConv2D", "SeparableConv2D", "Conv2DTranspose"]
        ),
        "activation": st.sampled_from(["linear", "relu", "softmax", "silu", "hard_silu"]),
        "kernel_size": st.integers(1, 3),
        "padding": st.sampled_from(["same", "valid"]),
        "strides": st.integers(1, 2),
        "use_bias": st.booleans(),
    }
)
BETWEEN = st.one_of(
    st.fixed_dictionaries(
        {
            "kind": st.just("BatchNormalization"),
            "scale": st.booleans(),
            "center": st.booleans(),
            "momentum": st.floats(0.1, 0.99),
        }
    ),
    st.fixed_dictionaries({"kind": st.just("LeakyReLU"), "negative_slope": st.floats(0.01, 0.9)}),
    st.fixed_dictionaries({"kind": st.just("Dropout"), "rate": st.floats(0.0, 0.9)}),
    st.just({"kind": "PReLU"}),
)


@settings(max_examples=10)
@given(st.lists(st.tuples(CONVOLUTIONS, BETWEEN), min_size=1, max_size=3))
def test_any_small_stack_comes_back(stack: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    made = [build(**options) for pair in stack for options in pair]
    chain = [*made, layers.GlobalAveragePooling2D(), layers.Dense(3)]
    bridged = round_trip(model_of(*chain, shape=(24, 23, 3)), 3e-5)
    assert all("p_re_lu" in name or ".activation" in name for name in bridged.carried)


def build(kind: str, **options: Any) -> Any:
    if kind in ("Conv2D", "SeparableConv2D", "Conv2DTranspose"):
        options["filters"] = 4
    return getattr(layers, kind)(**options)
