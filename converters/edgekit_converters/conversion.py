"""A model as the bytes of a .tflite file."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from edgekit_converters.errors import ExportError
from edgekit_converters.forward import Forward, architecture, forward
from edgekit_converters.graph import inner_layers, input_keys, output_keys
from edgekit_converters.passes import Quantize
from edgekit_converters.quiet import quiet

_CHECKED_AT_ONCE = 32
_LOOPS = ("StatelessWhile", "While")


def convert(model: Any, quantize: Quantize, samples: list[Any], batch: int | None) -> bytes:
    """Converts the model; `samples` calibrate int8 and int16x8, a batch of None stays open.

    Raises:
        ExportError: the converter refuses the model, or Keras computes with another backend.
    """
    _check_backend()
    plain = architecture(model)
    specs = [
        tf.TensorSpec((batch, *sample_shape(tensor)), tensor.dtype, name=key)
        for key, tensor in zip(input_keys(plain), plain.inputs, strict=True)
    ]
    try:
        with quiet(), warnings.catch_warnings():
            # The calibrator uses TensorFlow's own interpreter, which announces its end.
            warnings.simplefilter("ignore", UserWarning)
            return _converted(model, quantize, specs, samples, batch or 1)
    except ExportError:
        raise
    except Exception as error:
        raise ExportError(
            f"TensorFlow cannot convert {model.name!r} to {quantize.scheme}: "
            f"{_first_line(str(error))}"
        ) from error


def _converted(
    model: Any, quantize: Quantize, specs: list[Any], samples: list[Any], batch: int
) -> bytes:
    module = _Module(forward(model), output_keys(architecture(model)))
    function = module.forward.get_concrete_function(*specs)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
    if quantize.scheme == "float16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    elif quantize.scheme == "dynamic":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        # Without this FULLY_CONNECTED becomes version 12, which tflite-runtime 2.14 does not know.
        converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    elif not isinstance(model, keras.Model):
        # The ranges are in the model: it learned them.
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        _set_ends(converter, quantize, tf.int8)
    elif quantize.scheme in ("int8", "int16x8"):
        _check_finite(model, samples)
        _check_loops(model, quantize, function.graph.as_graph_def())
        _calibrate(converter, quantize, input_keys(model), samples, batch)
    return bytes(converter.convert())


class _Module(tf.Module):  # type: ignore[misc]
    """The model as one function; holding its variables lets the converter freeze them."""

    def __init__(self, run: Forward, outputs: list[str]) -> None:
        super().__init__()
        self.held = list(run.variables)
        self.forward = tf.function(
            lambda *inputs: dict(zip(outputs, run.call(list(inputs)), strict=True)),
            autograph=False,
        )


def _check_finite(model: Any, samples: list[Any]) -> None:
    """Refuses a model that gives no numbers for the samples: calibration would end the process."""
    run = forward(model)
    for start in range(0, len(samples[0]), _CHECKED_AT_ONCE):
        outputs = run.call([array[start : start + _CHECKED_AT_ONCE] for array in samples])
        if not all(np.isfinite(np.asarray(output)).all() for output in outputs):
            raise ExportError(
                f"{model.name!r} gives NaN or infinite values on the representative set; its "
                "weights overflow, or the samples are not scaled as in training."
            )


def _check_loops(model: Any, quantize: Quantize, graph: Any) -> None:
    """Refuses a model that computes in a loop: calibration would end the process."""
    nodes = [*graph.node, *(node for part in graph.library.function for node in part.node_def)]
    if any(node.op in _LOOPS for node in nodes):
        recurrent = [
            layer.name for layer in inner_layers(model) if isinstance(layer, keras.layers.RNN)
        ]
        inside = f" ({', '.join(recurrent)})" if recurrent else ""
        raise ExportError(
            f"{model.name!r} computes in a loop{inside}, which TensorFlow's calibration for "
            f"{quantize.scheme} does not survive; build recurrent layers with unroll=True, or "
            "choose dynamic or float16."
        )


def _calibrate(
    converter: Any, quantize: Quantize, keys: list[str], samples: list[Any], batch: int
) -> None:
    def batches() -> Iterator[dict[str, Any]]:
        # By name: the file has its inputs in an order of its own.
        for start in range(0, len(samples[0]) - batch + 1, batch):
            yield {
                key: array[start : start + batch] for key, array in zip(keys, samples, strict=True)
            }

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = batches
    if quantize.scheme == "int8":
        integer_ops, kind = tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.int8
    else:
        integer_ops = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        kind = tf.int16
    # The float builtins let an operation without an integer kernel stay float instead of failing.
    converter.target_spec.supported_ops = [integer_ops, tf.lite.OpsSet.TFLITE_BUILTINS]
    _set_ends(converter, quantize, kind)


def _set_ends(converter: Any, quantize: Quantize, kind: Any) -> None:
    if quantize.io == "int":
        converter.inference_input_type = kind
        converter.inference_output_type = kind


def check_convertible(model: Any) -> None:
    """Refuses what no file could be made of, before time is spent on it.

    Raises:
        ExportError: Keras computes with another backend than TensorFlow, or an input has an open
            size.
    """
    _check_backend()
    for tensor in model.inputs:
        sample_shape(tensor)


def _check_backend() -> None:
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise ExportError(
            f"Keras computes with {backend} (KERAS_BACKEND), and TFLite files are made from "
            "TensorFlow's operations; set KERAS_BACKEND=tensorflow or unset it. A model trained "
            "with another backend can be loaded there."
        )


def sample_shape(tensor: Any) -> tuple[int, ...]:
    """The shape of one sample of an input.

    Raises:
        ExportError: a size is open.
    """
    shape = tuple(tensor.shape[1:])
    if any(size is None for size in shape):
        raise ExportError(
            f"The model's input {tensor.name!r} has the open shape {shape}; a delegate needs fixed "
            "sizes. Build the model with keras.Input(shape=…) of the size it will see."
        )
    return shape


def _first_line(text: str) -> str:
    return next(
        (line.strip()[:300] for line in text.splitlines() if line.strip()), "no reason given"
    )
