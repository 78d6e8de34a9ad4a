"""Which rows no other row beats in everything that a buyer weighs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from edgekit.comparison import Row
from edgekit_device import Number


def mark_pareto(rows: Sequence[Row]) -> list[Row]:
    """The rows with `pareto` set: on its board, none is at least as good in all and better in one.

    Weighed are accuracy, latency p50 and file size, by their values; rows where one of them is not
    known cannot be Pareto-best, nor can those whose file another row has already. Rows that differ
    by pruning and clustering alone run as fast as the fastest of them: the rest is noise.
    """
    fastest: dict[tuple[str, str], float] = {}
    for row in rows:
        latency, key = row.latency_p50_ms.value, (row.board, kernels(row))
        if latency is not None:
            fastest[key] = min(latency, fastest.get(key, latency))
    return [
        replace(
            row,
            pareto=_weighed(row, fastest) is not None
            and not any(_beats(other, row, fastest) for other in rows if other.board == row.board),
        )
        for row in rows
    ]


def kernels(row: Row) -> str:
    """The recipe without pruning and clustering: rows that share it run the same code for as long.

    The interpreter's kernels multiply with a zero as with any other weight.
    """
    from edgekit_converters import Cluster, Prune, Recipe, RecipeError, parse_recipe

    try:
        passes = parse_recipe(row.recipe).passes
    except RecipeError:
        # Comparisons written by another version, or by hand, may have other names.
        return row.recipe
    return str(Recipe(tuple(step for step in passes if not isinstance(step, Prune | Cluster))))


def _weighed(
    row: Row, fastest: Mapping[tuple[str, str], float]
) -> tuple[float, float, float] | None:
    """Smaller is better in each place."""
    numbers: tuple[Number, ...] = (row.accuracy, row.latency_p50_ms, row.file_bytes)
    values = [number.value for number in numbers if number.value is not None]
    if row.error is not None or row.same_as or len(values) < len(numbers):
        return None
    return -values[0], fastest[row.board, kernels(row)], values[2]


def _beats(other: Row, row: Row, fastest: Mapping[tuple[str, str], float]) -> bool:
    ours, theirs = _weighed(row, fastest), _weighed(other, fastest)
    if ours is None or theirs is None:
        return False
    pairs = list(zip(theirs, ours, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)
