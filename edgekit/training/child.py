"""The process in which one model is trained with one batch size, so that its memory is its own.

`python -m edgekit.training.child REQUEST.json` answers each line of standard input with a line of
JSON: `train STEPS SECONDS` and `infer STEPS SECONDS` with the seconds of each step, `memory` with
bytes. Before that it says hello.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from edgekit_device.lifeline import die_alone, die_with_parent
from edgekit_device.machine import cpu_clock
from edgekit_device.memory import peak_rss_bytes, rss_bytes

if TYPE_CHECKING:
    from edgekit_converters.training_steps import TimedSteps

OUT_OF_MEMORY = "memory"
"""The kind of an error that says that memory ran out."""


@dataclass(frozen=True)
class Request:
    """What to train: files of the model and the samples, and the loss as `Objective`'s fields.

    `parent` is the process that this one must not outlive; `code` are Python files that the model
    needs.
    """

    parent: int
    model: str
    code: tuple[str, ...]
    safe: bool
    samples: str
    targets: str
    objective: dict[str, Any]
    batch_size: int
    seed: int


def main(arguments: list[str]) -> int:
    """Answers until standard input ends."""
    request = Request(**json.loads(Path(arguments[0]).read_text()))
    die_with_parent(request.parent)
    die_alone()
    # Libraries that print must not print into the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        _serve(request, answers)
    except MemoryError as error:
        _say(answers, error=str(error) or "memory ran out", kind=OUT_OF_MEMORY)
        return 1
    return 0


def _serve(request: Request, answers: TextIO) -> None:
    import numpy as np

    from edgekit_converters.backend import backend_here, peak_device_bytes
    from edgekit_converters.errors import ConverterError
    from edgekit_converters.load import load_model, register_objects
    from edgekit_converters.objective import Objective
    from edgekit_converters.training_steps import TimedSteps

    try:
        for file in request.code:
            register_objects(file)
        x, y = np.load(request.samples), np.load(request.targets)
        model = load_model(request.model, safe=request.safe)
        backend = backend_here()
        steps = TimedSteps(
            model, x, y, Objective(**request.objective), request.batch_size, request.seed
        )
        before, own = rss_bytes(), _forget_peak()
        _say(answers, backend=backend.name, version=backend.version, device=backend.device)
        for line in sys.stdin:
            word, *counts = line.split()
            if word == "memory":
                _say(
                    answers,
                    peak_rss_bytes=peak_rss_bytes() if own else None,
                    rss_before_bytes=before,
                    peak_device_bytes=peak_device_bytes(),
                )
            else:
                _say(answers, **_block(steps, word, int(counts[0]), float(counts[1])))
    except ConverterError as error:
        _say(answers, error=str(error), kind="input")


def _block(steps: TimedSteps, word: str, count: int, seconds: float) -> dict[str, Any]:
    run = steps.train if word == "train" else steps.infer
    machine, cpu_s = cpu_clock(), time.process_time()
    start_s = time.monotonic()
    taken = run(count, seconds)
    wall_s, own_s = time.monotonic() - start_s, time.process_time() - cpu_s
    _, busy_s, total_s = (
        after - before for before, after in zip(machine, cpu_clock(), strict=True)
    )
    return {
        "start_s": start_s,
        "wall_s": wall_s,
        "cpu_s": own_s,
        "machine_busy_s": busy_s,
        "machine_total_s": total_s,
        "seconds": taken,
    }


def _forget_peak() -> bool:
    """Has the kernel begin the high-water mark of memory anew: loading needs more for a moment."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _say(answers: TextIO, **facts: Any) -> None:
    answers.write(json.dumps(facts) + "\n")
    answers.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
