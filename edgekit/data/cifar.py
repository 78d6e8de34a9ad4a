"""CIFAR-10 and CIFAR-100 in their binary version (Krizhevsky 2009): no pickle, which is code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgekit.data.dataset import Shape
from edgekit.data.images import Pixels, fitted
from edgekit.errors import DataError

_PIXELS = 3 * 32 * 32
_PICKLES = ("data_batch_1", "test_batch", "batches.meta")


def is_cifar(path: Path) -> bool:
    """Whether a folder holds the files of CIFAR, binary or pickled."""
    names = {file.name for file in path.iterdir()}
    binary = "test_batch.bin" in names or {"train.bin", "test.bin"} <= names
    return binary or any(name in names for name in _PICKLES)


def cifar(path: Path, input_shape: Shape | None, pixels: Pixels) -> dict[str, Any]:
    """CIFAR-10 (data_batch_*.bin, test_batch.bin) or CIFAR-100 (train.bin, test.bin).

    A record is the label (CIFAR-100: the coarse one, then the fine one, which is taken) and 1024
    bytes each of red, green and blue, row by row.

    Raises:
        DataError: files are missing, cut short or of another format.
    """
    if (path / "train.bin").exists():
        files, test = [path / "train.bin"], path / "test.bin"
        labels, classes = 2, 100
    else:
        files, test = sorted(path.glob("data_batch_*.bin")), path / "test_batch.bin"
        labels, classes = 1, 10
    if not files or not test.exists():
        raise DataError(
            f"{path} holds CIFAR without {'test_batch.bin' if files else 'data_batch_*.bin'} (its "
            "Python version is pickle, which runs code as it is read); get the binary version."
        )
    read = [_records(file, labels, classes) for file in files]
    x_train, y_train = (np.concatenate(part) for part in zip(*read, strict=True))
    x_test, y_test = _records(test, labels, classes)
    return {
        "x_train": fitted(str(path), x_train, input_shape, pixels),
        "y_train": y_train,
        "x_test": fitted(str(path), x_test, input_shape, pixels),
        "y_test": y_test,
    }


def _records(file: Path, labels: int, classes: int) -> tuple[Any, Any]:
    raw, size = np.fromfile(file, np.uint8), labels + _PIXELS
    if not len(raw) or len(raw) % size:
        whole = len(raw) // size
        raise DataError(
            f"{file} has {len(raw)} bytes; CIFAR-{classes} has records of {size}, and the one at "
            f"byte {whole * size} has {len(raw) - whole * size}. Get the file again."
        )
    records = raw.reshape(-1, size)
    found = records[:, labels - 1]
    if found.max() >= classes:
        bad = int(found.argmax())
        raise DataError(
            f"{file} has label {found.max()} at byte {bad * size + labels - 1}; labels of "
            f"CIFAR-{classes} end at {classes - 1}. This is another file."
        )
    images = records[:, labels:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), found.astype(np.int64)
