"""How long `edgekit estimate` of MobileNetV2 takes as a whole process, and what it covers."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import results

_GOAL_S = 2.0
_NPUS = ("nepu-v1", "edge-tpu-like", "ethos-u55-like")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "mobilenet_v2.tflite"
        model.write_bytes(_mobilenet_v2())
        facts: dict[str, dict[str, object]] = {}
        table = [
            ["npu", "median s", "least s", "most s", "goal s", "CPU s", "operators", "estimated"]
        ]
        table[0] += ["ms", "mJ"]
        for npu in _NPUS:
            seconds, found, before = [], {}, _processor_s()
            for _ in range(5):
                start = time.perf_counter()
                found = _estimate(model, npu)
                seconds.append(time.perf_counter() - start)
            processor = (_processor_s() - before) / len(seconds)
            done, left = len(found["layers"]), len(found["not_estimated"])
            latency, energy = found["latency_ms"], found["energy_j"]
            facts[npu] = {
                "seconds": seconds,
                "processor_seconds": processor,
                "estimated": done,
                "not_estimated": found["not_estimated"],
                "latency_ms": latency,
                "energy_j": energy,
            }
            figures = (np.median(seconds), min(seconds), max(seconds), _GOAL_S)
            cells = [f"{value:.2f}" for value in (*figures, processor)]
            values = [f"{latency['value']:.3f}", f"{energy['value'] * 1e3:.3f}"]
            table.append([npu, *cells, str(done + left), str(done), *values])
        results.write("estimate_speed", facts, table)


def _processor_s() -> float:
    """Processor time of all processes that have ended: what a busy machine does not lengthen."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _estimate(model: Path, npu: str) -> dict[str, object]:
    command = [sys.executable, "-m", "edgekit", "estimate", str(model), "--npu", npu, "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, object] = json.loads(done.stdout)
    return found


def _mobilenet_v2() -> bytes:
    """MobileNetV2 of keras.applications with random weights, as an int8 file of batch 1."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    image = keras.Input((224, 224, 3), batch_size=1)
    model = keras.applications.MobileNetV2(weights=None, input_tensor=image)
    rng = np.random.default_rng(0)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    images = [[rng.random((1, 224, 224, 3), dtype=np.float32)] for _ in range(2)]
    converter.representative_dataset = lambda: iter(images)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


if __name__ == "__main__":
    main()
