"""The NEPU delegate in exact int8 against the runtime's own kernels, on AlexNet's convolutions.

Each convolution is a file of its own. Both interpreters live in one process and run in turns, one
thread; the ratio is taken turn by turn. Run it with tflite-runtime's interpreter to compare with
its optimised kernels, which XNNPACK has not replaced for int8.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import results

_TURNS = """
import json, sys, time
from pathlib import Path
import numpy as np
from edgekit_device.arithmetic import Arithmetic
from edgekit_device.delegate import Nepu
from edgekit_device.runtime import choose, import_interpreter, installed

rounds, settings, instructions, *files = sys.argv[1:]
runtime = choose("auto", installed())
found = {"runtime": f"{runtime.name} {runtime.version}", "kernels": instructions}
for file in files:
    nepu = Nepu(Arithmetic(**json.loads(settings)), runtime, instructions)
    ours = nepu.interpreter(Path(file))
    theirs = import_interpreter(runtime.name)(model_path=file, num_threads=1)
    theirs.allocate_tensors()
    (detail,) = theirs.get_input_details()
    value = np.random.default_rng(0).integers(-128, 128, detail["shape"]).astype(detail["dtype"])
    pairs = []
    for interpreter in (ours, theirs):
        interpreter.set_tensor(detail["index"], value)
        interpreter.invoke()
    nepu.reset()
    for turn in range(int(rounds)):
        spent = {}
        order = (("ours", ours), ("theirs", theirs))
        for name, interpreter in order if turn % 2 else order[::-1]:
            start = time.thread_time_ns()
            interpreter.invoke()
            spent[name] = (time.thread_time_ns() - start) / 1e6
        pairs.append(spent)
        nepu.reset()
    found[Path(file).stem] = pairs
print(json.dumps(found))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", default=sys.executable, help="of the agent's environment")
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    import numpy as np

    table = [["layer", "arithmetic", "runtime", "kernels", "delegate ms", "runtime ms", "ratio"]]
    facts: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        files = convolutions(Path(folder))
        for name, kernels in CASES:
            command = [options.python, "-c", _TURNS, str(options.rounds)]
            command += [json.dumps(ARITHMETICS[name]), kernels]
            done = subprocess.run(
                [*command, *map(str, files)], capture_output=True, text=True, check=True
            )
            told = json.loads(done.stdout)
            facts[f"{name}, {kernels}"] = told
            for file in files:
                pairs = told[file.stem]
                ratio = float(np.median([pair["theirs"] / pair["ours"] for pair in pairs]))
                ours, theirs = (np.median([p[who] for p in pairs]) for who in ("ours", "theirs"))
                table.append(
                    [
                        file.stem, name, told["runtime"], told["kernels"], f"{ours:.3f}",
                        f"{theirs:.3f}", f"{ratio:.2f}",
                    ]
                )  # fmt: skip
    results.write("delegate_speed", facts, table)


ARITHMETICS: dict[str, dict[str, Any]] = {
    "exact": {},
    "5 bits": {"weight_bits": 5, "activation_bits": 5},
    "drum(4)": {"multiplier": "drum(4)"},
}
CASES = (
    ("exact", "auto"),
    ("exact", "avx2"),
    ("5 bits", "auto"),
    ("drum(4)", "auto"),
    ("drum(4)", "plain"),
)
"""Arithmetics with the kernels that compute them."""


def convolutions(folder: Path) -> list[Path]:
    """AlexNet's five convolutions (the LCRM paper's), each an int8 file."""
    import keras
    import numpy as np

    import edgekit_converters as ec

    files = []
    model = ec.alexnet()
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    for layer in layers:
        image = keras.Input(tuple(layer.input.shape[1:]), batch_size=1)
        one = keras.Model(image, type(layer).from_config(layer.get_config())(image))
        file = folder / f"{layer.name}.tflite"
        samples = np.random.default_rng(1).random((4, *image.shape[1:]), np.float32)
        scheme = ec.Quantize("int8", io="int")
        ec.export_tflite(one, scheme, file, representative=[samples])
        files.append(file)
    return files


if __name__ == "__main__":
    main()
