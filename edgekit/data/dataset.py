"""Training, validation and test split as checked arrays."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from edgekit.errors import DataError

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Split:
    """Samples (first axis) as float32 and their labels 0..classes-1 as int64."""

    x: Any
    y: Any

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Dataset:
    """One classification data set. Training never sees the test split.

    `test_drawn_here` says that EdgeKit drew the test samples: the parent may have been trained on
    them.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: int
    test_drawn_here: bool = False

    @cached_property
    def fingerprint(self) -> str:
        """Content key over all splits: other data, other key."""
        digest = hashlib.sha256()
        for split in (self.train, self.validation, self.test):
            for array in (split.x, split.y):
                digest.update(f"{array.shape}{array.dtype}".encode())
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    @property
    def majority_share(self) -> float:
        """Accuracy on the test split of always guessing its most frequent class."""
        return float(np.bincount(self.test.y).max() / len(self.test))

    def describe(self) -> str:
        """One line for people."""
        return (
            f"{self.name}: {len(self.train)} training, {len(self.validation)} validation, "
            f"{len(self.test)} test samples, {self.classes} classes"
        )


def checked_dataset(
    name: str, splits: dict[str, tuple[Any, Any]], input_shape: Shape | None, seed: int
) -> Dataset:
    """A data set from raw (x, y) pairs under "train", "test" and, where there is one, "val".

    A missing validation split is taken from the training samples (15 %, stratified, seeded).

    Raises:
        DataError: shapes, labels or values that cannot be trained on, or an empty split.
    """
    ready = {part: _checked(name, part, *pair, input_shape) for part, pair in splits.items()}
    train, test = ready["train"], ready["test"]
    if "val" in ready:
        validation = ready["val"]
    else:
        train, validation = held_out(name, train, 0.15, seed)
    classes = int(train.y.max()) + 1
    if train.y.min() == train.y.max():
        raise DataError(
            f"{name}: all training labels are {classes - 1}; a classifier needs two classes."
        )
    for part, split in (("val", validation), ("test", test)):
        highest = int(split.y.max())
        if highest >= classes:
            raise DataError(
                f"{name}: the {part} split has label {highest}, but the training labels end at "
                f"{classes - 1}; the model would never learn it. Check the split."
            )
    return Dataset(name, train, validation, test, classes)


def held_out(name: str, split: Split, share: float, seed: int) -> tuple[Split, Split]:
    """The split in two, the second with `share` of the samples, stratified by label and seeded.

    Raises:
        DataError: a class has too few samples to be split.
    """
    from sklearn.model_selection import train_test_split

    labels, counts = np.unique(split.y, return_counts=True)
    if len(split) < 4 or counts.min() < 2:
        rare = int(counts.argmin())
        raise DataError(
            f"{name}: class {labels[rare]} has {counts[rare]} training sample(s), too few to hold "
            "some out; give more samples, or splits of your own (x_val, x_test)."
        )
    size = max(round(share * len(split)), len(labels))
    kept_x, held_x, kept_y, held_y = train_test_split(
        split.x, split.y, test_size=size, random_state=seed, stratify=split.y
    )
    return Split(kept_x, kept_y), Split(held_x, held_y)


def _checked(name: str, part: str, x: Any, y: Any, input_shape: Shape | None) -> Split:
    where = f"{name}: the {part} split"
    x, y = _array(where, "x", x), _array(where, "y", y)
    if x.ndim < 2:
        raise DataError(
            f"{where} has x of shape {x.shape}; samples are stacked along the first axis."
        )
    if len(x) == 0:
        raise DataError(f"{where} is empty (its x has shape {x.shape}); give at least one sample.")
    if x.dtype.kind not in "fiub":
        raise DataError(f"{where} has x of type {x.dtype}; numbers are needed.")
    return Split(_samples(where, x, input_shape), _labels(where, y, len(x)))


def _array(where: str, name: str, values: Any) -> Any:
    try:
        return np.asarray(values)
    except ValueError as error:
        raise DataError(
            f"{where} has samples of different shapes in {name}; give one array of one shape."
        ) from error


def _samples(where: str, x: Any, input_shape: Shape | None) -> Any:
    if input_shape is not None and not _fits(x.shape[1:], input_shape):
        grey = len(input_shape) == x.ndim and input_shape[-1] == 1
        if not (grey and _fits(x.shape[1:], input_shape[:-1])):
            wanted = ", ".join("any" if size is None else str(size) for size in input_shape)
            raise DataError(
                f"{where} has samples of shape {x.shape[1:]}, but the model takes ({wanted}); "
                "reshape or resize the data, or give the model they belong to."
            )
        x = x[..., None]
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is refused
        x = np.ascontiguousarray(x, dtype=np.float32)
    if not np.isfinite(x).all():
        bad = int(np.argmin(np.isfinite(x).reshape(len(x), -1).all(axis=1)))
        raise DataError(f"{where} holds NaN or infinite values, first in sample {bad}; remove it.")
    return x


def _labels(where: str, y: Any, samples: int) -> Any:
    if y.ndim == 2 and y.shape[1] > 1:
        if not np.isin(y, (0, 1)).all() or not (y.sum(axis=1) == 1).all():
            raise DataError(
                f"{where} has labels of shape {y.shape} that are not one-hot; give one class "
                "number per sample."
            )
        y = y.argmax(axis=1)
    y = y.reshape(-1)
    if len(y) != samples:
        raise DataError(f"{where} has {samples} samples but {len(y)} labels; give one for each.")
    if y.dtype.kind not in "fiub":
        raise DataError(f"{where} has labels of type {y.dtype}; give class numbers from 0 on.")
    broken = ~np.isfinite(y) | (y != np.floor(y)) if y.dtype.kind == "f" else np.zeros(1, bool)
    if broken.any():
        raise DataError(
            f"{where} has labels that are not whole numbers (such as {y[broken][0]}); give class "
            "numbers from 0 on."
        )
    if y.min() < 0:
        raise DataError(
            f"{where} has label {int(y.min())}; labels are class numbers from 0 on. Subtract the "
            "smallest."
        )
    return y.astype(np.int64)


def _fits(shape: tuple[int, ...], wanted: Shape) -> bool:
    return len(shape) == len(wanted) and all(
        size is None or size == got for size, got in zip(wanted, shape, strict=True)
    )
