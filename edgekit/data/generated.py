"""Generated tasks by their names, as large as the model asks for, the same for the same seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit.data import glyphs, lowlight, nuclei
from edgekit.errors import DataError

_PARTS: tuple[lowlight.Part, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Generated:
    """Samples in the three splits, the usual size, and a function of (samples, seed, part, size).

    It gives x (samples, size, size, `channels`) from 0 to 1 and the targets.
    """

    samples: tuple[int, int, int]
    size: int
    channels: int
    make: Callable[[int, int, lowlight.Part, int], tuple[Any, Any]]


GENERATED: dict[str, Generated] = {
    "glyphs": Generated(
        (6000, 1000, 2000),
        glyphs.SIZE,
        1,
        lambda n, seed, _, size: glyphs.make_glyphs(n, seed, size),
    ),
    "nuclei": Generated(
        (400, 80, 120), nuclei.SIZE, 1, lambda n, seed, _, size: nuclei.make_nuclei(n, seed, size)
    ),
    "lowlight": Generated((600, 100, 160), lowlight.SIZE, 3, lowlight.make_lowlight),
}
"""The tasks that need no files."""


def generated(
    name: str,
    input_shape: tuple[int | None, ...] | None = None,
    pixels: str = "unit",
    seed: int = 0,
    samples: tuple[int, int, int] | None = None,
) -> dict[str, Any]:
    """The arrays of a task in three splits: x_train, y_train, x_val, …

    Args:
        name: one of GENERATED.
        input_shape: (size, size, channels) of the model; None, or a size of None, is the task's
            own. Grey images for a model of three channels are repeated.
        pixels: x from 0 to 1 (`unit`) or 0 to 255 (`byte`).
        seed: of the images; the three splits never share one.
        samples: in training, validation and test; None is the task's own.

    Raises:
        DataError: the task has no images of that shape.
    """
    task = GENERATED[name]
    size, repeated = _shape(name, task, input_shape)
    scale = np.float32(255 if pixels == "byte" else 1)
    arrays: dict[str, Any] = {}
    for place, (part, count) in enumerate(zip(_PARTS, samples or task.samples, strict=True)):
        x, y = task.make(count, 10 * seed + place + 1, part, size)
        arrays[f"x_{part}"] = np.repeat(x, repeated, axis=-1) * scale
        arrays[f"y_{part}"] = y
    return arrays


def _shape(
    name: str, task: Generated, input_shape: tuple[int | None, ...] | None
) -> tuple[int, int]:
    """The size of the images, and how often their channels are repeated."""
    if input_shape is None:
        return task.size, 1
    if len(input_shape) == 3:
        height, width, channels = input_shape
        size = height or width or task.size
        repeated = (channels or task.channels) / task.channels
        if height in (None, size) and width in (None, size) and repeated in (1, 3) and size >= 11:
            return size, int(repeated)
    own = f"{task.size}, {task.size}, {task.channels}"
    raise DataError(
        f"The model takes {input_shape}; {name} has square images of at least 11 x 11 with "
        f"{task.channels} channel(s), such as ({own}). Give a model for those."
    )
