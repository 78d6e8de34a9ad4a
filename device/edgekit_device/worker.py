"""The child process that runs one model: `python -m edgekit_device.worker`.

It obeys JSON lines on standard input and does nothing between two of them, so that workers can
take turns on one machine. It reads its own clocks around the inferences (latency, CPU time) and its
own peak of memory; what watches its memory and CPU over time lives in the parent, where it does not
count as the model's.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any, TextIO

from edgekit_device.affinity import keep_on
from edgekit_device.codec import encode
from edgekit_device.errors import ModelError
from edgekit_device.lifeline import die_alone, die_with_parent
from edgekit_device.memory import peak_rss_bytes, rss_bytes
from edgekit_device.protocol import Compared, Imported, Loaded, Ready, Share, Shares, WarmedUp
from edgekit_device.runtime import import_interpreter
from edgekit_device.tally import Tally
from edgekit_device.tensors import difference, random_input, read_sample

# What the runtimes raise when they refuse a file or fail in an inference.
_REFUSALS = (ValueError, RuntimeError, MemoryError, OSError)

# A damaged file may be refused in hundreds of lines, the first of which say why.
_LONGEST_TEXT = 400

# They count as memory of the model.
_KEPT_INPUT_BYTES = 1 << 24

Ask = Mapping[str, Any]


class Worker:
    """The runtime and the model that this process holds; one method per ask."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._interpreter_class: Any = None
        self._interpreter: Any = None

    def import_runtime(self, ask: Ask) -> Imported:
        """Import the runtime, on the cores it is to stay on, and read the memory that it takes."""
        if ask["affinity"] is not None:
            keep_on(ask["affinity"])
        self._interpreter_class = import_interpreter(ask["runtime"])
        return Imported(rss_bytes())

    def load(self, ask: Ask) -> Loaded:
        """Load the model and allocate its tensors, timed together."""
        start_ns = time.perf_counter_ns()
        try:
            self._interpreter = self._interpreter_class(
                model_path=ask["model"], num_threads=ask["threads"]
            )
            self._interpreter.allocate_tensors()
        except _REFUSALS as error:
            raise ModelError(
                "load",
                f"the runtime refuses the file: {_text(error)}. Export it again, or name the other "
                "runtime with --runtime.",
            ) from error
        load_ms = (time.perf_counter_ns() - start_ns) / 1e6
        inputs = self._interpreter.get_input_details()
        return Loaded(
            load_ms,
            tuple(details["name"] for details in inputs),
            tuple(details["name"] for details in self._interpreter.get_output_details()),
            # A scalar has no first dimension, and a model of constants no input.
            int(inputs[0]["shape"][0]) if inputs and len(inputs[0]["shape"]) else 1,
        )

    def inputs(self, ask: Ask) -> Ready:
        """Set the inputs: a sample of the golden file, or random ones if there is none."""
        tensors = self._interpreter.get_input_details()
        golden = ask["golden"]
        if golden is None:
            for details in tensors:
                self._set(details, random_input(details))
            return Ready("random")
        by_name = {details["name"]: details for details in tensors}
        for index, name in enumerate(golden["inputs"]):
            values = read_sample(Path(golden["file"]), f"input_{index}", ask["sample"])
            self._set(by_name[name], values)
        return Ready("golden")

    def golden(self, ask: Ask) -> Compared:
        """Run one sample of the golden file and compare every output with it."""
        self.inputs(ask)
        _invoke(self._interpreter.invoke)
        golden = ask["golden"]
        by_name = {details["name"]: details for details in self._interpreter.get_output_details()}
        found = []
        for index, name in enumerate(golden["outputs"]):
            expected = read_sample(Path(golden["file"]), f"output_{index}", ask["sample"])
            actual = self._interpreter.get_tensor(by_name[name]["index"])
            found.append(difference(name, actual, expected))
        return Compared(tuple(found))

    def warm_up(self, ask: Ask) -> WarmedUp:
        """Run `runs` inferences whose latencies are kept one by one."""
        latencies_ns: list[int] = []
        with _quiet():
            for _ in range(ask["runs"]):
                start_ns = time.perf_counter_ns()
                _invoke(self._interpreter.invoke)
                latencies_ns.append(time.perf_counter_ns() - start_ns)
        return WarmedUp(tuple(latencies_ns))

    def run(self, ask: Ask) -> Shares:
        """Run `parts` stretches without a pause, each at least `runs` inferences and `seconds`.

        Each inference is timed alone. With `cycle`, each one gets the next sample of the golden
        file, set outside of its time.
        """
        set_next = self._samples_in_turn(ask["cycle"]) if ask["cycle"] else None
        with _quiet():
            raw = [
                self._stretch(ask["runs"], int(ask["seconds"] * 1e9), set_next)
                for _ in range(ask["parts"])
            ]
        return Shares(
            tuple(
                Share(Tally.of(seen), cpu_ns, wall_ns, peak, begin_s)
                for seen, cpu_ns, wall_ns, peak, begin_s in raw
            )
        )

    def _stretch(
        self, runs: int, least_ns: int, set_next: Callable[[], None] | None
    ) -> tuple[dict[int, int], int, int, int, float]:
        clock_ns, invoke, done = time.perf_counter_ns, self._interpreter.invoke, 0
        seen: defaultdict[int, int] = defaultdict(int)
        begin_s, cpu_ns, begin_ns = time.monotonic(), time.process_time_ns(), clock_ns()
        try:
            while done < runs or clock_ns() - begin_ns < least_ns:
                if set_next is not None:
                    set_next()
                start_ns = clock_ns()
                invoke()
                seen[clock_ns() - start_ns] += 1
                done += 1
        except _REFUSALS as error:
            raise _failed_inference(error) from error
        wall_ns, cpu_ns = clock_ns() - begin_ns, time.process_time_ns() - cpu_ns
        # Read before the answer is built: its text is not the model's memory.
        return seen, cpu_ns, wall_ns, peak_rss_bytes(), begin_s

    def _samples_in_turn(self, golden: Mapping[str, Any]) -> Callable[[], None] | None:
        """Give a function that sets the next sample's inputs; None where there is just one.

        As many samples as fit into 16 MiB are kept and taken in turns.
        """
        tensors = self._interpreter.get_input_details()
        indices = {details["name"]: details["index"] for details in tensors}
        kept, kept_bytes = [], 0
        for sample in range(golden["samples"]):
            values = [
                (indices[name], read_sample(Path(golden["file"]), f"input_{i}", sample))
                for i, name in enumerate(golden["inputs"])
            ]
            kept_bytes += sum(array.nbytes for _, array in values)
            if kept_bytes > _KEPT_INPUT_BYTES:
                break
            kept.append(values)
        if len(kept) < 2:
            return None
        turns, set_tensor = cycle(kept), self._interpreter.set_tensor

        def set_next() -> None:
            for index, values in next(turns):
                set_tensor(index, values)

        return set_next

    def _set(self, details: Mapping[str, Any], values: Any) -> None:
        try:
            self._interpreter.set_tensor(details["index"], values)
        except ValueError as error:
            raise ModelError(
                "inputs", f"input {details['name']!r} does not fit: {_text(error)}"
            ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Python's garbage collector out of what is timed."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _invoke(invoke: Callable[[], None]) -> None:
    try:
        invoke()
    except _REFUSALS as error:
        raise _failed_inference(error) from error


def _failed_inference(error: BaseException) -> ModelError:
    return ModelError("inference", f"the runtime fails in an inference: {_text(error)}")


def _text(error: BaseException) -> str:
    text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"


def serve(requests: TextIO, answers: TextIO) -> None:
    """Answer every request line with one line until the requests end."""
    worker = Worker()
    methods: dict[str, Callable[[Ask], object]] = {
        "import": worker.import_runtime,
        "load": worker.load,
        "inputs": worker.inputs,
        "golden": worker.golden,
        "warm-up": worker.warm_up,
        "run": worker.run,
    }
    for line in requests:
        request = json.loads(line)
        try:
            answer = {"ok": encode(methods[request["ask"]](request))}
        except ModelError as error:
            answer = {"error": {"kind": error.kind, "message": str(error)}}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def main() -> None:
    """Keep the protocol's channels for ourselves, then serve.

    The runtimes print to file descriptor 1 from C++: it must not be the protocol's.
    """
    die_with_parent()
    die_alone()
    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.close(nowhere)
    sys.stdout = sys.stderr
    serve(requests, answers)


if __name__ == "__main__":
    main()
