"""MNIST, EMNIST and others in the idx format (LeCun et al. 1998), packed with gzip or not."""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from edgekit.data.dataset import Shape
from edgekit.data.images import Pixels, fitted
from edgekit.data.memory import check_memory
from edgekit.errors import DataError

_IMAGES = re.compile(r"(?P<set>.*?)(?P<part>train|test|t10k)-images[-.]idx3-ubyte(\.gz)?")
_EMNIST = re.compile(r"(?<![a-z])emnist", re.IGNORECASE)
_BYTES = 8
"""The code of unsigned bytes in the third byte of a file."""

_PIECE = 2**20


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
    read: dict[str, Any] = {}
    targets: dict[str, Any] = {}
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
        read[f"x_{part}"], targets[f"y_{part}"] = images[..., None], labels
    if emnist and min(labels.min() for labels in targets.values()) == 1:
        targets = {part: labels - 1 for part, labels in targets.items()}
    return {**fitted(str(path), read, input_shape, pixels), **targets}


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
    return files, any(_EMNIST.search(name) for name in (path.resolve().name, *sets))


def read_idx(file: Path, axes: int) -> Any:
    """The bytes of an idx file with that many axes.

    Two zeros, the type (8: unsigned bytes), the number of axes, then the size of each as a
    big-endian number of four bytes, then the values.

    Raises:
        DataError: naming the file, the offset, and what stands there.
    """
    packed, wanted = file.suffix == ".gz", bytes((0, 0, _BYTES, axes))
    header = 4 + 4 * axes
    try:
        with gzip.open(file) if packed else file.open("rb") as opened:
            head = opened.read(header)
            if head[:4] != wanted:
                raise DataError(
                    f"{file} begins with the bytes {head[:4].hex(' ') or '(none)'}; an idx file of "
                    f"bytes with {axes} axes begins with {wanted.hex(' ')}."
                )
            if len(head) < header:
                raise DataError(
                    f"{file} has {len(head)} bytes; the header alone has {header}. Get it again."
                )
            sizes = struct.unpack(f">{axes}I", head[4:])
            values = math.prod(sizes)
            check_memory(
                f"The {values} values of {file}",
                values if packed else min(values, file.stat().st_size),
            )
            raw = _read_up_to(opened, values + 1)
    except (OSError, EOFError, zlib.error) as error:
        verb = "unpacked" if packed else "read"
        raise DataError(f"{file} cannot be {verb} ({error}); get it again.") from error
    shape = " x ".join(map(str, sizes))
    if len(raw) != values:
        expected = header + values
        counted = f"more than {expected}" if len(raw) > values else len(head) + len(raw)
        raise DataError(
            f"{file} has {counted} bytes{' unpacked' if packed else ''}; its header says {shape}, "
            f"so it must have {expected}, {header} of them header. Get it again."
        )
    if not values:
        raise DataError(f"{file} is empty: its header says {shape}. Get it again.")
    return np.frombuffer(raw, np.uint8).reshape(sizes)


def _read_up_to(opened: BinaryIO | gzip.GzipFile, most: int) -> bytearray:
    """The next bytes of a file, in pieces: neither header nor archive decides what is reserved."""
    raw = bytearray()
    while len(raw) < most and (piece := opened.read(min(most - len(raw), _PIECE))):
        raw += piece
    return raw


def _labels_of(file: Path) -> Path:
    """The file of labels beside one of images, packed or not."""
    name = file.name.replace("-images", "-labels").replace("idx3", "idx1")
    plain = name.removesuffix(".gz")
    for candidate in (name, plain, f"{plain}.gz"):
        if (file.parent / candidate).exists():
            return file.parent / candidate
    raise DataError(f"{file} has no labels beside it; add {plain} (or {plain}.gz).")
