"""Pairs of pictures, dark and bright, as the LOL data set has them (Wei et al., BMVC 2018)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from edgekit.data.dataset import Shape
from edgekit.data.images import IMAGES, Pixels, check_images, image_shape, read_images
from edgekit.errors import DataError

_PARTS = {"our485": "train", "eval15": "test", "train": "train", "val": "val", "test": "test"}
_SIDES = ("low", "high")


def is_pairs(path: Path) -> bool:
    """Whether a folder holds low/ and high/, or folders of them for its splits."""
    return bool(_split_folders(path))


def pairs(path: Path, input_shape: Shape | None, pixels: Pixels) -> dict[str, Any]:
    """The pictures of low/ as samples and those of high/ of the same names as targets.

    The folder holds them itself or under our485/ and eval15/ (LOL), or train/, val/ and test/.
    They are resized to the model's input; targets are from 0 to 1, whatever `pixels` says.

    Raises:
        DataError: a picture has no partner, or two of its name, or cannot be read.
    """
    shape = image_shape(str(path), input_shape)
    found = {part: _pairs(folder) for part, folder in _split_folders(path).items()}
    count = sum(map(len, found.values()))
    check_images(str(path), count, shape, 4 * math.prod(shape))
    arrays: dict[str, Any] = {}
    for part, files in found.items():
        suffix = f"_{part}" if part else ""
        arrays[f"x{suffix}"] = read_images([dark for dark, _ in files], shape, pixels)
        arrays[f"y{suffix}"] = read_images([bright for _, bright in files], shape)
    return arrays


def _pairs(folder: Path) -> list[tuple[Path, Path]]:
    """The files of low/ and high/ that belong together."""
    low, high = (_pictures(folder / side) for side in _SIDES)
    for one, other, side in ((low, high, "high"), (high, low, "low")):
        alone = sorted(set(one) - set(other))
        if alone:
            raise DataError(
                f"{one[alone[0]]} has no partner of its name in {folder / side}; add or remove it."
            )
    return [(low[name], high[name]) for name in sorted(low)]


def _split_folders(path: Path) -> dict[str, Path]:
    """Folders with low/ and high/ by their split; one without a name stands under "".

    Empty where low/ and high/ are classes: there are further ones, or they share few names.
    """
    found: dict[str, Path] = {}
    for name, part in _PARTS.items():
        if not _has_sides(path / name):
            continue
        if part in found:
            raise DataError(
                f"{path} holds {found[part].name}/ and {name}/, both the {part} split; remove one."
            )
        found[part] = path / name
    if not found and _has_sides(path):
        found = {"": path}
    training = found.get("train", found.get(""))
    pictures_alone = all(_only_sides(folder) for folder in found.values())
    if training is None:
        return found if pictures_alone and not (path / "train").is_dir() else {}
    return found if pictures_alone and _share_names(training) else {}


def _has_sides(path: Path) -> bool:
    return all((path / side).is_dir() for side in _SIDES)


def _only_sides(path: Path) -> bool:
    """Whether a folder holds no others that can be seen."""
    folders = {folder.name for folder in path.iterdir() if folder.is_dir()}
    return {name for name in folders if not name.startswith(".")} == set(_SIDES)


def _share_names(path: Path) -> bool:
    """Whether most of the pictures have a partner: two classes may be called low and high.

    Raises:
        DataError: too many have one for chance, too few for pairs.
    """
    low, high = ({file.stem for file in _images(path / side)} for side in _SIDES)
    shared, most = len(low & high), max(len(low), len(high))
    if 2 * shared <= most < 4 * shared:
        raise DataError(
            f"{path}: {shared} of up to {most} pictures in low/ and high/ have a partner of their "
            "name. For pairs add the others; for two classes give their files names of their own."
        )
    return 2 * shared > most


def _pictures(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in sorted(_images(folder)):
        if file.stem in found:
            raise DataError(
                f"{folder} holds {found[file.stem].name} and {file.name}; pictures are paired by "
                "name, so remove or rename one."
            )
        found[file.stem] = file
    return found


def _images(folder: Path) -> list[Path]:
    return [file for file in folder.iterdir() if file.suffix.lower() in IMAGES]
