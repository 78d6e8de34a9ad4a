"""Images with the masks of their nuclei, as the Data Science Bowl 2018 has them.

Caicedo et al., Nature Methods 16 (2019) 1247: a folder for each image, with images/ID.png and one
mask for each nucleus in masks/.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgekit.data.dataset import Shape
from edgekit.data.images import IMAGES, Pixels, image_shape, read_image, read_images
from edgekit.errors import DataError

_PARTS = {"train": ("stage1_train", "train"), "val": ("val",), "test": ("test",)}
_HALF = 0.5


def is_masks(path: Path) -> bool:
    """Whether a folder holds folders with images/ and masks/, or splits of such."""
    return bool(_split_folders(path))


def masks(path: Path, input_shape: Shape | None, pixels: Pixels) -> dict[str, Any]:
    """Images, and masks that are 1 where any nucleus is.

    Both are resized to the model's input; a pixel belongs to a nucleus that covers half of it. The
    published test images (stage1_test) have no masks and are left out: the test split is drawn
    from stage1_train, unless there is a folder test/ with masks.

    Raises:
        DataError: an image or its masks are missing or cannot be read.
    """
    shape = image_shape(str(path), input_shape)
    arrays: dict[str, Any] = {}
    splits = _split_folders(path)
    for part, folders in splits.items():
        suffix = f"_{part}" if len(splits) > 1 or part != "train" else ""
        images = [_only_image(folder) for folder in folders]
        arrays[f"x{suffix}"] = read_images(str(path), images, shape, pixels)
        arrays[f"y{suffix}"] = np.stack([_union(folder, shape) for folder in folders])
    return arrays


def _only_image(folder: Path) -> Path:
    found = _files(folder / "images")
    if len(found) != 1:
        raise DataError(f"{folder / 'images'} holds {len(found)} images; one is needed.")
    return found[0]


def _union(folder: Path, shape: tuple[int, int, int]) -> Any:
    files = _files(folder / "masks")
    if not files:
        raise DataError(f"{folder / 'masks'} holds no mask; remove the image, or add an empty one.")
    # The sum, not the maximum: two nuclei may share a pixel at half each.
    covered = sum(read_image(file, (*shape[:2], 1)) for file in files)
    return (np.asarray(covered)[..., 0] >= _HALF).astype(np.int64)


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
