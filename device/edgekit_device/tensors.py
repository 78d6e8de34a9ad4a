"""The child's side of tensors: inputs from the golden file or at random, outputs compared."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit_device.errors import ModelError
from edgekit_device.protocol import Difference

_SEED = 0


def read_sample(file: Path, array: str, sample: int) -> npt.NDArray[Any]:
    """Read one sample of one array of an `.npz`.

    Reading the whole array would count its other samples into the model's peak memory.
    """
    try:
        with zipfile.ZipFile(file) as archive, archive.open(f"{array}.npy") as member:
            if np.lib.format.read_magic(member) == (1, 0):
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(member)
            else:
                shape, fortran, dtype = np.lib.format.read_array_header_2_0(member)
            if not shape or not 0 <= sample < shape[0] or dtype.hasobject:
                raise ValueError(f"no sample {sample} in shape {shape} of {dtype}")
            if fortran:
                values = np.frombuffer(member.read(), dtype).reshape(shape, order="F")
                return np.asarray(values[sample])
            size = math.prod(shape[1:]) * dtype.itemsize
            member.seek(sample * size, 1)
            return np.frombuffer(member.read(size), dtype).reshape(shape[1:])
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ModelError(
            "golden-files",
            f"{file.name}: sample {sample} of {array} cannot be read: {error}. "
            "Export the model again.",
        ) from error


def random_input(details: Mapping[str, Any]) -> npt.NDArray[Any]:
    """Make a random input, the same one every time: 0 to 1 for floats, all codes for 8/16 bit.

    Wider integers are mostly indices into a table of unknown size: only 0 and 1 are safe there.
    """
    shape, dtype = tuple(details["shape"]), np.dtype(details["dtype"])
    # Not numpy.random: its import takes megabytes that would count as the model's.
    generator, count = Random(_SEED), math.prod(int(size) for size in shape)
    if dtype.kind == "f":
        words = np.frombuffer(generator.randbytes(4 * count), np.uint32)
        return (words / 2**32).astype(dtype).reshape(shape)
    if dtype.kind in "iu" and dtype.itemsize <= 2:
        return np.frombuffer(generator.randbytes(dtype.itemsize * count), dtype).reshape(shape)
    if dtype.kind in "iub":
        codes = np.frombuffer(generator.randbytes(count), np.uint8) & 1
        return codes.astype(dtype).reshape(shape)
    raise ModelError(
        "inputs",
        f"input {details['name']!r} is of type {dtype}, for which random values make no sense: "
        "export the model with a golden file.",
    )


def difference(output: str, actual: npt.NDArray[Any], golden: npt.NDArray[Any]) -> Difference:
    """Give the largest absolute difference, for integers in steps."""
    if actual.shape != golden.shape or actual.dtype != golden.dtype:
        reason = (
            f"shape and type are {actual.shape} {actual.dtype}, "
            f"expected {golden.shape} {golden.dtype}"
        )
        return Difference(output, None, reason)
    if not actual.size:
        return Difference(output, 0.0, None)
    if actual.dtype.kind == "b":
        return Difference(output, float(np.any(actual != golden)), None)
    wide = np.float64 if actual.dtype.kind == "f" else np.int64
    here, there = actual.astype(wide), golden.astype(wide)
    # Equal infinities would give inf - inf = NaN.
    apart = here != there
    largest = float(np.max(np.abs(here[apart] - there[apart]), initial=0))
    if not math.isfinite(largest):
        return Difference(output, None, "the difference is not finite: a NaN or an infinity")
    return Difference(output, largest, None)
