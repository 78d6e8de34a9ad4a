"""A generated task that tells models apart: letters and figures in many fonts, turned and noisy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SIZE = 24
"""Height and width in pixels where nothing else is asked."""

_HEIGHTS = (13, 15, 17, 19)
"""The fonts' sizes in an image of SIZE."""


def make_glyphs(samples: int, seed: int, size: int = SIZE) -> tuple[Any, Any]:
    """Images (samples, size, size, 1) from 0 to 1 and labels 0..35, the same for the same seed.

    The fonts are those that matplotlib brings (DejaVu, upright and oblique, sans, serif, mono).
    """
    generator, drawn = np.random.default_rng(seed), fonts(size)
    labels = generator.integers(0, len(CHARACTERS), samples)
    images = np.stack([_draw(CHARACTERS[label], drawn, size, generator) for label in labels])
    return images[..., None].astype(np.float32), labels.astype(np.int64)


def fonts(size: int) -> list[Any]:
    """Every face in every height, for images of that size."""
    import matplotlib
    from PIL import ImageFont

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    # The other engine is there only where the machine has libfribidi, and sets pixels apart.
    engine = ImageFont.Layout.BASIC
    return [
        ImageFont.truetype(str(file), height * size / SIZE, layout_engine=engine)
        for file in sorted(folder.glob("DejaVu*.ttf"))
        if "Display" not in file.name
        for height in _HEIGHTS
    ]


def _draw(character: str, faces: list[Any], size: int, generator: np.random.Generator) -> Any:
    from PIL import Image, ImageDraw

    canvas = Image.new("L", (size, size))
    font = faces[generator.integers(len(faces))]
    shift = generator.integers(-3, 4, 2) * size / SIZE
    ImageDraw.Draw(canvas).text(
        (size / 2 + shift[0], size / 2 + shift[1]), character, fill=255, font=font, anchor="mm"
    )
    turned = canvas.rotate(generator.uniform(-20, 20), resample=Image.Resampling.BILINEAR)
    contrast, light = generator.uniform(0.5, 1.0), generator.uniform(0.0, 0.3)
    noise = generator.normal(0, 0.12, (size, size))
    return np.clip(np.asarray(turned) / 255 * contrast + light + noise, 0, 1)
