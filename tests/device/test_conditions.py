from edgekit_device.conditions import Conditions, Moment


def moment(t_s: float, clock_hz: float | None) -> Moment:
    return Moment(t_s, None, clock_hz, None, None)


def test_the_clock_is_the_median_after_the_runs_began() -> None:
    moments = (moment(-1, 6e8), moment(1, 1.5e9), moment(2, 1.8e9), moment(3, 1.8e9))
    assert Conditions("no", None, moments).clock_hz == 1.8e9


def test_a_clock_that_nobody_told_is_not_known() -> None:
    assert Conditions("unknown", "?", (moment(0, 6e8), moment(1, None))).clock_hz is None
