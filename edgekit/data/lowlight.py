"""A generated enhancement task: photographs, and the same as a camera sees them in little light."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import numpy as np

SIZE = 48
"""Height and width in pixels where nothing else is asked."""

Part = Literal["train", "val", "test"]
PHOTOGRAPHS: dict[Part, tuple[str, ...]] = {
    "train": ("astronaut", "immunohistochemistry", "retina", "rocket"),
    "val": ("chelsea",),
    "test": ("coffee", "motorcycle"),
}
"""scikit-image's, which it brings along; no photograph is in two splits."""

_GAMMA = 2.2


def make_lowlight(samples: int, seed: int, part: Part, size: int = SIZE) -> tuple[Any, Any]:
    """Pairs of pictures (samples, size, size, 3) from 0 to 1: dark and noisy, and as they were.

    Squares of one half to one fifth of a photograph's height are cut out anywhere, mirrored or not
    and scaled to `size`. Of their light (gamma 2.2) 4 to 12 percent are left; the sensor counts at
    most 400 to 2000 photons per pixel (Poisson), adds noise of its own and rounds to 8 bits. The
    same seed gives the same pairs.
    """
    generator = np.random.default_rng(seed)
    photographs = [_photograph(name) for name in PHOTOGRAPHS[part]]
    bright = np.stack(
        [_cut(photographs[generator.integers(len(photographs))], size, generator)
         for _ in range(samples)]
    )  # fmt: skip
    dark = np.stack([_darkened(picture, generator) for picture in bright])
    return dark.astype(np.float32), bright.astype(np.float32)


@cache
def _photograph(name: str) -> Any:
    """A photograph [height, width, 3] as bytes."""
    from skimage import data

    if name == "motorcycle":
        left, _, _ = data.stereo_motorcycle()
        return np.asarray(left)[..., :3]
    return np.asarray(getattr(data, name)())[..., :3]


def _cut(photograph: Any, size: int, generator: np.random.Generator) -> Any:
    from PIL import Image

    shortest = min(photograph.shape[:2])
    side = int(generator.integers(shortest // 5, shortest // 2 + 1))
    top, left = (int(generator.integers(0, extent - side + 1)) for extent in photograph.shape[:2])
    square = photograph[top : top + side, left : left + side]
    if generator.integers(2):
        square = square[:, ::-1]
    image = Image.fromarray(np.ascontiguousarray(square))
    scaled = image.resize((size, size), Image.Resampling.BOX if side >= size else
                          Image.Resampling.BICUBIC)  # fmt: skip
    return np.asarray(scaled, np.float64) / 255


def _darkened(picture: Any, generator: np.random.Generator) -> Any:
    light = picture**_GAMMA * generator.uniform(0.04, 0.12)
    photons = generator.uniform(400, 2000)
    seen = generator.poisson(light * photons) / photons + generator.normal(0, 0.002, light.shape)
    return np.round(255 * np.clip(seen, 0, 1) ** (1 / _GAMMA)) / 255
