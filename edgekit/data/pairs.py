"""Pairs of pictures, dark and bright, as the LOL data set has them (Wei et al., BMVC 2018)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgekit.data.dataset import Shape
from edgekit.data.images import IMAGES, Pixels, image_shape, read_images
from edgekit.errors import DataError

_PARTS = {"our485": "train", "eval15": "test", "train": "train", "val": "val", "test": "test"}


def is_pairs(path: Path) -> bool:
    """Whether a folder holds low/ and high/, or folders of them for its splits."""
    return bool(_split_folders(path))


def pairs(path: Path, input_shape: Shape | None, pixels: Pixels) -> dict[str, Any]:
    """The pictures of low/ as samples and those of high/ of the same names as targets.

    The folder holds them itself or under our485/ and eval15/ (LOL), or train/, val/ and test/.
    They are resized to the model's input; targets are from 0 to 1, whatever `pixels` says.

    Raises:
        DataError: a picture has no partner, or cannot be read.
    """
    shape = image_shape(str(path), input_shape)
    arrays: dict[str, Any] = {}
    for part, folder in _split_folders(path).items():
        low, high = (_pictures(folder / side) for side in ("low", "high"))
        for one, other, side in ((low, high, "high"), (high, low, "low")):
            alone = sorted(set(one) - set(other))
            if alone:
                raise DataError(
                    f"{one[alone[0]]} has no partner of its name in {folder / side}; add or remove "
                    "it."
                )
        suffix = f"_{part}" if part else ""
        names = sorted(low)
        dark, bright = ([side[name] for name in names] for side in (low, high))
        arrays[f"x{suffix}"] = read_images(str(folder), dark, shape, pixels)
        arrays[f"y{suffix}"] = read_images(str(folder), bright, shape)
    return arrays


def _split_folders(path: Path) -> dict[str, Path]:
    """Folders with low/ and high/ by their split; one without a name stands under ""."""
    found = {part: path / name for name, part in _PARTS.items() if _is_pair(path / name)}
    return found or ({"": path} if _is_pair(path) else {})


def _is_pair(path: Path) -> bool:
    """Whether low/ and high/ share a name: two classes may be called so."""
    sides = [path / "low", path / "high"]
    if not all(side.is_dir() for side in sides):
        return False
    low, high = map(_pictures, sides)
    return bool(low.keys() & high.keys())


def _pictures(folder: Path) -> dict[str, Path]:
    return {file.stem: file for file in folder.iterdir() if file.suffix.lower() in IMAGES}
