"""Single Keras 3 layers as tf_keras layers, where both mean the same."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import keras
import tf_keras

from edgekit_converters.keras2.carried import carry_function

_KERNELS = (
    "Conv1D", "Conv2D", "Conv3D", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", "Dense",
    "DepthwiseConv1D", "DepthwiseConv2D",
)  # fmt: skip
_SEPARABLE = ("SeparableConv1D", "SeparableConv2D")
_PLAIN = (
    "ActivityRegularization", "Add", "Average", "AveragePooling1D", "AveragePooling2D",
    "Concatenate", "Cropping1D", "Cropping2D", "Cropping3D", "Dropout", "Flatten",
    "GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalAveragePooling3D",
    "GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D", "MaxPooling1D",
    "MaxPooling2D", "Maximum", "Minimum", "Multiply", "Permute", "ReLU", "Reshape",
    "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "Subtract", "UpSampling2D",
    "ZeroPadding1D", "ZeroPadding2D",
)  # fmt: skip
_WITHIN = ("linear", "relu", "softmax")
"""Activations that TFMOT quantises inside a layer with a kernel."""
_APART = (
    "elu", "exponential", "gelu", "mish", "selu", "sigmoid", "silu", "softplus", "softsign", "tanh",
)  # fmt: skip
"""Activations of the same value in both Kerases, which become layers of their own."""

KEEPS_MASK = ("Activation", "Dense", "Dropout", "LeakyReLU", "ReLU")
"""Layers that hand a mask on and do not look at it."""


Name = Callable[[str], str]
"""A unique name for a tf_keras layer, made of the Keras 3 layer's path and the given suffix."""


def translate(layer: Any, name: Name) -> tuple[Any, ...] | None:
    """What is to be called one behind the other in the Keras 3 layer's stead.

    Each is a tf_keras layer, or an activation function that only Keras 3 has. None where there is
    nothing that TFMOT could do more with than with the layer itself.
    """
    kind = type(layer).__name__
    if type(layer) is not getattr(keras.layers, kind, None) or _special(layer):
        return None
    if kind in (*_KERNELS, *_SEPARABLE):
        return _with_kernel(layer, kind, name)
    if kind == "BatchNormalization":
        axis = layer.axis[0] if isinstance(layer.axis, list | tuple) else layer.axis
        # Another axis than the last does not run on a CPU, and folds into no convolution.
        last = axis in (-1, layer.input_spec.ndim - 1)
        return (_made(layer, kind, name(""), axis=axis),) if last else None
    if kind == "LeakyReLU":
        return (_made(layer, kind, name(""), alpha=float(layer.negative_slope)),)
    if kind == "Softmax":
        return (_made(layer, kind, name(""), axis=-1),) if layer.axis in (-1, None) else None
    if kind == "Activation":
        within, apart = _activation(layer.activation, name)
        if not apart:
            return (_layer_of(within, name("")),)
        return apart if isinstance(apart[0], tf_keras.layers.Layer) else None
    if kind not in _PLAIN:
        return None
    seed = getattr(layer, "seed", None)
    changed = {"seed": seed if isinstance(seed, int) else None} if hasattr(layer, "seed") else {}
    return (_made(layer, kind, name(""), **changed),)


def _special(layer: Any) -> bool:
    """Layers with weights that a plain one does not have, or that TensorFlow runs on GPUs only."""
    return bool(
        getattr(layer, "lora_enabled", False)
        or getattr(layer, "quantization_mode", None)
        or getattr(layer, "data_format", None) == "channels_first"
    )


def _with_kernel(layer: Any, kind: str, name: Name) -> tuple[Any, ...] | None:
    within, apart = _activation(layer.activation, lambda suffix: name(f".activation{suffix}"))
    if apart and layer.activity_regularizer is not None:
        return None  # it looks at what comes behind the activation
    if kind in _KERNELS:
        return (_made(layer, kind, name(""), activation=within), *apart)
    return (*_separable(layer, kind, name, within), *apart)


def _activation(function: Any, name: Name) -> tuple[str, tuple[Any, ...]]:
    """The activation that stays within a layer with a kernel, and what is called behind it."""
    if isinstance(function, keras.layers.Layer):
        return "linear", translate(function, name) or (function,)
    called = getattr(function, "__name__", "")
    if function is not getattr(keras.activations, called, None):
        return "linear", (function,)
    if called in _WITHIN:
        return called, ()
    return "linear", (_layer_of(called, name("")) if called in (*_APART, "relu6") else function,)


def _layer_of(activation: str, name: str) -> Any:
    if activation == "relu6":
        return tf_keras.layers.ReLU(6.0, name=name)
    return tf_keras.layers.Activation({"silu": "swish"}.get(activation, activation), name=name)


def _separable(layer: Any, kind: str, name: Name, activation: str) -> tuple[Any, ...]:
    """A depthwise and a pointwise convolution, so that each kernel can be dealt with."""
    rank = kind[-2:]
    depthwise = getattr(tf_keras.layers, f"DepthwiseConv{rank}")(
        layer.kernel_size,
        strides=layer.strides,
        padding=layer.padding,
        depth_multiplier=layer.depth_multiplier,
        dilation_rate=layer.dilation_rate,
        use_bias=False,
        depthwise_regularizer=_of_weights("regularizers", layer.depthwise_regularizer),
        depthwise_constraint=_of_weights("constraints", layer.depthwise_constraint),
        trainable=layer.trainable,
        name=name(".depthwise"),
    )
    pointwise = getattr(tf_keras.layers, f"Conv{rank}")(
        layer.filters,
        1,
        use_bias=layer.use_bias,
        activation=activation,
        kernel_regularizer=_of_weights("regularizers", layer.pointwise_regularizer),
        kernel_constraint=_of_weights("constraints", layer.pointwise_constraint),
        bias_regularizer=_of_weights("regularizers", layer.bias_regularizer),
        bias_constraint=_of_weights("constraints", layer.bias_constraint),
        activity_regularizer=_of_weights("regularizers", layer.activity_regularizer),
        trainable=layer.trainable,
        name=name(".pointwise"),
    )
    return (depthwise, pointwise)


def _made(layer: Any, kind: str, name: str, **changed: Any) -> Any:
    cls = getattr(tf_keras.layers, kind)
    known = {
        parameter
        for base in cls.__mro__
        if "__init__" in vars(base)
        for parameter in inspect.signature(vars(base)["__init__"]).parameters
    } | {"activity_regularizer", "trainable"}
    settings = {
        key: value
        for key, value in layer.get_config().items()
        # Weights come from the original, so how they began does not matter; data types are
        # float32 throughout: TFMOT knows no other.
        if key in known and not key.endswith("_initializer") and key != "dtype"
    }
    for key in settings:
        for module in ("regularizers", "constraints"):
            if key.endswith(f"_{module[:-1]}"):
                settings[key] = _of_weights(module, getattr(layer, key, None))
    return cls(**{**settings, **changed, "name": name})


def _of_weights(module: str, given: Any) -> Any:
    """A regularizer or constraint for tf_keras."""
    kind = type(given).__name__
    if given is None:
        return None
    if type(given) is getattr(getattr(keras, module), kind, None):
        return getattr(getattr(tf_keras, module), kind)(**given.get_config())
    return carry_function(given)
