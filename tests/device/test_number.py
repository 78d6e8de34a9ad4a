import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit_device.errors import RecordError
from edgekit_device.number import Number

finite = st.floats(allow_nan=False, allow_infinity=False)
three = st.lists(finite, min_size=3, max_size=3).map(sorted)
numbers = st.one_of(
    finite.map(Number.measured),
    finite.map(Number.counted),
    finite.map(Number.emulated),
    three.map(lambda v: Number.measured(v[1], v[0], v[2])),
    three.map(lambda v: Number.estimated(v[1], v[0], v[2], "a model")),
    st.text(min_size=1).map(Number.unavailable),
)


@given(numbers)
def test_comes_back_from_json_as_it_went(number: Number) -> None:
    assert Number.from_json(number.to_json()) == number


@given(numbers)
def test_json_has_no_empty_fields(number: Number) -> None:
    assert None not in number.to_json().values()


def test_json_of_an_estimate_says_how_and_why() -> None:
    assert Number.estimated(2.0, 1.0, 3.0, "one source").to_json() == {
        "how": "estimated",
        "value": 2.0,
        "low": 1.0,
        "high": 3.0,
        "reason": "one source",
    }


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_refuses_what_is_not_finite(value: float) -> None:
    with pytest.raises(RecordError, match="finite"):
        Number.measured(value)


@pytest.mark.parametrize(("low", "value", "high"), [(2, 1, 3), (1, 4, 3), (3, 2, 1)])
def test_refuses_a_value_outside_its_interval(low: float, value: float, high: float) -> None:
    with pytest.raises(RecordError, match="low <= value <= high"):
        Number.estimated(value, low, high)


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        ({"how": "guessed", "value": 1}, "how must be one of"),
        ({"how": "measured"}, "a value is needed"),
        ({"how": "estimated", "value": 1}, "an estimate needs an interval"),
        ({"how": "measured", "value": 1, "low": 0}, "low and high belong together"),
        ({"how": "unavailable"}, "needs a reason"),
        ({"how": "unavailable", "reason": ""}, "needs a reason"),
        ({"how": "unavailable", "value": 0, "reason": "x"}, "no value"),
        ({"how": "measured", "value": "1"}, "must be numbers"),
        ({"how": "measured", "value": True}, "must be numbers"),
        ({"how": "measured", "value": 1, "unit": "ms"}, "'how' is needed"),
        ({"value": 1}, "'how' is needed"),
        ({"how": "unavailable", "reason": 3}, "reason must be text"),
        (0, "a JSON object is needed"),
    ],
)
def test_refuses_json_that_breaks_a_rule(data: object, rule: str) -> None:
    with pytest.raises(RecordError, match=rule):
        Number.from_json(data)
