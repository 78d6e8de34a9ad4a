"""A generated segmentation task: cell nuclei under a fluorescence microscope, with masks."""

from __future__ import annotations

from typing import Any

import numpy as np

SIZE = 64
"""Height and width in pixels where nothing else is asked."""

_HARMONICS = np.arange(2, 6)
_SUPPORT = 4


def make_nuclei(samples: int, seed: int, size: int = SIZE) -> tuple[Any, Any]:
    """Images (samples, size, size, 1) from 0 to 1 and masks (samples, size, size) of 0 and 1.

    Three to fourteen nuclei of uneven outline, size, brightness and texture, which may touch and
    overlap, lie on a background that is lit unevenly and holds out-of-focus haze (no nucleus, and
    not in the mask); then blur and noise. The same seed gives the same images.
    """
    generator = np.random.default_rng(seed)
    pairs = [_image(size, generator) for _ in range(samples)]
    images, masks = (np.stack(part) for part in zip(*pairs, strict=True))
    return images[..., None].astype(np.float32), masks.astype(np.int64)


def _image(size: int, generator: np.random.Generator) -> tuple[Any, Any]:
    from scipy.ndimage import gaussian_filter

    scale = size / SIZE
    light = _slope(size, generator) * generator.uniform(0.03, 0.25)
    haze = gaussian_filter(generator.normal(0, 1, (size, size)), 7 * scale)
    image = light + generator.uniform(0.0, 0.08) * haze / np.abs(haze).max()
    mask = np.zeros((size, size), bool)
    usual = generator.uniform(4.0, 8.0) * scale
    for _ in range(generator.integers(3, 15)):
        inside = _nucleus(size, usual * generator.uniform(0.7, 1.4), generator)
        texture = gaussian_filter(generator.normal(0, 1, (size, size)), 1.5 * scale)
        bright = generator.uniform(0.12, 0.6) * (1 + 0.5 * texture / np.abs(texture).max())
        image = np.where(inside, np.maximum(image, light + bright), image)
        mask |= inside
    for _ in range(generator.integers(0, 4)):
        blurred = gaussian_filter(
            _nucleus(size, usual, generator).astype(float), generator.uniform(3.0, 5.0) * scale
        )
        image = image + generator.uniform(0.05, 0.2) * blurred
    image = gaussian_filter(image, generator.uniform(0.5, 1.5) * scale)
    noise = generator.normal(0, generator.uniform(0.02, 0.08), image.shape)
    return np.clip(image + noise, 0, 1), mask


def _slope(size: int, generator: np.random.Generator) -> Any:
    """Light that falls off to one side, from 0.3 to 1."""
    angle = generator.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[0:size, 0:size] / size - 0.5
    return np.clip(0.65 + 0.5 * (np.cos(angle) * columns + np.sin(angle) * rows), 0.3, 1.0)


def _nucleus(size: int, radius: float, generator: np.random.Generator) -> Any:
    """The pixels of an ellipse whose outline is bent by a few harmonics."""
    centre = generator.uniform(0, size, 2)
    stretch, turn = generator.uniform(0.7, 1.0), generator.uniform(0, np.pi)
    heights = generator.normal(0, 0.10, len(_HARMONICS)) / (_HARMONICS / _SUPPORT + 0.5)
    phases = generator.uniform(0, 2 * np.pi, len(_HARMONICS))
    rows, columns = np.mgrid[0:size, 0:size]
    y, x = rows - centre[0], columns - centre[1]
    along = np.cos(turn) * x + np.sin(turn) * y
    across = (np.cos(turn) * y - np.sin(turn) * x) / stretch
    angles = np.arctan2(across, along)[..., None]
    outline = 1 + (heights * np.cos(_HARMONICS * angles + phases)).sum(axis=-1)
    return np.hypot(along, across) < radius * outline
