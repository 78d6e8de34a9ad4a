"""A generated task that tells models apart: letters and figures in many fonts, turned and noisy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SIZE = 24


def make(samples: int, seed: int) -> tuple[Any, Any]:
    """Images (samples, 24, 24, 1) from 0 to 1 and labels 0..35, the same for the same seed."""
    generator = np.random.default_rng(seed)
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    files = sorted(folder.glob("DejaVu*.ttf"))
    fonts = [
        ImageFont.truetype(str(file), size)
        for file in files
        if "Display" not in file.name
        for size in (13, 15, 17, 19)
    ]
    labels = generator.integers(0, len(CHARACTERS), samples)
    images = np.stack([_draw(CHARACTERS[label], fonts, generator) for label in labels])
    return images[..., None].astype(np.float32), labels.astype(np.int64)


def _draw(character: str, fonts: list[Any], generator: Any) -> Any:
    canvas = Image.new("L", (SIZE, SIZE))
    font = fonts[generator.integers(len(fonts))]
    shift = generator.integers(-3, 4, 2)
    ImageDraw.Draw(canvas).text(
        (SIZE / 2 + shift[0], SIZE / 2 + shift[1]), character, fill=255, font=font, anchor="mm"
    )
    turned = canvas.rotate(generator.uniform(-20, 20), resample=Image.Resampling.BILINEAR)
    contrast, light = generator.uniform(0.5, 1.0), generator.uniform(0.0, 0.3)
    noise = generator.normal(0, 0.12, (SIZE, SIZE))
    return np.clip(np.asarray(turned) / 255 * contrast + light + noise, 0, 1)
