"""Targets as checked arrays: labels, masks or pictures, and which of them they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgekit.errors import DataError
from edgekit.tasks import CLASSIFICATION, ENHANCEMENT, SEGMENTATION, Task
from edgekit.tasks.enhancement import SMALLEST

_MOST_CLASSES = 256


def task_of(y: Any) -> Task:
    """The task that targets [samples, …] belong to.

    Masks are whole numbers, one for each pixel; everything else of two or three axes per sample is
    a picture.
    """
    if y.ndim < 3:
        return CLASSIFICATION
    masks = y.ndim == 3 or (y.ndim == 4 and y.shape[-1] == 1)
    if masks and y.dtype.kind in "iub":
        return SEGMENTATION
    if masks and y.dtype.kind == "f" and (y == np.floor(y)).all():
        return SEGMENTATION
    return ENHANCEMENT


def checked_targets(where: str, y: Any, samples: int, task: Task) -> Any:
    """Targets of one split as the task has them: int64 labels, uint8 masks, float32 pictures.

    Raises:
        DataError: too many or too few, or values that the task cannot have.
    """
    if task is CLASSIFICATION:
        return _labels(where, y, samples)
    if len(y) != samples:
        raise DataError(f"{where} has {samples} samples but {len(y)} targets; give one for each.")
    if y.ndim not in (3, 4) or y.dtype.kind not in "fiub":
        raise DataError(
            f"{where} has targets of shape {y.shape} and type {y.dtype}; give masks (samples, "
            "height, width) of class numbers, or pictures (samples, height, width, channels)."
        )
    if not y.size:
        raise DataError(
            f"{where} has targets of shape {y.shape}, without a single value; give masks or "
            "pictures as large as the model's output."
        )
    if task is SEGMENTATION:
        return _masks(where, y)
    return _pictures(where, y)


def _masks(where: str, y: Any) -> Any:
    if y.ndim == 4 and y.shape[-1] != 1:
        raise DataError(
            f"{where} has masks of {y.shape[-1]} channels; give one class number for each pixel."
        )
    y = y.reshape(y.shape[:3])
    # NaN is no whole number either.
    if (
        (y.dtype.kind == "f" and not (y == np.floor(y)).all())
        or y.min() < 0
        or y.max() >= _MOST_CLASSES - 1
    ):
        raise DataError(
            f"{where} has masks with values from {y.min()} to {y.max()}; give class numbers from 0 "
            "on (of two classes 0 and 1, not 0 and 255). Grey pictures as targets are given "
            "from 0 to 1."
        )
    return y.astype(np.uint8, copy=False)


def _pictures(where: str, y: Any) -> Any:
    if y.ndim == 3:
        y = y[..., None]
    if min(y.shape[1:3]) < SMALLEST:
        raise DataError(
            f"{where} has pictures of {y.shape[1]} x {y.shape[2]} pixels as targets; SSIM needs "
            f"at least {SMALLEST} x {SMALLEST}."
        )
    scaled = y / np.float32(255) if y.dtype == np.uint8 else y.astype(np.float32, copy=False)
    if not (scaled.min() >= 0 and scaled.max() <= 1):
        raise DataError(
            f"{where} has pictures with values from {y.min():g} to {y.max():g} as targets; give "
            "them from 0 to 1."
        )
    return np.ascontiguousarray(scaled, dtype=np.float32)


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
