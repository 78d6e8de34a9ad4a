"""Pareto marks, against the definition by brute force."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.comparison import Row
from edgekit.pareto import mark_pareto
from edgekit_converters.proof import FileProof, FloatOperator
from edgekit_device import Number

UNKNOWN = Number.unavailable("not measured")


def row(
    accuracy: float | None = 0.9,
    latency: float | None = 1.0,
    size: float | None = 1000,
    board: str = "local",
    error: str | None = None,
    recipe: str = "base",
) -> Row:
    def number(value: float | None) -> Number:
        return UNKNOWN if value is None else Number.measured(value)

    return Row(
        recipe=recipe,
        board=board,
        file="",
        accuracy=number(accuracy),
        parameters=UNKNOWN,
        macs=UNKNOWN,
        file_bytes=number(size),
        gzip_bytes=UNKNOWN,
        latency_p50_ms=number(latency),
        peak_rss_bytes=UNKNOWN,
        energy_j=UNKNOWN,
        error=error,
    )


few = st.one_of(st.none(), st.sampled_from([0.25, 0.5, 0.75]))
rows = st.lists(
    st.builds(
        row,
        few,
        few,
        few,
        st.sampled_from(["local", "pi"]),
        st.sampled_from([None, None, "broken"]),
    ),
    max_size=9,
).map(
    lambda made: [
        dataclasses.replace(row, recipe=f"recipe {number}") for number, row in enumerate(made)
    ]
)


def known(row: Row) -> bool:
    numbers = (row.accuracy, row.latency_p50_ms, row.file_bytes)
    return row.error is None and all(number.value is not None for number in numbers)


def beats(one: Row, other: Row) -> bool:
    """At least as good in all three, better in one, on the same board."""
    if one.board != other.board or not (known(one) and known(other)):
        return False
    gains = (
        (one.accuracy.value or 0) - (other.accuracy.value or 0),
        (other.latency_p50_ms.value or 0) - (one.latency_p50_ms.value or 0),
        (other.file_bytes.value or 0) - (one.file_bytes.value or 0),
    )
    return min(gains) >= 0 and max(gains) > 0


@given(rows)
def test_best_is_what_is_known_and_what_nobody_beats(given: list[Row]) -> None:
    marked = mark_pareto(given)
    assert [dataclasses.replace(row, pareto=False) for row in marked] == given
    for row in marked:
        assert row.pareto == (known(row) and not any(beats(other, row) for other in marked))


@given(rows)
def test_every_board_with_a_known_row_has_a_best_one(given: list[Row]) -> None:
    marked = mark_pareto(given)
    assert {row.board for row in marked if row.pareto} == {row.board for row in given if known(row)}


@pytest.mark.parametrize(
    ("rival", "best"),
    [
        (row(accuracy=0.95), (False, True)),
        (row(latency=0.5), (False, True)),
        (row(size=900), (False, True)),
        (row(), (True, True)),
        (row(accuracy=0.95, latency=2.0), (True, True)),
        (row(accuracy=0.8, latency=2.0), (True, False)),
        (row(accuracy=0.95, board="pi"), (True, True)),
        (row(accuracy=0.95, error="crashed"), (True, False)),
        (row(accuracy=0.95, latency=None), (True, False)),
    ],
    ids=[
        "more accurate",
        "faster",
        "smaller",
        "equal",
        "a trade",
        "worse in two",
        "on another board",
        "failed",
        "unknown latency",
    ],
)
def test_a_row_beside_a_rival(rival: Row, best: tuple[bool, bool]) -> None:
    rival = dataclasses.replace(rival, recipe="rival")
    assert tuple(row.pareto for row in mark_pareto([row(), rival])) == best


def test_pruning_and_clustering_make_no_row_faster_than_its_twin() -> None:
    given = [row(), row(latency=0.9, recipe="P"), row(latency=0.5, recipe="int8", size=300)]
    given.append(row(latency=0.6, recipe="PC+int8", size=300))
    assert [row.pareto for row in mark_pareto(given)] == [False, False, True, True]
    assert [row.pareto for row in mark_pareto(given[:2])] == [True, True]


ALL_FLOAT = FileProof(9, 0, (), ())
PROOFS = {
    "the same": (ALL_FLOAT, ALL_FLOAT, True),
    "unknown": (ALL_FLOAT, None, True),
    "more operators": (ALL_FLOAT, FileProof(10, 0, (), ()), False),
    "integers": (ALL_FLOAT, FileProof(9, 3, (), ()), False),
    "another float operator": (
        FileProof(9, 8, (FloatOperator("SOFTMAX", "t", "why"),), ()),
        FileProof(9, 8, (FloatOperator("GELU", "t", "why"),), ()),
        False,
    ),
}


@pytest.mark.parametrize(("one", "other", "shared"), PROOFS.values(), ids=PROOFS)
def test_only_files_of_the_same_operators_share_a_latency(
    one: FileProof, other: FileProof | None, shared: bool
) -> None:
    slow = dataclasses.replace(row(accuracy=0.95), proof=one)
    fast = dataclasses.replace(row(latency=0.5, recipe="P", size=1000), proof=other)
    # Slower and more accurate is a trade, unless the slowness is noise.
    assert [row.pareto for row in mark_pareto([slow, fast])] == [True, not shared]
