"""Small models with one trait each that TFMOT refuses, or silently leaves as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import layers

SIZE = 8
CLASSES = 3


@keras.saving.register_keras_serializable("tests")
class Gain(layers.Layer):  # type: ignore[misc]
    """A layer of the user's own: one learned factor for each channel."""

    def build(self, input_shape: Any) -> None:
        self.gain = self.add_weight(shape=(input_shape[-1],), name="gain", initializer="ones")

    def call(self, inputs: Any) -> Any:
        return inputs * self.gain


def conv(name: str, filters: int = 8, **options: Any) -> Any:
    return layers.Conv2D(filters, 3, padding="same", name=name, **options)


def bn_behind_concatenate(x: Any) -> Any:
    x = layers.Concatenate()([conv("a")(x), conv("b")(x)])
    return layers.ReLU()(layers.BatchNormalization(name="bn")(x))


def bn_behind_add(x: Any) -> Any:
    x = layers.Add()([conv("a")(x), conv("b")(x)])
    return layers.ReLU()(layers.BatchNormalization(name="bn")(x))


def prelu(x: Any) -> Any:
    return layers.PReLU(name="prelu", shared_axes=[1, 2])(conv("a")(x))


def custom(x: Any) -> Any:
    return conv("b")(Gain(name="gain")(conv("a")(x)))


def rescaling(x: Any) -> Any:
    return conv("a")(layers.Rescaling(2.0, offset=-1.0, name="rescaling")(x))


def block() -> Any:
    image = keras.Input((SIZE, SIZE, 8))
    x = layers.ReLU()(layers.BatchNormalization()(conv("inner")(image)))
    return keras.Model(image, x, name="block")


def nested(x: Any) -> Any:
    return block()(conv("a")(x))


def nested_twice(x: Any) -> Any:
    twice = block()
    return twice(twice(conv("a")(x)))


def transposed(x: Any) -> Any:
    x = layers.Conv2DTranspose(8, 3, strides=2, name="up")(conv("a")(x))
    return layers.ReLU()(layers.BatchNormalization(name="bn")(x))


def squeeze_excite(x: Any) -> Any:
    x = layers.Activation("silu")(layers.BatchNormalization()(conv("a")(x)))
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(4, 1, activation="silu", name="squeeze")(gate)
    gate = layers.Conv2D(8, 1, activation="sigmoid", name="excite")(gate)
    return layers.Multiply()([x, gate])


def hard_swish(x: Any) -> Any:
    x = layers.Activation("hard_silu")(layers.BatchNormalization()(conv("a")(x)))
    return conv("b")(x)


def dilated(x: Any) -> Any:
    return layers.ReLU()(layers.BatchNormalization()(conv("a", dilation_rate=2)(x)))


def inner_activations(x: Any) -> Any:
    return conv("b", activation="silu")(conv("a", activation="relu6")(x))


def separable(x: Any) -> Any:
    return layers.SeparableConv2D(8, 3, activation="relu", name="separable")(conv("a")(x))


def elu_and_layer_norm(x: Any) -> Any:
    return layers.LayerNormalization(name="norm")(layers.ELU(name="elu")(conv("a")(x)))


def bare_operations(x: Any) -> Any:
    return keras.ops.relu(conv("a")(x) * 2.0 + 1.0)


def dense_and_bn(x: Any) -> Any:
    x = layers.Dense(16, name="hidden")(layers.Flatten()(conv("a", strides=2)(x)))
    return layers.Reshape((1, 1, 16))(layers.ReLU()(layers.BatchNormalization(name="bn")(x)))


def noise(x: Any) -> Any:
    return conv("b")(layers.GaussianNoise(0.1, name="noise")(conv("a")(x)))


def grouped(x: Any) -> Any:
    return layers.ReLU()(layers.BatchNormalization()(conv("b", groups=2)(conv("a")(x))))


def maximum(x: Any) -> Any:
    left, right = layers.AveragePooling2D(2)(conv("a")(x)), layers.MaxPooling2D(2)(conv("b")(x))
    return layers.Maximum(name="maximum")([left, right])


def relu_layers(x: Any) -> Any:
    for name in "abc":
        x = layers.ReLU()(conv(name)(x))
    return x


def lstm(x: Any) -> Any:
    x = layers.Reshape((SIZE, SIZE * 8))(conv("a")(x))
    return layers.Reshape((1, 1, 8))(layers.LSTM(8, name="lstm")(x))


TRAITS: dict[str, Callable[[Any], Any]] = {
    trait.__name__: trait
    for trait in (
        bn_behind_concatenate, bn_behind_add, prelu, custom, rescaling, nested, nested_twice,
        transposed, squeeze_excite, hard_swish, dilated, inner_activations, separable,
        elu_and_layer_norm, bare_operations, dense_and_bn, noise, grouped, maximum, relu_layers,
        lstm,
    )
}  # fmt: skip


def build(name: str) -> Any:
    """A classifier of images with four channels that has the trait."""
    keras.utils.set_random_seed(3)
    image = keras.Input((SIZE, SIZE, 4), name="image")
    x = layers.GlobalAveragePooling2D()(TRAITS[name](image))
    return keras.Model(image, layers.Dense(CLASSES, activation="softmax", name="out")(x), name=name)
