"""Images from files and arrays, in the size, channels and scale that a model takes."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edgekit.data.dataset import Shape
from edgekit.errors import DataError

Pixels = Literal["unit", "byte"]

IMAGES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
"""How the names of image files end."""

_EIGHT_BITS = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"}
_SHARE_OF_MEMORY = 0.5


def image_shape(where: str, input_shape: Shape | None) -> tuple[int, int, int]:
    """The model's height, width and channels.

    Raises:
        DataError: it takes no images, or none of a fixed size.
    """
    if input_shape is None or len(input_shape) != 3 or None in input_shape:
        raise DataError(
            f"Images in {where} need a model with one input (height, width, channels) of fixed "
            f"size; this one takes {input_shape}."
        )
    height, width, channels = (size or 0 for size in input_shape)
    if channels not in (1, 3):
        raise DataError(f"The model takes {channels} channels; images in a folder have 1 or 3.")
    return height, width, channels


def fitted(where: str, images: Any, input_shape: Shape | None, pixels: Pixels) -> Any:
    """Bytes [n, height, width, 1 or 3] as float32 in the shape and scale that the model takes.

    Without a shape they keep their own.

    Raises:
        DataError: the model takes no images, or so large ones that they do not fit into memory.
    """
    from PIL import Image

    shape = images.shape[1:] if input_shape is None else image_shape(where, input_shape)
    _check_memory(where, (len(images), *shape))
    scale = np.float32(1 if pixels == "byte" else 255)
    if shape == images.shape[1:]:
        return images.astype(np.float32) / scale
    height, width, channels = shape
    done = np.empty((len(images), *shape), np.float32)
    for place, array in enumerate(images):
        image = Image.fromarray(array.squeeze()).convert("L" if channels == 1 else "RGB")
        resized = image.resize((width, height), Image.Resampling.BILINEAR)
        done[place] = np.asarray(resized, np.float32).reshape(shape) / scale
    return done


def read_images(
    where: str, files: list[Path], shape: tuple[int, int, int], pixels: Pixels = "unit"
) -> Any:
    """Image files as float32 [n, height, width, channels].

    Raises:
        DataError: one cannot be read, or they do not fit into memory.
    """
    _check_memory(where, (len(files), *shape))
    return np.stack([read_image(file, shape, pixels) for file in files])


def read_image(file: Path, shape: tuple[int, int, int], pixels: Pixels = "unit") -> Any:
    """One image file as float32 in a shape (height, width, channels).

    Raises:
        DataError: it cannot be read as 8 bits per channel.
    """
    from PIL import Image

    height, width, channels = shape
    try:
        with warnings.catch_warnings(), Image.open(file) as image:
            # Of transparency, which is dropped, and of metadata, which are not read.
            warnings.simplefilter("ignore", UserWarning)
            if image.mode not in _EIGHT_BITS:
                raise DataError(
                    f"{file} has pixels of the mode {image.mode}; save it with 8 bits per channel, "
                    "or give the arrays in an .npz file."
                )
            converted = image.convert("L" if channels == 1 else "RGB")
            resized = converted.resize((width, height), Image.Resampling.BILINEAR)
    # PIL's readers meet damage with errors of many kinds.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{file} is not a readable image ({error}); replace or remove it."
        ) from error
    array = np.asarray(resized, dtype=np.float32).reshape(shape)
    return array if pixels == "byte" else array / np.float32(255)


def _check_memory(where: str, shape: tuple[int, ...]) -> None:
    needed = 4 * float(np.prod([float(size) for size in shape]))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > _SHARE_OF_MEMORY * memory:
        raise DataError(
            f"{where}: {shape[0]} images of {' x '.join(map(str, shape[1:]))} take "
            f"{needed / 1e9:.1f} GB, more than half of this machine's memory "
            f"({memory / 1e9:.1f} GB); give a part of them, or a model for smaller images."
        )
