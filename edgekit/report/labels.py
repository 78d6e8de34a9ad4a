"""Where the names of points in a plot go, so that none covers another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Box = tuple[float, float, float, float]
"""Left, bottom, right, top in display points."""

CHARACTER = 0.60
"""Width of an average character of DejaVu Sans over its size, rounded up."""

_DIRECTIONS = 12


@dataclass(frozen=True)
class Placed:
    """A label's text and the centre of its box; `far` where a line must lead to its point."""

    text: str
    x: float
    y: float
    far: bool


def place(
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    frame: Box,
    size: float = 8.0,
    radius: float = 5.0,
    lines: Sequence[Box] = (),
) -> list[Placed] | None:
    """A free place near each point, the nearest first; None if a label finds none.

    Greedy and deterministic: the first in the sequence choose first. `lines` (level or upright)
    are avoided where possible, points and other labels always.
    """
    taken = [(x - radius, y - radius, x + radius, y + radius) for x, y in points]
    placed = []
    for (x, y), text in zip(points, texts, strict=True):
        width, height = len(text) * CHARACTER * size, 1.25 * size
        open_ = [
            (rank, candidate)
            for rank, candidate in enumerate(_candidates(x, y, width, height, radius))
            if _inside(candidate, frame) and not any(_meet(candidate, box) for box in taken)
        ]
        if not open_:
            return None
        # Crossing a line is as bad as standing one ring further out.
        _, free = min(
            (rank / _DIRECTIONS + sum(_meet(box, line) for line in lines), box)
            for rank, box in open_
        )
        taken.append(free)
        centre_x, centre_y = (free[0] + free[2]) / 2, (free[1] + free[3]) / 2
        gap_x = max(abs(centre_x - x) - width / 2, 0.0)
        gap_y = max(abs(centre_y - y) - height / 2, 0.0)
        placed.append(Placed(text, centre_x, centre_y, max(gap_x, gap_y) > radius + 4))
    return placed


def _candidates(x: float, y: float, width: float, height: float, radius: float) -> list[Box]:
    """Boxes in rings around the point, right and left before above and below."""
    boxes = []
    for step in range(6):
        away = radius + 2 + step * height * 0.75
        across, up = away + width / 2, away + height / 2
        for dx, dy in (
            (across, 0.0), (-across, 0.0), (0.0, up), (0.0, -up),
            (across, up), (across, -up), (-across, up), (-across, -up),
            (width / 3, up), (width / 3, -up), (-width / 3, up), (-width / 3, -up),
        ):  # fmt: skip
            left, bottom = x + dx - width / 2, y + dy - height / 2
            boxes.append((left, bottom, left + width, bottom + height))
    return boxes


def _inside(box: Box, frame: Box) -> bool:
    return box[0] >= frame[0] and box[1] >= frame[1] and box[2] <= frame[2] and box[3] <= frame[3]


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def shortened(text: str, length: int = 26) -> str:
    """A long name without its middle, whose end tells recipes apart."""
    if len(text) <= length:
        return text
    head = (length - 1) // 2
    return f"{text[:head]}…{text[-(length - 1 - head) :]}"
