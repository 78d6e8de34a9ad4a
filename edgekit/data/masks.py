"""Images with the masks of their nuclei, as the Data Science Bowl 2018 has them.

Caicedo et al., Nature Methods 16 (2019) 1247: a folder for each image, with images/ID.png and one
mask for each nucleus in masks/.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.data.dataset import Shape
from edgekit.data.images import (
    IMAGES,
    Pixels,
    check_images,
    image_shape,
    open_image,
    read_images,
    resized,
    size_of,
)
from edgekit.errors import DataError

_PARTS = {"train": ("stage1_train", "train"), "val": ("val",), "test": ("test",)}
_HALF, _WHITE = 0.5, 255


def is_masks(path: Path) -> bool:
    """Whether a folder holds folders with images/ and masks/, or splits of such."""
    return bool(_split_folders(path))


def masks(path: Path, input_shape: Shape | None, pixels: Pixels) -> dict[str, Any]:
    """Images, and masks that are 1 where any nucleus is.

    Both are resized to the model's input; a pixel belongs to a nucleus that covers half of it. The
    published test images (stage1_test) have no masks and are left out: the test split is drawn
    from stage1_train, unless there is a folder test/ with masks.

    Raises:
        DataError: an image or its masks are missing or cannot be read, or a mask is none of that
            image, or not of 0 and 255.
    """
    shape = image_shape(str(path), input_shape)
    arrays: dict[str, Any] = {}
    splits = _split_folders(path)
    check_images(str(path), sum(map(len, splits.values())), shape, math.prod(shape[:2]))
    for part, folders in splits.items():
        suffix = f"_{part}" if len(splits) > 1 or part != "train" else ""
        images = [_only_image(folder) for folder in folders]
        arrays[f"x{suffix}"] = read_images(images, shape, pixels)
        united = np.empty((len(folders), *shape[:2]), np.uint8)
        for place, (folder, image) in enumerate(zip(folders, images, strict=True)):
            united[place] = _union(folder, image, shape)
        arrays[f"y{suffix}"] = united
    return arrays


def _only_image(folder: Path) -> Path:
    found = _files(folder / "images")
    if len(found) != 1:
        raise DataError(f"{folder / 'images'} holds {len(found)} images; one is needed.")
    return found[0]


def _union(folder: Path, image: Path, shape: tuple[int, int, int]) -> Any:
    files = _files(folder / "masks")
    if not files:
        raise DataError(f"{folder / 'masks'} holds no mask; remove the image, or add an empty one.")
    # The sum, not the maximum: two nuclei may share a pixel at half each.
    covered = sum(_mask(file, image, shape) for file in files)
    return np.asarray(covered) >= _HALF


def _mask(file: Path, image: Path, shape: tuple[int, int, int]) -> Any:
    """The share of each pixel [height, width] that one mask covers, from 0 to 1."""
    size, mask = size_of(image), open_image(file, "RGBA")
    if mask.size != size:
        raise DataError(
            f"{file} has {mask.width} x {mask.height} pixels, but {image} has {size[0]} x "
            f"{size[1]}; a mask is as large as its image. Put the mask of this image there."
        )
    if mask.getchannel("A").getextrema()[0] < _WHITE:
        raise DataError(
            f"{file} is transparent in places; masks are 0 and 255 in grey, without an alpha "
            "channel. Save it so."
        )
    grey = mask.convert("L")
    highest = grey.getextrema()[1]
    if 0 < highest < _WHITE / 2:
        raise DataError(
            f"{file} has {highest} as its largest value; masks are 0 and 255. Save it so (of 0 and "
            "1: times 255)."
        )
    return resized(grey, shape[:2]) / np.float32(_WHITE)


def _split_folders(path: Path) -> dict[str, list[Path]]:
    """The folders of the images by split; all of them are for training where there is no split."""
    found = {
        part: folders
        for part, names in _PARTS.items()
        for name in names
        if (folders := _samples(path / name))
    }
    own = _samples(path)
    return found or ({"train": own} if own else {})


def _samples(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return sorted(
        folder
        for folder in path.iterdir()
        if (folder / "images").is_dir() and (folder / "masks").is_dir()
    )


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in IMAGES)
