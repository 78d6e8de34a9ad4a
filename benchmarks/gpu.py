"""On a GPU: the paper's AlexNet against its LCRM version, in training and in inference.

The LCRM paper's Tables 5 to 7 and Figure 5: throughput and step, inference latency by batch size,
joules of an epoch and of an inference, idle ratio and peak memory. Images are noise of the paper's
size: what is timed does not depend on what they show.
"""

from __future__ import annotations

import argparse
import os
import sys

import numpy as np
import results
from training_profile import pair, table

from edgekit.training.nvml import open_gpu
from edgekit.training.profiling import ProfileOptions
from edgekit_device.errors import MeterError

_SIZE, _CLASSES = 224, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1024, help="of noise, which are an epoch")
    parser.add_argument("--steps", type=int, default=50, help="at least, per batch size")
    parser.add_argument("--seconds", type=float, default=12.0, help="at least, per batch size")
    options = parser.parse_args()
    try:
        gpu = open_gpu(os.environ)
    except MeterError as error:
        sys.exit(f"benchmarks/gpu.py needs an NVIDIA GPU, and none can be read here: {error}.")
    random = np.random.default_rng(0)
    x = random.random((options.images, _SIZE, _SIZE, 3), np.float32)
    y = random.integers(0, _CLASSES, options.images)
    held = {name: array[:64] for name, array in (("x_val", x), ("y_val", y))}
    data = {"x_train": x, "y_train": y, "x_test": held["x_val"], "y_test": held["y_val"], **held}
    measuring = ProfileOptions(steps=options.steps, seconds=options.seconds)
    profile = pair("parent:alexnet", data, measuring)
    if profile.device == "cpu":
        sys.exit(
            f"benchmarks/gpu.py: {profile.backend} trains on the CPU beside {gpu.name}; install "
            "its build for CUDA, or name another backend with KERAS_BACKEND."
        )
    results.write("gpu", profile.to_json(), table(profile))


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
