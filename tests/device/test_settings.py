import math
from typing import Any

import pytest

from edgekit_device import Settings
from edgekit_device.errors import UsageError


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("runs", 0),
        ("runs", 1.5),
        ("runs", True),
        ("rounds", 0),
        ("warmup", -1),
        ("threads", 0),
        ("seconds", -1.0),
        ("seconds", math.nan),
        ("idle_seconds", math.inf),
        ("sample_interval_s", -0.1),
        ("runtime", "onnx"),
    ],
)
def test_an_impossible_setting_is_named_with_its_value(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"{name}: .*Received: {value!r}"):
        Settings(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "most"),
    [
        # Shares of these are no floats, and no clock of the system counts such seconds.
        ("runs", 10**400, "1,000,000,000,000"),
        ("warmup", 10**13, "1,000,000,000,000"),
        ("idle_seconds", 1e300, "10,000,000"),
        ("duration_s", 1e300, "10,000,000"),
        ("sample_interval_s", 1e8, "10,000,000"),
    ],
)
def test_a_setting_beyond_all_clocks_is_refused(name: str, value: Any, most: str) -> None:
    with pytest.raises(UsageError, match=f"^{name}: must be at most {most}. Received: "):
        Settings(**{name: value})


def test_rounds_share_the_runs_and_the_seconds() -> None:
    settings = Settings(runs=7, seconds=3.0, rounds=3)
    assert (settings.runs_per_round, settings.seconds_per_round) == (3, 1.0)
    assert Settings(runs=1, rounds=5).runs_per_round == 1
