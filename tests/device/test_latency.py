from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit_device.latency import latency_ms, median_ms
from edgekit_device.tally import Tally

latencies = st.lists(st.integers(1, 10**10), min_size=1, max_size=60)
rounds = st.lists(latencies, min_size=1, max_size=6)


def tally(values: list[int]) -> Tally:
    return Tally.of(Counter(values))


@given(latencies, st.floats(0, 1))
def test_percentile_is_numpys(values: list[int], fraction: float) -> None:
    expected = np.percentile(np.array(values, np.float64), fraction * 100)
    assert tally(values).percentile_ns(fraction) == pytest.approx(expected, rel=1e-9)


@given(rounds)
def test_merged_rounds_are_the_distribution_of_all_runs(values: list[list[int]]) -> None:
    every = [value for part in values for value in part]
    merged = Tally.merged(tally(part) for part in values)
    assert merged == tally(every)
    assert (merged.runs, merged.total_ns) == (len(every), sum(every))


@given(rounds)
def test_percentiles_ascend_and_the_median_lies_among_the_rounds(values: list[list[int]]) -> None:
    latency = latency_ms([tally(part) for part in values])
    known = [latency.min, latency.p50, latency.p90, latency.p99, latency.max]
    ascending = [number.value or 0.0 for number in known]
    assert ascending == sorted(ascending)
    medians = [median_ms(tally(part)) for part in values]
    if len(medians) > 1:
        assert latency.p50.low == pytest.approx(min(medians))
        assert latency.p50.high == pytest.approx(max(medians))


def test_one_round_tells_nothing_about_drift() -> None:
    p50 = latency_ms([tally([1_000_000, 3_000_000])]).p50
    assert (p50.how, p50.value, p50.low, p50.high) == ("measured", 2, None, None)


def test_a_distribution_by_hand() -> None:
    first, second = [1_000_000, 2_000_000, 3_000_000], [5_000_000, 4_000_000]
    latency = latency_ms([tally(first), tally(second)])
    assert latency.min.value == 1
    assert (latency.p50.low, latency.p50.value, latency.p50.high) == (2, 3, 4.5)
    assert latency.p90.value == pytest.approx(4.6)
    assert latency.p99.value == pytest.approx(4.96)
    assert latency.max.value == 5
    assert latency.mean.value == 3
    assert latency.p99.how == "measured"
