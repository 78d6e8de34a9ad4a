"""Images sorted into one folder per class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgekit.data.dataset import Shape
from edgekit.data.images import IMAGES, Pixels, check_images, image_shape, read_images
from edgekit.errors import DataError


def class_folders(path: Path, input_shape: Shape | None, pixels: Pixels) -> dict[str, Any]:
    """Images in one folder per class, or in such folders under train/, val/ and test/.

    Raises:
        DataError: there are no images, or no classes.
    """
    shape = image_shape(str(path), input_shape)
    parts = {part: path / part for part in ("train", "val", "test") if (path / part).is_dir()}
    if "train" in parts:
        classes = _class_names(parts["train"])
        files = {
            f"_{part}": _files(folder, None if part == "train" else classes)
            for part, folder in parts.items()
        }
    else:
        files = {"": _files(path, None)}
    check_images(str(path), sum(map(len, files.values())), shape)
    found: dict[str, Any] = {}
    for suffix, labelled in files.items():
        found[f"x{suffix}"] = read_images([file for file, _ in labelled], shape, pixels)
        found[f"y{suffix}"] = np.array([label for _, label in labelled])
    return found


def _files(path: Path, classes: list[str] | None) -> list[tuple[Path, int]]:
    """The images of one split with their labels."""
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
    return files


def _class_names(path: Path) -> list[str]:
    folders = (folder.name for folder in path.iterdir() if folder.is_dir())
    names = sorted(name for name in folders if not name.startswith("."))
    if len(names) < 2:
        raise DataError(
            f"{path} has {len(names)} folder(s); images are sorted into one folder per class, and "
            "a classifier needs two classes."
        )
    return names
