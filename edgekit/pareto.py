"""Which rows no other row beats in everything that a buyer weighs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import combinations

from edgekit.comparison import Row
from edgekit.npu.outcome import is_npu
from edgekit_converters.proof import FileProof
from edgekit_device import Number


def mark_pareto(rows: Sequence[Row]) -> list[Row]:
    """The rows with `pareto` set: on its board, none is at least as good in all and better in one.

    Weighed are accuracy, latency p50 and file size, by their values; rows where one of them is not
    known cannot be Pareto-best, nor can those whose file another row has already. Rows that differ
    by pruning and clustering alone run as fast as the fastest of them: the rest is noise.
    """
    weighed = [_weighed(row, rows) for row in rows]
    return [
        replace(
            row,
            pareto=ours is not None
            and not any(
                _beats(theirs, ours)
                for other, theirs in zip(rows, weighed, strict=True)
                if other.board == row.board and theirs is not None
            ),
        )
        for row, ours in zip(rows, weighed, strict=True)
    ]


def same_kernels(one: Row, other: Row) -> bool:
    """Whether two files run the same code for as long: they differ by pruning and clustering alone.

    The interpreter's kernels multiply with a zero as with any other weight. Where both files are
    proved, their operators must be the same too.
    """
    if is_npu(one.board) or is_npu(other.board):
        # An NPU may skip zeros.
        return (one.board, one.recipe) == (other.board, other.recipe)
    if _unpruned(one.recipe) != _unpruned(other.recipe):
        return False
    if one.proof is None or other.proof is None:
        return True
    return _operators(one.proof) == _operators(other.proof)


def any_weighed_together(rows: Sequence[Row]) -> bool:
    """Whether rows of one board share a latency in `mark_pareto`."""
    return any(
        one.board == other.board and same_kernels(one, other)
        for one, other in combinations([row for row in rows if not row.same_as], 2)
    )


@lru_cache
def _unpruned(recipe: str) -> str:
    from edgekit_converters import Cluster, Prune, Recipe, RecipeError, parse_recipe

    try:
        passes = parse_recipe(recipe).passes
    except RecipeError:
        # Comparisons written by another version, or by hand, may have other names.
        return recipe
    return str(Recipe(tuple(step for step in passes if not isinstance(step, Prune | Cluster))))


def _operators(proof: FileProof) -> tuple[int, int, list[str]]:
    floats = sorted(item.operator for item in proof.floats)
    return proof.operators, proof.integer_operators, floats


def _weighed(row: Row, rows: Sequence[Row]) -> tuple[float, float, float] | None:
    """Smaller is better in each place."""
    numbers: tuple[Number, ...] = (row.accuracy, row.latency_p50_ms, row.file_bytes)
    values = [number.value for number in numbers if number.value is not None]
    if row.error is not None or row.same_as or len(values) < len(numbers):
        return None
    latencies = (
        other.latency_p50_ms.value
        for other in rows
        if other.board == row.board and same_kernels(row, other)
    )
    return -values[0], min(value for value in latencies if value is not None), values[2]


def _beats(theirs: tuple[float, float, float], ours: tuple[float, float, float]) -> bool:
    pairs = list(zip(theirs, ours, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)
