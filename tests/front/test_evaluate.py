"""The interval of an accuracy, against published values and rules that must always hold."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.evaluate import accuracy, accuracy_change, wilson_interval
from edgekit_device import Number

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


BITS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=200)


def change_of(gained: int, lost: int, same: int) -> Number:
    ours = [True] * gained + [False] * lost + [True] * same
    base = [False] * gained + [True] * lost + [True] * same
    return accuracy_change(ours, base)


def test_a_paired_change_is_agresti_and_mins_by_hand() -> None:
    """With one half in each cell: 10.5 and 4.5 disagree, of 102."""
    found = change_of(gained=10, lost=4, same=86)
    centre = (10.5 - 4.5) / 102
    half = 1.959964 * math.sqrt((10.5 + 4.5) / 102 - centre**2) / math.sqrt(102)
    assert found.value == pytest.approx(0.06)
    assert (found.low, found.high) == pytest.approx((centre - half, centre + half))


def test_equal_answers_leave_some_doubt_that_more_samples_shrink() -> None:
    few, many = change_of(0, 0, 20), change_of(0, 0, 2000)
    assert few.value == many.value == 0
    assert 0 < (many.high or 0) < 0.002 < (few.high or 0)
    assert few.low == pytest.approx(-(few.high or 0))


def test_samples_on_which_both_agree_say_nothing_of_the_direction() -> None:
    sure, unsure = change_of(30, 0, 70), change_of(50, 20, 30)
    assert sure.value == unsure.value == pytest.approx(0.3)
    assert (sure.high or 0) - (sure.low or 0) < (unsure.high or 0) - (unsure.low or 0)


@given(BITS)
def test_a_change_is_the_difference_of_the_accuracies_within_its_interval(
    bits: list[tuple[bool, bool]],
) -> None:
    ours, base = zip(*bits, strict=True)
    there, back = accuracy_change(ours, base), accuracy_change(base, ours)
    difference = (accuracy(ours).value or 0) - (accuracy(base).value or 0)
    assert there.value == pytest.approx(difference)
    assert -1 <= (there.low or 0) <= (there.value or 0) <= (there.high or 0) <= 1
    assert (back.low, back.high) == pytest.approx((-(there.high or 0), -(there.low or 0)))
