"""Make the small models of the device tests, each with its golden file and manifest.

    python tests/device/make_models.py

Needs TensorFlow and ai-edge-litert; the tests need neither this script nor TensorFlow.
"""

import hashlib
import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

HERE = Path(__file__).parent / "models"
SAMPLES = 4
RUNTIME = f"litert {version('ai-edge-litert')}"


def conv_net() -> Any:
    image = keras.Input((16, 16, 3), batch_size=1, name="image")
    x = keras.layers.Conv2D(8, 3, strides=2, activation="relu")(image)
    x = keras.layers.Conv2D(16, 3, activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(5, activation="softmax", name="classes")(x))


def two_by_two() -> Any:
    image = keras.Input((8, 8, 1), batch_size=1, name="image")
    extra = keras.Input((4,), batch_size=1, name="extra")
    x = keras.layers.Conv2D(4, 3, activation="relu")(image)
    x = keras.layers.Concatenate()([keras.layers.Flatten()(x), extra])
    left = keras.layers.Dense(3, name="left")(x)
    right = keras.layers.Dense(2, activation="tanh", name="right")(x)
    return keras.Model([image, extra], [left, right])


def batch_of_8() -> Any:
    features = keras.Input((4,), batch_size=8, name="features")
    return keras.Model(features, keras.layers.Dense(3, activation="tanh")(features))


def convert(model: Any, representative: Callable[[], Any] | None = None) -> bytes:
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if representative is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = representative
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


class BranchAndLoop(tf.Module):
    """Layers before, inside and behind a branch and a loop; how often it loops is an input."""

    def __init__(self) -> None:
        super().__init__()
        rng = np.random.default_rng(3)
        self.kernels = [tf.constant(rng.normal(size=(6, 6)) / 3, tf.float32) for _ in range(4)]

    @tf.function(
        input_signature=[tf.TensorSpec((2, 6), name="x"), tf.TensorSpec((), tf.int32, name="times")]
    )
    def run(self, x: Any, times: Any) -> Any:
        x = tf.nn.relu(tf.matmul(x, self.kernels[0]))
        x = tf.cond(
            tf.reduce_sum(x) > 4,
            lambda: tf.matmul(x, self.kernels[1]),
            lambda: x + 1,
        )
        _, x = tf.while_loop(
            lambda i, _: i < times,
            lambda i, y: (i + 1, tf.nn.relu6(tf.matmul(y, self.kernels[2]))),
            (0, x),
        )
        return tf.matmul(x, self.kernels[3])


class UnknownBatch(tf.Module):
    """A convolution and a dense layer for any number of images, between them a computed shape."""

    def __init__(self) -> None:
        super().__init__()
        rng = np.random.default_rng(4)
        self.filters = tf.constant(rng.normal(size=(3, 3, 2, 4)), tf.float32)
        self.kernel = tf.constant(rng.normal(size=(64, 3)), tf.float32)

    @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 2), name="x")])
    def run(self, x: Any) -> Any:
        x = tf.nn.relu(tf.nn.conv2d(x, self.filters, 2, "SAME"))
        return tf.matmul(tf.reshape(x, (tf.shape(x)[0], 64)), self.kernel)


def converted(module: Any) -> bytes:
    run = module.run.get_concrete_function()
    return bytes(tf.lite.TFLiteConverter.from_concrete_functions([run], module).convert())


def random_for(details: dict[str, Any], rng: np.random.Generator) -> np.ndarray:
    shape = (SAMPLES, *details["shape"])
    if details["dtype"] is np.float32:
        return rng.random(shape, dtype=np.float32)
    return rng.integers(-128, 128, shape, dtype=np.int8)


def described(details: dict[str, Any]) -> dict[str, Any]:
    scale, zero_point = details["quantization"]
    return {
        "name": details["name"],
        "shape": [int(size) for size in details["shape"]],
        "dtype": np.dtype(details["dtype"]).name,
        "quantization": {"scale": float(scale), "zero_point": int(zero_point)},
    }


def write(name: str, content: bytes, tolerance: float) -> None:
    model = HERE / f"{name}.tflite"
    model.write_bytes(content)
    interpreter = Interpreter(model_path=str(model), num_threads=1)
    interpreter.allocate_tensors()
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    rng = np.random.default_rng(1)
    given = [random_for(details, rng) for details in inputs]
    answers: list[list[np.ndarray]] = [[] for _ in outputs]
    for sample in range(SAMPLES):
        for details, values in zip(inputs, given, strict=True):
            interpreter.set_tensor(details["index"], values[sample])
        interpreter.invoke()
        for found, details in zip(answers, outputs, strict=True):
            found.append(interpreter.get_tensor(details["index"]))
    arrays = {f"input_{i}": values for i, values in enumerate(given)}
    arrays |= {f"output_{j}": np.stack(found) for j, found in enumerate(answers)}
    golden = HERE / f"{name}.golden.npz"
    np.savez(golden, **arrays)
    manifest = {
        "schema": "edgekit.manifest/1",
        "file": model.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "recipe": "none",
        "inputs": [described(details) for details in inputs],
        "outputs": [described(details) for details in outputs],
        "golden": {
            "file": golden.name,
            "sha256": hashlib.sha256(golden.read_bytes()).hexdigest(),
            "samples": SAMPLES,
            "runtime": RUNTIME,
            "tolerance": [tolerance] * len(outputs),
        },
    }
    (HERE / f"{name}.manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


def main() -> None:
    HERE.mkdir(exist_ok=True)
    keras.utils.set_random_seed(0)
    net, rng = conv_net(), np.random.default_rng(0)
    images = [[rng.random((1, 16, 16, 3), dtype=np.float32)] for _ in range(32)]
    write("conv_float32", convert(net), 1e-5)
    write("conv_int8", convert(net, lambda: iter(images)), 2)
    write("two_by_two", convert(two_by_two()), 1e-5)
    write("batch_of_8", convert(batch_of_8()), 1e-5)
    # Without golden files: the delegate's tests compare with the runtime's own kernels.
    for name, module in (("branch_and_loop", BranchAndLoop()), ("unknown_batch", UnknownBatch())):
        (HERE / f"{name}.tflite").write_bytes(converted(module))


if __name__ == "__main__":
    main()
