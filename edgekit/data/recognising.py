"""What lies in a folder, told from the names in it, and published data sets by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgekit.data.cifar import cifar, is_cifar
from edgekit.data.dataset import Shape
from edgekit.data.folders import class_folders
from edgekit.data.idx import idx, is_idx
from edgekit.data.images import Pixels, fitted
from edgekit.data.masks import is_masks, masks
from edgekit.data.pairs import is_pairs, pairs
from edgekit.errors import DataError

KERAS = ("cifar10", "cifar100", "mnist")
"""Data sets that Keras downloads, checks by their checksums and keeps in ~/.keras."""


def read_folder(path: Path, input_shape: Shape | None, pixels: Pixels) -> dict[str, Any]:
    """The arrays x_train, y_train, … (or x, y) of a folder in any format that is known.

    Raises:
        DataError: the folder holds none, or what it holds is damaged.
    """
    if is_cifar(path):
        return cifar(path, input_shape, pixels)
    if is_idx(path):
        return idx(path, input_shape, pixels)
    if is_masks(path):
        return masks(path, input_shape, pixels)
    if is_pairs(path):
        return pairs(path, input_shape, pixels)
    return class_folders(path, input_shape, pixels)


def keras_arrays(name: str, input_shape: Shape | None, pixels: Pixels) -> dict[str, Any]:
    """A data set that Keras downloads, one of KERAS.

    Raises:
        DataError: it is not here and cannot be downloaded.
    """
    from edgekit_converters import ConverterError
    from edgekit_converters.downloads import download

    try:
        (x_train, y_train), (x_test, y_test) = download(name)
    except ConverterError as error:
        raise DataError(str(error)) from error
    x_train, x_test = (x[..., None] if x.ndim == 3 else x for x in (x_train, x_test))
    images = fitted(name, {"x_train": x_train, "x_test": x_test}, input_shape, pixels)
    return {**images, "y_train": y_train, "y_test": y_test}
