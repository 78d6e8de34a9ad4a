"""Images from files and arrays, in the size, channels and scale that a model takes."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edgekit.data.dataset import Shape
from edgekit.data.memory import PEAK, check_memory
from edgekit.errors import DataError

Pixels = Literal["unit", "byte"]

IMAGES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
"""How the names of image files end."""

_EIGHT_BITS = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"}


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


def check_images(where: str, count: int, shape: tuple[int, ...], target_bytes: int = 0) -> None:
    """Refuses more images than fit into memory, those of all splits counted.

    Args:
        where: they lie.
        count: of the images.
        shape: of one, as the model takes it.
        target_bytes: of what is to be learned of one of them.

    Raises:
        DataError: they do not fit.
    """
    size = " x ".join(map(str, shape))
    needed = PEAK * count * (4 * math.prod(shape) + target_bytes)
    check_memory(f"{where}: {count} images of {size}", needed)


def fitted(
    where: str, images: dict[str, Any], input_shape: Shape | None, pixels: Pixels
) -> dict[str, Any]:
    """Bytes [n, height, width, 1 or 3] of each split as float32 in the model's shape and scale.

    Without a shape they keep their own; a model may take those of their own size in a row, or grey
    ones without the channel.

    Raises:
        DataError: the model takes no images, or so large ones that they do not fit into memory.
    """
    wanted = {}
    for part, array in images.items():
        own = array.shape[1:]
        as_it_is = input_shape is None or input_shape in _plainer(own)
        wanted[part] = own if as_it_is else image_shape(where, input_shape)
    check_images(where, sum(map(len, images.values())), max(wanted.values(), key=math.prod))
    done = {part: _fitted(array, wanted[part], pixels) for part, array in images.items()}
    if input_shape is None or len(input_shape) == 3:
        return done
    return {part: array.reshape(len(array), *input_shape) for part, array in done.items()}


def _plainer(own: tuple[int, int, int]) -> list[Shape]:
    """The shapes in which a model may take the same values: in a row, or without one channel."""
    height, width, channels = own
    return [(height * width * channels,), *([(height, width)] if channels == 1 else [])]


def _fitted(images: Any, shape: tuple[int, int, int], pixels: Pixels) -> Any:
    from PIL import Image

    scale = np.float32(1 if pixels == "byte" else 255)
    if shape == images.shape[1:]:
        done = images.astype(np.float32)
        done /= scale
        return done
    mode = "L" if shape[2] == 1 else "RGB"
    done = np.empty((len(images), *shape), np.float32)
    for place, array in enumerate(images):
        image = Image.fromarray(array.squeeze()).convert(mode)
        done[place] = resized(image, shape[:2]).reshape(shape) / scale
    return done


def read_images(files: list[Path], shape: tuple[int, int, int], pixels: Pixels = "unit") -> Any:
    """Image files as float32 [n, height, width, channels].

    Raises:
        DataError: one cannot be read.
    """
    done = np.empty((len(files), *shape), np.float32)
    for place, file in enumerate(files):
        done[place] = read_image(file, shape, pixels)
    return done


def read_image(file: Path, shape: tuple[int, int, int], pixels: Pixels = "unit") -> Any:
    """One image file as float32 in a shape (height, width, channels).

    Raises:
        DataError: it cannot be read as 8 bits per channel.
    """
    image = open_image(file, "L" if shape[2] == 1 else "RGB")
    array = resized(image, shape[:2]).reshape(shape)
    return array if pixels == "byte" else array / np.float32(255)


def open_image(file: Path, mode: str) -> Any:
    """One image file as PIL's image of that mode, in its own size.

    Raises:
        DataError: it cannot be read as 8 bits per channel.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings(), Image.open(file) as image:
            # Of transparency, which is dropped, and of metadata, which are not read.
            warnings.simplefilter("ignore", UserWarning)
            if image.mode not in _EIGHT_BITS:
                raise DataError(
                    f"{file} has pixels of the mode {image.mode}; save it with 8 bits per channel, "
                    "or give the arrays in an .npz file."
                )
            image.load()
            return image.convert(mode)
    # PIL's readers meet damage with errors of many kinds.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{file} is not a readable image ({error}); replace or remove it."
        ) from error


def size_of(file: Path) -> tuple[int, int]:
    """Width and height of an image file that can be read."""
    from PIL import Image

    with warnings.catch_warnings(), Image.open(file) as image:
        warnings.simplefilter("ignore", UserWarning)
        return image.size


def resized(image: Any, size: tuple[int, int]) -> Any:
    """PIL's image as float32 from 0 to 255 in that height and width."""
    from PIL import Image

    height, width = size
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), np.float32)
