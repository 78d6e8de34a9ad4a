"""MNIST, EMNIST and others in the idx format (LeCun et al. 1998), packed with gzip or not."""

from __future__ import annotations

import gzip
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.data.dataset import Shape
from edgekit.data.images import Pixels, fitted
from edgekit.errors import DataError

_IMAGES = re.compile(r"(?P<set>.*?)(?P<part>train|test|t10k)-images[-.]idx3-ubyte(\.gz)?")
_BYTES = 8
"""The code of unsigned bytes in the third byte of a file."""


def is_idx(path: Path) -> bool:
    """Whether a folder holds images in idx files."""
    return any(_IMAGES.fullmatch(file.name) for file in path.iterdir())


def idx(path: Path, input_shape: Shape | None, pixels: Pixels) -> dict[str, Any]:
    """The training and the test images with their labels.

    EMNIST (Cohen et al. 2017), told by its files' names or the folder's, has its images transposed
    and the labels of its letters from 1 on; both are put right.

    Raises:
        DataError: files are missing, damaged, of another format or of several sets, or two are of
            one split.
    """
    files, emnist = _files_of(path)
    if "train" not in files:
        raise DataError(f"{path} holds test images alone; add the train-images-idx3-ubyte file.")
    arrays: dict[str, Any] = {}
    for part, file in files.items():
        images = read_idx(file, 3)
        labels = read_idx(_labels_of(file), 1).astype(np.int64)
        if len(images) != len(labels):
            raise DataError(
                f"{file} has {len(images)} images but {_labels_of(file).name} {len(labels)} "
                "labels; they do not belong together."
            )
        if emnist:
            images = images.transpose(0, 2, 1)
        images = np.ascontiguousarray(images)[..., None]
        arrays[f"x_{part}"] = fitted(str(path), images, input_shape, pixels)
        arrays[f"y_{part}"] = labels
    if emnist and min(arrays[f"y_{part}"].min() for part in files) == 1:
        for part in files:
            arrays[f"y_{part}"] -= 1
    return arrays


def _files_of(path: Path) -> tuple[dict[str, Path], bool]:
    """The file of images of each split, and whether they are of EMNIST."""
    found = {file: match for file in path.iterdir() if (match := _IMAGES.fullmatch(file.name))}
    sets = sorted({match["set"] for match in found.values()})
    if len({name.lower() for name in sets}) > 1:
        raise DataError(
            f"{path} holds several data sets ({', '.join(sets)}); put the files of one into a "
            "folder of its own."
        )
    files: dict[str, Path] = {}
    for file, match in sorted(found.items()):
        if file.suffix == ".gz" and file.with_suffix("") in found:
            continue  # what was unpacked is read, and it alone
        part = "train" if match["part"] == "train" else "test"
        if part in files:
            raise DataError(
                f"{path} holds {files[part].name} and {file.name}, both images of the {part} "
                "split; remove one with its labels."
            )
        files[part] = file
    return files, any("emnist" in name.lower() for name in (path.resolve().name, *sets))


def read_idx(file: Path, axes: int) -> Any:
    """The bytes of an idx file with that many axes.

    Two zeros, the type (8: unsigned bytes), the number of axes, then the size of each as a
    big-endian number of four bytes, then the values.

    Raises:
        DataError: naming the file, the offset, and what stands there.
    """
    try:
        raw = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file} cannot be unpacked ({error}); get it again.") from error
    wanted = bytes((0, 0, _BYTES, axes))
    if raw[:4] != wanted:
        raise DataError(
            f"{file} begins with the bytes {raw[:4].hex(' ') or '(none)'}; an idx file of "
            f"bytes with {axes} axes begins with {wanted.hex(' ')}."
        )
    header = 4 + 4 * axes
    sizes = tuple(int(size) for size in np.frombuffer(raw[4:header].ljust(4 * axes, b"\0"), ">u4"))
    expected = header + int(np.prod(sizes, dtype=np.uint64))
    if len(raw) != expected or not all(sizes):
        shape = " x ".join(map(str, sizes))
        raise DataError(
            f"{file} has {len(raw)} bytes{' unpacked' if file.suffix == '.gz' else ''}; its header "
            f"says {shape}, so it must have {expected}, {header} of them header. Get it again."
        )
    return np.frombuffer(raw, np.uint8, offset=header).reshape(sizes)


def _labels_of(file: Path) -> Path:
    """The file of labels beside one of images, packed or not."""
    name = file.name.replace("-images", "-labels").replace("idx3", "idx1")
    plain = name.removesuffix(".gz")
    for candidate in (name, plain, f"{plain}.gz"):
        if (file.parent / candidate).exists():
            return file.parent / candidate
    raise DataError(f"{file} has no labels beside it; add {plain} (or {plain}.gz).")
