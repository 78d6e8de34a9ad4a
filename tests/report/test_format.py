from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.report.format import (
    bytes_text,
    count_text,
    difference_text,
    digits,
    interval_text,
    joules_text,
    milliseconds_text,
    number_text,
    ratio,
    ratio_text,
)
from edgekit_device.number import Number


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (bytes_text(0), "0 B"),
        (bytes_text(999), "999 B"),
        (bytes_text(193_560), "193.6 kB"),
        (bytes_text(43_500_000), "43.5 MB"),
        (bytes_text(999_960), "1.00 MB"),
        (bytes_text(3_977_000_000), "3.98 GB"),
        (count_text(276_900_000), "276.9 M"),
        (count_text(2_830_000), "2.83 M"),
        (count_text(812), "812"),
        (milliseconds_text(0.755), "755 µs"),
        (milliseconds_text(12.34), "12.3 ms"),
        (milliseconds_text(1234), "1.23 s"),
        (milliseconds_text(0), "0 ns"),
        (joules_text(0.00084), "840 µJ"),
        (joules_text(0.01234), "12.3 mJ"),
        (joules_text(1.2), "1.20 J"),
        (ratio_text(0.384), "0.38x"),
        (ratio_text(1.0), "1.00x"),
        (ratio_text(12.4), "12.4x"),
        (ratio_text(0.0041), "0.004x"),
        (ratio_text(None), ""),
        (digits(9.996), "10.0"),
        (digits(-0.01234), "-0.0123"),
    ],
)
def test_units(text: str, expected: str) -> None:
    assert text == expected


def test_every_kind_of_number_can_be_told_apart() -> None:
    assert number_text("latency_p50_ms", Number.measured(12.3, 12, 13)) == "12.3 ms"
    assert number_text("macs", Number.counted(812)) == "=812"
    assert number_text("energy_j", Number.estimated(0.002, 0.001, 0.003)) == "~2.00 mJ"
    assert number_text("latency_p50_ms", Number.emulated(12.3)) == "12.3 ms†"
    assert number_text("energy_j", Number.unavailable("no meter")) == "–"


def test_interval_takes_the_unit_of_its_value() -> None:
    assert interval_text("latency_p50_ms", Number.measured(0.99, 0.9, 1.1)) == "900–1100"
    assert interval_text("energy_j", Number.counted(1)) == ""


def test_ratio_and_difference() -> None:
    assert ratio(Number.counted(1), Number.counted(0)) is None
    assert ratio(Number.unavailable("x"), Number.counted(2)) is None
    assert difference_text(Number.measured(0.98), Number.measured(0.989)) == "−0.009"
    assert difference_text(Number.measured(0.99), Number.measured(0.989)) == "+0.001"
    assert difference_text(Number.measured(0.9891), Number.measured(0.989)) == "±0.000"


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=1e-9, max_value=1e12))
def test_digits_keep_three_significant(value: float) -> None:
    assert float(digits(value)) == pytest.approx(value, rel=5.1e-3)
