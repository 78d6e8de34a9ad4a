"""One model under measurement: its worker, and what is known about it so far."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from edgekit_device.energy_windows import WINDOWS, Stretch
from edgekit_device.errors import ModelError
from edgekit_device.golden import Reference, file_sha256, judge, read_reference, wrong_answer
from edgekit_device.machine import Busy, cpu_clock
from edgekit_device.progress import Event, Progress
from edgekit_device.protocol import Compared, Imported, Loaded, Ready, Share, Shares, WarmedUp
from edgekit_device.record import Failure, Golden, Model, Runtime, Sample
from edgekit_device.sampling import sampled
from edgekit_device.session import Session
from edgekit_device.settings import Settings
from edgekit_device.watching import Glance, Watch, watched

_IDENTIFIER = b"TFL3"

# A share that takes this many times as long as expected counts as hung; of a long one, that long
# beyond its end.
_PATIENCE = 20
_LONG_S = 10.0

T = TypeVar("T")


class Subject:
    """A model and its worker. The steps raise ModelError; `fail` ends the worker for good."""

    def __init__(self, path: Path, settings: Settings, runtime: Runtime, watch: Watch) -> None:
        """Know the file; nothing is read or started before `prepare`."""
        self._path, self._settings, self._runtime = path, settings, runtime
        self._plan, self._watch = settings.plan, watch
        self._session: Session | None = None
        self._reference: Reference | None = None
        self._latency_s = 0.0
        self.model = Model(path.name, None, None)
        self.failure: Failure | None = None
        self.golden = Golden("absent", reason="the run ended before the golden check")
        self.batch: int | None = None
        self.load_ms = 0.0
        self.baseline_rss_bytes = 0
        self.warmup_ms: list[float] = []
        self.shares: list[Share] = []
        self.busy = Busy()
        self.samples: list[Sample] = []
        self.glances: list[Glance] = []

    def prepare(self, progress: Progress) -> None:
        """Check the file, start the worker, load, compare with the golden outputs, warm up."""
        progress(Event("load", self.model.file))
        self.model = _read_model(self._path)
        reference = read_reference(self._path, self.model.sha256 or "")
        self._session = Session()
        request: dict[str, Any] = {"ask": "import", "runtime": self._runtime.name}
        imported = self._ask({**request, "affinity": self._settings.affinity}, Imported)
        self.baseline_rss_bytes = imported.baseline_rss_bytes
        request = {"ask": "load", "model": str(self._path), "threads": self._settings.threads}
        loaded = self._ask(request, Loaded)
        self.load_ms, self.batch = loaded.load_ms, loaded.batch
        if isinstance(reference, Reference):
            progress(Event("golden", self.model.file))
            _names_fit(reference, loaded)
            self._reference = reference
            self._check(reference)
        else:
            self.golden = Golden("absent", reason=reference)
        progress(Event("warm-up", self.model.file))
        self._set_inputs(0)
        runs, patience_s = self._settings.warmup, self._settings.warmup * self._settings.timeout_s
        warmed_up = self._ask({"ask": "warm-up", "runs": runs}, WarmedUp, patience_s)
        self.warmup_ms = [ns / 1e6 for ns in warmed_up.latencies_ns]
        self._latency_s = max([self._latency_s, *(ns / 1e9 for ns in warmed_up.latencies_ns)])

    def run_share(self, round_index: int, zero_s: float) -> None:
        """Run this model's share of one round, while the machine and the worker are watched."""
        self._set_inputs(round_index)
        runs, seconds = self._plan.runs_per_round, self._plan.seconds_per_round
        patience_s = seconds + _PATIENCE * (min(seconds, _LONG_S) + runs * self._latency_s)
        request = {"ask": "run", **self._parts(runs, seconds)}
        with watched(self._watch, zero_s, self.glances):
            before = cpu_clock()
            with sampled(self.worker_pid, self._settings.sample_interval_s, zero_s, self.samples):
                shares = self._ask(request, Shares, patience_s).parts
            self.busy.add(before, cpu_clock())
        self._latency_s = shares[-1].tally.percentile_ns(0.5) / 1e9
        self.shares += shares

    def stretches(self) -> list[Stretch]:
        """Give when the model ran, and what the board did meanwhile."""
        return [_stretch(share, self.glances) for share in self.shares]

    def clock_hz(self) -> float | None:
        """Give the median clock while the model ran; None: the machine does not tell.

        Shares that are too short to be looked into have the clock of the look right after them; at
        the look before, a core may still be asleep.
        """
        spans = [(share.begin_s, share.begin_s + share.wall_ns / 1e9) for share in self.shares]
        told = [(one.cpu[0], hz) for one in self.glances if (hz := one.moment.clock_hz) is not None]
        inside = [hz for t_s, hz in told for begin_s, end_s in spans if begin_s <= t_s <= end_s]
        after = [next((hz for t_s, hz in told if t_s > end_s), None) for _, end_s in spans]
        clocks_hz = inside or [hz for hz in after if hz is not None]
        return median(clocks_hz) if clocks_hz else None

    @property
    def worker_pid(self) -> int | None:
        """The process id of the worker, while it lives."""
        return None if self._session is None else self._session.pid

    def fail(self, error: ModelError) -> None:
        """Keep the reason and end the worker, so that it does not disturb the others."""
        self.failure = Failure(error.kind, f"{self.model.file}: {error}")
        self.close()

    def close(self) -> None:
        """End the worker, if there is one."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _check(self, reference: Reference) -> None:
        compared = []
        for sample in range(reference.samples):
            start_s = time.monotonic()
            compared.append(self._ask({"ask": "golden", **self._inputs(sample)}, Compared))
            self._latency_s = time.monotonic() - start_s
        self.golden, wrong = judge(reference, compared)
        if wrong is not None:
            raise wrong_answer(reference, self._runtime, wrong)

    def _parts(self, runs: int, seconds: float) -> dict[str, Any]:
        """Give the parts of a share: one, or of a sustained run those that make energy windows."""
        if self._settings.duration_s is None:
            return {"runs": runs, "seconds": seconds, "parts": 1, "cycle": None}
        golden = self._inputs(0)["golden"]
        return {"runs": runs, "seconds": seconds / WINDOWS, "parts": WINDOWS, "cycle": golden}

    def _set_inputs(self, index: int) -> None:
        self._ask({"ask": "inputs", **self._inputs(index)}, Ready)

    def _inputs(self, index: int) -> dict[str, Any]:
        if self._reference is None:
            return {"golden": None, "sample": 0}
        golden = {**asdict(self._reference), "file": str(self._reference.file)}
        return {"golden": golden, "sample": index % self._reference.samples}

    def _ask(self, request: dict[str, Any], answer: type[T], patience_s: float = 0.0) -> T:
        if self._session is None:
            raise ModelError("crash", "its child process has ended already")
        return self._session.ask(request, answer, max(self._settings.timeout_s, patience_s))


def _stretch(share: Share, glances: Sequence[Glance]) -> Stretch:
    begin_s, seconds = share.begin_s, share.wall_ns / 1e9
    since = [one for one in glances if begin_s <= one.cpu[0]]
    inside = [one for one in since if one.cpu[0] <= begin_s + seconds]
    busy = Busy()
    if inside:
        busy.add(inside[0].cpu, inside[-1].cpu)
    clocks_hz = [one.moment.clock_hz for one in inside if one.moment.clock_hz is not None]
    # The first look after the end tells of the last moments before it.
    looks = since[: len(inside) + 1]
    held = dict.fromkeys(name for one in looks for name in one.moment.throttled or ())
    return Stretch(
        start_s=begin_s,
        seconds=seconds,
        runs=share.tally.runs,
        cpu_utilisation=busy.utilisation("a longer window tells it").value,
        clock_hz=math.fsum(clocks_hz) / len(clocks_hz) if clocks_hz else None,
        held=tuple(held),
    )


def _read_model(path: Path) -> Model:
    if not path.exists():
        raise ModelError("missing-file", f"there is no such file: {path}")
    try:
        with path.open("rb") as file:
            head = file.read(8)
        size, sha256 = path.stat().st_size, file_sha256(path)
    except OSError as error:
        raise ModelError("unreadable-file", f"the file cannot be read: {error}") from error
    if head[4:] != _IDENTIFIER:
        raise ModelError(
            "not-tflite",
            f"this is not a TFLite file: bytes 4 to 7 must be {_IDENTIFIER!r}. "
            f"Received: {head[4:]!r}. Convert the model to .tflite first.",
        )
    return Model(path.name, sha256, size)


def _names_fit(reference: Reference, loaded: Loaded) -> None:
    for what, named, there in (
        ("input", reference.inputs, loaded.inputs),
        ("output", reference.outputs, loaded.outputs),
    ):
        if sorted(named) != sorted(there) or len(set(there)) != len(there):
            raise ModelError(
                "golden-files",
                f"the manifest's {what}s {list(named)} are not the model's {list(there)}, each "
                "name once. Export the model again, or remove the manifest.",
            )
