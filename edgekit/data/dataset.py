"""Training, validation and test split as checked arrays."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.data.memory import PEAK, check_memory
from edgekit.data.targets import checked_targets, task_of
from edgekit.errors import DataError
from edgekit.tasks import CLASSIFICATION, ENHANCEMENT, Task

if TYPE_CHECKING:
    from edgekit_converters.objective import Targets

Shape = tuple[int | None, ...]

_TEST_SHARE = 0.25
_VALIDATION_SHARE = 0.15
_BLOCK = 64


@dataclass(frozen=True)
class Split:
    """Samples (first axis) as float32 and the target of each.

    Labels are 0..classes-1 as int64, masks the same as uint8, pictures 0 to 1 as float32.
    """

    x: Any
    y: Any

    def __len__(self) -> int:
        return len(self.y)

    def at(self, rows: Any) -> Split:
        """The samples of those numbers, copied."""
        return Split(self.x[rows], self.y[rows])


@dataclass(frozen=True)
class Dataset:
    """One data set and its task. Training never sees the test split.

    `classes` is 0 where the targets are pictures. `test_drawn_here` says that EdgeKit drew the test
    samples: the parent may have been trained on them.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: int
    test_drawn_here: bool = False
    task: Task = CLASSIFICATION

    @cached_property
    def fingerprint(self) -> str:
        """Content key over all splits: other data, other key."""
        digest = hashlib.sha256()
        for split in (self.train, self.validation, self.test):
            for array in (split.x, split.y):
                # Whole numbers are the same data, whatever they are kept in.
                kind = np.dtype(np.int64) if array.dtype.kind == "u" else array.dtype
                digest.update(f"{array.shape}{kind}".encode())
                for start in range(0, len(array), _BLOCK):
                    digest.update(np.ascontiguousarray(array[start : start + _BLOCK], kind).data)
        return digest.hexdigest()

    @cached_property
    def trivial(self) -> tuple[float, str]:
        """The task's metric on the test split without any thought, and what that answer is."""
        return self.task.trivial(self.test.x, self.test.y, self.classes)

    @property
    def targets(self) -> Targets:
        """What a model is to learn of each sample."""
        import edgekit_converters as ec

        return ec.Targets(self.task.kind, self.classes, tuple(self.train.y.shape[1:]))

    def describe(self) -> str:
        """One line for people."""
        asked = {
            "classification": f"{self.classes} classes",
            "segmentation": f"masks of {self.classes} classes",
            "enhancement": "pictures as targets",
        }
        return (
            f"{self.name}: {len(self.train)} training, {len(self.validation)} validation, "
            f"{len(self.test)} test samples, {asked[self.task.kind]}"
        )


def checked_dataset(
    name: str, splits: dict[str, tuple[Any, Any]], input_shape: Shape | None, seed: int
) -> Dataset:
    """A data set from raw (x, y) pairs under "train" and, where there are such, "val" and "test".

    The task is told from the targets. A missing test split is taken from the training samples
    (25 %, seeded, of labels stratified), then a missing validation split (15 % of the others).

    Raises:
        DataError: shapes, labels or values that cannot be trained on, or an empty split.
    """
    arrays = {part: _arrays(f"{name}: the {part} split", *pair) for part, pair in splits.items()}
    values = sum(x.size + y.size for x, y in arrays.values())
    if len(arrays) < 3 or any(x.dtype != np.float32 for x, _ in arrays.values()):
        # What is drawn from them or made float32 is a copy.
        check_memory(f"{name}: {values} values", PEAK * 4 * values)
    task = task_of(arrays["train"][1])
    ready = {part: _checked(name, part, *pair, input_shape, task) for part, pair in arrays.items()}
    whole, drawn_here = ready["train"], "test" not in ready
    kept, drawn = np.arange(len(whole)), {}
    for part, share in (("test", _TEST_SHARE), ("val", _VALIDATION_SHARE)):
        if part not in ready:
            kept, drawn[part] = held_out(name, whole.y, kept, share, seed)
    if drawn:  # each sample is copied once
        ready["train"] = whole.at(kept)
        ready |= {part: whole.at(rows) for part, rows in drawn.items()}
    classes = 0 if task is ENHANCEMENT else _classes(name, ready)
    return Dataset(name, ready["train"], ready["val"], ready["test"], classes, drawn_here, task)


def _classes(name: str, splits: dict[str, Split]) -> int:
    """How many classes the training samples have; the other splits may have no further ones."""
    train = splits["train"]
    classes = int(train.y.max()) + 1
    if train.y.min() == train.y.max():
        needs = "a classifier needs" if train.y.ndim == 1 else "masks need"
        raise DataError(f"{name}: all training labels are {classes - 1}; {needs} two classes.")
    for part, split in splits.items():
        highest = int(split.y.max())
        if highest >= classes:
            raise DataError(
                f"{name}: the {part} split has label {highest}, but the training labels end at "
                f"{classes - 1}; the model would never learn it. Check the split."
            )
    return classes


def held_out(name: str, y: Any, rows: Any, share: float, seed: int) -> tuple[Any, Any]:
    """The numbers of some samples in two, the second with `share` of them; labels are stratified.

    Raises:
        DataError: there are too few samples, or too few of a class, to be split.
    """
    from sklearn.model_selection import train_test_split

    if y.ndim > 1:
        if len(rows) < 4:
            raise DataError(
                f"{name}: {len(rows)} training sample(s) are too few to hold some out; give more, "
                "or splits of your own (x_val, x_test)."
            )
        size = max(round(share * len(rows)), 1)
        kept, held = train_test_split(rows, test_size=size, random_state=seed)
        return kept, held
    labels, counts = np.unique(y[rows], return_counts=True)
    if len(rows) < 4 or counts.min() < 2:
        rare = int(counts.argmin())
        raise DataError(
            f"{name}: class {labels[rare]} has {counts[rare]} training sample(s), too few to hold "
            "some out; give more samples, or splits of your own (x_val, x_test)."
        )
    size = max(round(share * len(rows)), len(labels))
    kept, held = train_test_split(rows, test_size=size, random_state=seed, stratify=y[rows])
    return kept, held


def _checked(name: str, part: str, x: Any, y: Any, input_shape: Shape | None, task: Task) -> Split:
    where = f"{name}: the {part} split"
    if x.ndim < 2:
        raise DataError(
            f"{where} has x of shape {x.shape}; samples are stacked along the first axis."
        )
    if len(x) == 0:
        raise DataError(f"{where} is empty (its x has shape {x.shape}); give at least one sample.")
    if not x.size:
        raise DataError(f"{where} has x of shape {x.shape}, samples without a single value.")
    if x.dtype.kind not in "fiub":
        raise DataError(f"{where} has x of type {x.dtype}; numbers are needed.")
    return Split(_samples(where, x, input_shape), checked_targets(where, y, len(x), task))


def _arrays(where: str, x: Any, y: Any) -> tuple[Any, Any]:
    given = {"x": x, "y": y}
    for name, values in given.items():
        try:
            given[name] = np.asarray(values)
        except ValueError as error:
            raise DataError(
                f"{where} has samples of different shapes in {name}; give one array of one shape."
            ) from error
    return given["x"], given["y"]


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


def _fits(shape: tuple[int, ...], wanted: Shape) -> bool:
    return len(shape) == len(wanted) and all(
        size is None or size == got for size, got in zip(wanted, shape, strict=True)
    )
