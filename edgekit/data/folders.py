"""Images sorted into one folder per class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgekit.data.dataset import Shape, Split
from edgekit.data.images import IMAGES, Pixels, image_shape, read_images
from edgekit.errors import DataError


def class_folders(path: Path, input_shape: Shape | None, pixels: Pixels) -> dict[str, Any]:
    """Images in one folder per class, or in such folders under train/, val/ and test/.

    Raises:
        DataError: there are no images, or no classes.
    """
    shape = image_shape(str(path), input_shape)
    parts = {part: path / part for part in ("train", "val", "test") if (path / part).is_dir()}
    if "train" not in parts:
        split = _images(path, None, shape, pixels)
        return {"x": split.x, "y": split.y}
    classes = _class_names(parts["train"])
    found: dict[str, Any] = {}
    for part, folder in parts.items():
        split = _images(folder, None if part == "train" else classes, shape, pixels)
        found[f"x_{part}"], found[f"y_{part}"] = split.x, split.y
    return found


def _images(
    path: Path, classes: list[str] | None, shape: tuple[int, int, int], pixels: Pixels
) -> Split:
    names = _class_names(path)
    classes = classes or names
    unknown = sorted(set(names) - set(classes))
    if unknown:
        raise DataError(f"{path} has the class {unknown[0]!r}, which the training folder lacks.")
    files = [
        (file, label)
        for label, name in enumerate(classes)
        for file in sorted((path / name).glob("*"))
        if file.suffix.lower() in IMAGES
    ]
    if not files:
        raise DataError(f"{path} holds no images ({', '.join(sorted(IMAGES))}) in its folders.")
    empty = sorted(set(range(len(classes))) - {label for _, label in files})
    if empty and classes is names:
        raise DataError(
            f"{path / classes[empty[0]]} holds no images ({', '.join(sorted(IMAGES))}); fill the "
            "folder or remove it."
        )
    x = read_images(str(path), [file for file, _ in files], shape, pixels)
    return Split(x, np.array([label for _, label in files]))


def _class_names(path: Path) -> list[str]:
    folders = (folder.name for folder in path.iterdir() if folder.is_dir())
    names = sorted(name for name in folders if not name.startswith("."))
    if len(names) < 2:
        raise DataError(
            f"{path} has {len(names)} folder(s); images are sorted into one folder per class, and "
            "a classifier needs two classes."
        )
    return names
