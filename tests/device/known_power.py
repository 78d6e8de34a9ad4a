"""A board whose power is known, for runs with a meter."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from edgekit_device import Record

IDLE_W, BUSY_W = 2.0, 6.0


@contextmanager
def every(seconds: float, step: Callable[[], None]) -> Iterator[None]:
    """Do something regularly while the block runs."""
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(seconds):
            step()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def check_known_joules(record: Record) -> None:
    assert record.status == "ok"
    assert record.metered is not None
    windows = record.metered.windows
    assert len(windows) >= 3
    energy, above = record.energy_j, record.energy_above_idle_j
    assert (energy.how, above.how) == ("measured", "measured")
    for number, watts in ((energy, BUSY_W), (above, BUSY_W - IDLE_W)):
        joules = sorted(watts * window.seconds / window.runs for window in windows)
        assert number.value == pytest.approx(joules[len(joules) // 2], rel=0.02)
        assert number.low == pytest.approx(joules[0], rel=0.02)
        assert number.high == pytest.approx(joules[-1], rel=0.02)
    for idle_w in (record.metered.idle_before_w, record.metered.idle_after_w):
        assert idle_w.value == pytest.approx(IDLE_W, rel=0.02)
    for window in windows:
        # No window leaves out what its inferences took.
        assert window.seconds / window.runs * 1e3 >= (record.latency_ms.min.value or 0)
        assert window.seconds >= 10
        assert window.runs >= 10
        assert 0 < (window.cpu_utilisation or 0) <= 1
    assert Record.from_json(json.loads(json.dumps(record.to_json(), allow_nan=False))) == record
