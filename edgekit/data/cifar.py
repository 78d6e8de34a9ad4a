"""CIFAR-10 and CIFAR-100 in their binary version (Krizhevsky 2009): no pickle, which is code."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.data.dataset import Shape
from edgekit.data.images import Pixels, fitted
from edgekit.errors import DataError

_PIXELS = 3 * 32 * 32
_TRAINING = {10: tuple(f"data_batch_{i}.bin" for i in range(1, 6)), 100: ("train.bin",)}
_TEST = {10: "test_batch.bin", 100: "test.bin"}
_COARSE = 20
_BATCH = re.compile(r"data_batch_\d+\.bin")


def is_cifar(path: Path) -> bool:
    """Whether a folder holds files of CIFAR, binary or pickled, all of them or some."""
    return bool(_versions(path) or _pickles(path))


def cifar(path: Path, input_shape: Shape | None, pixels: Pixels) -> dict[str, Any]:
    """CIFAR-10 (data_batch_1.bin to 5, test_batch.bin) or CIFAR-100 (train.bin, test.bin).

    A record is the label (CIFAR-100: the coarse one, then the fine one, which is taken) and 1024
    bytes each of red, green and blue, row by row.

    Raises:
        DataError: files are missing, cut short or of another format, or of both data sets.
    """
    found = _versions(path)
    if len(found) > 1:
        raise DataError(
            f"{path} holds files of CIFAR-10 ({found[10][0]}) and of CIFAR-100 ({found[100][0]}); "
            "put the files of one into a folder of its own."
        )
    if not found:
        raise DataError(
            f"{path} holds the Python version of CIFAR ({', '.join(_pickles(path))}): pickle, "
            "which runs code as it is read. Get the binary version (files that end in .bin)."
        )
    ((classes, files),) = found.items()
    needed = (*_TRAINING[classes], _TEST[classes])
    missing = [name for name in needed if name not in files]
    strange = [name for name in files if _BATCH.fullmatch(name) and name not in needed]
    if missing or strange:
        what = f"without {', '.join(missing)}" if missing else f"with {', '.join(strange)}"
        raise DataError(
            f"{path} holds CIFAR-{classes} {what}; its files are {', '.join(needed)}. "
            f"{'Add what is missing' if missing else 'Remove what is not among them'}."
        )
    read = [_records(path / name, classes) for name in _TRAINING[classes]]
    x_train, y_train = (np.concatenate(part) for part in zip(*read, strict=True))
    x_test, y_test = _records(path / _TEST[classes], classes)
    images = fitted(str(path), {"x_train": x_train, "x_test": x_test}, input_shape, pixels)
    return {**images, "y_train": y_train, "y_test": y_test}


def _versions(path: Path) -> dict[int, list[str]]:
    """The names of binary files by the number of classes that they are of."""
    names = sorted(file.name for file in path.iterdir() if file.is_file())
    ten = [name for name in names if fnmatch(name, "data_batch_*.bin") or name == _TEST[10]]
    hundred = [name for name in names if name in (*_TRAINING[100], _TEST[100])]
    return {classes: files for classes, files in ((10, ten), (100, hundred)) if files}


def _pickles(path: Path) -> list[str]:
    """The names of the files of the Python versions; CIFAR-100's are told only together."""
    names = {file.name for file in path.iterdir() if file.is_file()}
    ten = {"batches.meta", "test_batch", *(f"data_batch_{i}" for i in range(1, 6))}
    hundred = {"meta", "test", "train"}
    return sorted(names & ten or (hundred if hundred <= names else set()))


def _records(file: Path, classes: int) -> tuple[Any, Any]:
    limits = (_COARSE, classes) if classes == 100 else (classes,)
    raw, size = np.fromfile(file, np.uint8), len(limits) + _PIXELS
    if not len(raw) or len(raw) % size:
        whole = len(raw) // size
        raise DataError(
            f"{file} has {len(raw)} bytes; CIFAR-{classes} has records of {size}, and the one at "
            f"byte {whole * size} has {len(raw) - whole * size}. Get the file again."
        )
    records = raw.reshape(-1, size)
    for place, limit in enumerate(limits):
        found = records[:, place]
        if found.max() >= limit:
            kind = "label" if limit == classes else "coarse label"
            raise DataError(
                f"{file} has {kind} {found.max()} at byte {int(found.argmax()) * size + place}; "
                f"{kind}s of CIFAR-{classes} end at {limit - 1}. This is another file."
            )
    images = records[:, len(limits) :].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), records[:, len(limits) - 1].astype(np.int64)
