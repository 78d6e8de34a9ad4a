"""The interval of an accuracy, against published values and rules that must always hold."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.evaluate import wilson_interval

COUNTS = st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(
    ("right", "total", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
    ids=lambda value: str(value),
)
def test_intervals_are_those_of_newcombe_1998_table_1(
    right: int, total: int, low: float, high: float
) -> None:
    """Statistics in Medicine 17, 857: method 3, the score method without continuity correction."""
    assert wilson_interval(right, total) == pytest.approx((low, high), abs=5e-5)


@given(COUNTS)
def test_an_interval_holds_its_share_and_stays_within_0_and_1(counts: tuple[int, int]) -> None:
    right, total = counts
    low, high = wilson_interval(right, total)
    assert 0 <= low <= right / total <= high <= 1
    assert low < high


@given(COUNTS)
def test_right_and_wrong_are_mirror_images(counts: tuple[int, int]) -> None:
    right, total = counts
    low, high = wilson_interval(right, total)
    assert wilson_interval(total - right, total) == pytest.approx((1 - high, 1 - low), abs=1e-12)


@given(COUNTS, st.integers(2, 20))
def test_more_samples_of_the_same_share_narrow_the_interval(
    counts: tuple[int, int], times: int
) -> None:
    right, total = counts
    low, high = wilson_interval(right, total)
    closer = wilson_interval(times * right, times * total)
    assert closer[1] - closer[0] < high - low


@given(COUNTS)
def test_both_ends_solve_the_score_equation(counts: tuple[int, int]) -> None:
    """|share - p| = z sqrt(p (1 - p) / n), which is what Wilson's interval is the solution of."""
    right, total = counts
    for end in wilson_interval(right, total):
        if 0 < end < 1:
            deviation = 1.959964 * math.sqrt(end * (1 - end) / total)
            assert abs(right / total - end) == pytest.approx(deviation, rel=1e-6)
