"""Export: what cannot be converted is refused in one sentence and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from converter_models import MODELS, samples
from keras import layers

from edgekit_converters import ExportError, Quantize, export_tflite


def refused(tmp_path: Path, model: Any, scheme: Any, *words: str, **options: Any) -> None:
    """The error has the words, and whatever was there before is as it was."""
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ExportError) as refusal:
        export_tflite(model, Quantize(scheme), tmp_path / "m.tflite", **options)
    for word in words:
        assert word in str(refusal.value)
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before


@pytest.fixture(scope="module")
def model() -> Any:
    return MODELS["two_by_two"]()


ZEBRA, ANT = np.zeros((5, 6, 6, 2), np.float32), np.zeros((5, 3), np.float32)
UNFIT: dict[str, tuple[list[Any] | None, list[str]]] = {
    "missing": (None, ["representative inputs", "--data"]),
    "one array too few": ([ZEBRA], ["1 arrays", "2 inputs", "model's order"]),
    "wrong order": ([ANT, ZEBRA], ["'zebra'", "(5, 3)", "(samples, 6, 6, 2)"]),
    "wrong shape": ([ZEBRA[:, :5], ANT], ["'zebra'", "(5, 5, 6, 2)"]),
    "empty": ([ZEBRA[:0], ANT[:0]], ["at least one sample"]),
    "a number": ([np.float32(3), ANT], ["'zebra'", "()"]),
    "NaN": ([ZEBRA, ANT + np.nan], ["'ant'", "NaN", "remove"]),
    "infinite": ([ZEBRA, ANT + np.inf], ["'ant'", "infinite"]),
    "unequal counts": ([ZEBRA, ANT[:3]], ["3, 5 samples"]),
}


@pytest.mark.parametrize("scheme", ["int8", "int16x8"])
@pytest.mark.parametrize("case", UNFIT)
def test_unfit_calibration_data_are_refused(
    case: str, scheme: str, model: Any, tmp_path: Path
) -> None:
    given, words = UNFIT[case]
    refused(tmp_path, model, scheme, *words, representative=given)


def test_fewer_samples_than_one_batch_are_refused(model: Any, tmp_path: Path) -> None:
    refused(tmp_path, model, "int8", "one batch (8)", representative=[ZEBRA, ANT], batch=8)


@pytest.mark.parametrize("scheme", ["float32", "int8"])
def test_an_open_size_is_refused_with_the_way_out(scheme: str, tmp_path: Path) -> None:
    image = keras.Input((None, None, 3), name="image")
    model = keras.Model(image, layers.Conv2D(2, 3)(image))
    data = [np.zeros((2, 8, 8, 3), np.float32)] if scheme == "int8" else None
    words = ("'image'", "(None, None, 3)", "keras.Input(shape")
    refused(tmp_path, model, scheme, *words, representative=data)


class Strings(layers.Layer):
    """Uses an operation that TFLite's builtins do not have."""

    def call(self, x: Any) -> Any:
        import tensorflow as tf

        return tf.strings.to_number(tf.strings.as_string(x))

    def compute_output_spec(self, x: Any) -> Any:
        return keras.KerasTensor(x.shape, "float32")


class Fails(layers.Layer):
    """Works on Keras' symbolic tensors only."""

    def call(self, x: Any) -> Any:
        raise RuntimeError("not on this machine")

    def compute_output_spec(self, x: Any) -> Any:
        return keras.KerasTensor(x.shape, "float32")


@pytest.mark.parametrize("layer", [Strings, Fails])
@pytest.mark.parametrize("scheme", ["float32", "int8"])
def test_a_model_that_tensorflow_cannot_convert_is_refused(
    scheme: str, layer: Any, tmp_path: Path
) -> None:
    vector = keras.Input((4,))
    model = keras.Model(vector, layer()(vector), name="odd")
    data = [np.ones((3, 4), np.float32)]
    refused(tmp_path, model, scheme, "cannot convert 'odd'", scheme, representative=data)


@pytest.mark.parametrize("scheme", ["float32", "int8", "dynamic"])
def test_weights_that_overflow_are_refused_and_the_old_file_stays(
    scheme: str, tmp_path: Path
) -> None:
    model = MODELS["sequential"]()
    data = samples(model, 6)
    export_tflite(model, Quantize("float32"), tmp_path / "m.tflite", representative=data)
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    refused(tmp_path, model, scheme, representative=data)


def test_a_float_file_that_computes_something_else_is_refused(tmp_path: Path) -> None:
    class TwoFaced(layers.Layer):
        def call(self, x: Any) -> Any:
            import tensorflow as tf

            return x if tf.executing_eagerly() else -x

    vector = keras.Input((4,))
    model = keras.Model(vector, TwoFaced()(vector))
    refused(tmp_path, model, "float32", "does not compute what the Keras model does", "report")


def test_an_integer_operation_that_has_no_kernel_stays_float(tmp_path: Path) -> None:
    vector = keras.Input((4,))
    model = keras.Model(vector, layers.Dense(2)(keras.ops.erf(layers.Dense(4)(vector))))
    try:
        export_tflite(
            model, Quantize("int8"), tmp_path / "m.tflite", representative=samples(model, 6)
        )
    except ExportError as refusal:
        assert "cannot convert" in str(refusal)  # noqa: PT017 - either way no traceback


@pytest.mark.parametrize("scheme", ["int8", "int16x8"])
def test_a_loop_is_refused_where_calibration_would_end_the_process(
    scheme: str, tmp_path: Path
) -> None:
    recurrent = MODELS["recurrent"]()
    signal = samples(recurrent)
    words = ("'recurrent'", "loop (backward_gru", "unroll=True", "dynamic or float16")
    refused(tmp_path, recurrent, scheme, *words, representative=signal)
