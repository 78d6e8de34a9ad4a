"""CPU and memory of a worker over time, taken by a thread of the agent, never by the worker."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
from memory_profiler import memory_usage

from edgekit_device.record import Sample

_MIB = 1 << 20


@contextmanager
def sampled(
    pid: int | None, interval_s: float, zero_s: float, into: list[Sample]
) -> Iterator[None]:
    """Append a sample of the process every `interval_s` while the block runs; 0 takes none.

    Times are `time.monotonic()` less `zero_s`.
    """
    if interval_s <= 0 or pid is None:
        yield
        return
    stop = threading.Event()
    thread = threading.Thread(target=_take, args=(pid, interval_s, zero_s, into, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _take(
    pid: int, interval_s: float, zero_s: float, into: list[Sample], stop: threading.Event
) -> None:
    try:
        process = psutil.Process(pid)
        before_s, before_cpu_s = time.monotonic(), _cpu_s(process)
        while not stop.wait(interval_s):
            now_s, cpu_s = time.monotonic(), _cpu_s(process)
            # Without a function to watch, memory_usage reads once and then sleeps `interval`.
            (rss_mib,) = memory_usage(proc=pid, interval=1e-6, max_iterations=1)
            cores = (cpu_s - before_cpu_s) / (now_s - before_s)
            into.append(Sample(round(now_s - zero_s, 3), round(cores, 3), int(rss_mib * _MIB)))
            before_s, before_cpu_s = now_s, cpu_s
    except psutil.NoSuchProcess:
        # The worker died: whoever waits for its answer finds out and says why.
        return


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
