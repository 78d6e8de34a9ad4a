"""Where data come from: a name, an .npz file, a folder of images by class, `file.py:function`."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.data.dataset import Dataset, Shape, checked_dataset
from edgekit.data.generated import GENERATED, generated
from edgekit.data.images import Pixels
from edgekit.data.memory import check_memory
from edgekit.data.recognising import KERAS, keras_arrays, read_folder
from edgekit.errors import DataError
from edgekit.store import STAGES

_UNREADABLE = (
    *(ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error),
    MemoryError,  # a header announces more values than there is room for
    RuntimeError,  # encrypted, or packed in a way that zipfile does not know
)

Source = str | Path | Dataset | dict[str, Any] | tuple[Any, Any]


def load_data(
    source: Source,
    input_shape: Shape | None = None,
    *,
    seed: int = 0,
    pixels: Pixels = "unit",
) -> Dataset:
    """Loads and checks a data set for a model that takes samples of `input_shape`.

    Args:
        source: `digits` (scikit-learn's 8x8 handwritten digits); `glyphs`, `nuclei` or `lowlight`
            (generated: classes, masks, pictures); `cifar10`, `cifar100` or `mnist` (downloaded by
            Keras); a folder with a published data set in its own format (docs/tasks.md); an `.npz`
            file with x_train, y_train, x_test,
            y_test (and x_val, y_val) or x, y; a folder with one folder of images per class (or such
            folders under train/, val/, test/); `file.py:function` returning the same names as a
            dict, or ((x_train, y_train), (x_test, y_test)); or such arrays. Targets are labels,
            masks (samples, height, width) of class numbers, or pictures from 0 to 1. A Path is
            never a name.
        input_shape: of one sample, without the batch axis; images are resized to it.
        seed: of the splits that the source does not make itself.
        pixels: images' values from 0 to 1 (`unit`) or 0 to 255 (`byte`, for models that rescale).

    Raises:
        DataError: the source cannot be read or does not fit, or the seed is none.
    """
    if isinstance(source, Dataset):
        return source
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise DataError(f"seed is {seed!r}; give a whole number between 0 and 2^32 - 1.")
    text, path = str(source), Path(source) if isinstance(source, str | Path) else Path()
    named = isinstance(source, str) and not _shadowed(path)
    if isinstance(source, dict | tuple):
        name, arrays = "arrays", _named(source, "the data")
    elif named and text == "digits":
        name, arrays = "digits", _digits()
    elif named and text in GENERATED:
        name, arrays = text, generated(text, input_shape, pixels, seed)
    elif named and text in KERAS:
        name, arrays = text, keras_arrays(text, input_shape, pixels)
    elif path.is_dir():
        name, arrays = path.name, read_folder(path, input_shape, pixels)
    elif path.suffix == ".npz":
        name, arrays = path.name, _npz(path)
    elif ".py:" in text:
        name, arrays = text, _function(text)
    elif not named and text in ("digits", *GENERATED, *KERAS):
        raise DataError(
            f"There is no folder {text!r} here; for the data set of that name give the name as "
            "text, not as a path."
        )
    else:
        raise DataError(
            f"--data {text!r} is not a data set: give digits, {', '.join((*GENERATED, *KERAS))}, "
            "an .npz file, a folder of images, or file.py:function."
        )
    return checked_dataset(name, _splits(name, arrays), input_shape, seed)


def _shadowed(path: Path) -> bool:
    """Whether a folder lies here under the name of a data set that would be downloaded.

    A run folder may have been called after its data; it holds none.
    """
    return str(path) in KERAS and path.is_dir() and not (path / STAGES).is_dir()


def load_calibration(path: Path, inputs: list[str]) -> list[Any]:
    """Representative inputs from an .npz file: one array per model input, under the input's name.

    A model of one input may have its array under any name.

    Raises:
        DataError: the file cannot be read, or its arrays are not the model's inputs.
    """
    arrays = _npz(path)
    if len(inputs) == len(arrays) == 1:
        return list(arrays.values())
    missing = [name for name in inputs if name not in arrays]
    if missing:
        raise DataError(
            f"{path} holds {', '.join(sorted(arrays)) or 'nothing'}; the model's inputs are "
            f"{', '.join(inputs)}. Give one array for each, under its name."
        )
    return [arrays[name] for name in inputs]


def _digits() -> dict[str, Any]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    return {"x": digits.images[..., None] / 16.0, "y": digits.target}


def _npz(path: Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            if not zipfile.is_zipfile(file):
                raise zipfile.BadZipFile("it is no zip file, or was cut short")
            with zipfile.ZipFile(file) as archive:
                check_memory(f"The arrays of {path}", sum(i.file_size for i in archive.infolist()))
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                return {key: archive[key] for key in archive.files}
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; give the path of an .npz file.") from error
    except _UNREADABLE as error:
        raise DataError(
            f"{path} cannot be read as .npz ({error}); write it with numpy.savez and plain number "
            "arrays (object arrays would run code and are refused)."
        ) from error


def _function(source: str) -> dict[str, Any]:
    from edgekit_converters.source import call_function, load_module, split_function

    found = split_function(source)
    if found is None:
        raise DataError(f"--data {source!r}: give file.py:function.")
    path, name = found
    return _named(call_function(load_module(path), name), source)


def _named(result: Any, source: str) -> dict[str, Any]:
    if isinstance(result, dict):
        return result
    try:
        (x_train, y_train), (x_test, y_test) = result
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{source} gave {type(result).__name__}; give ((x_train, y_train), (x_test, y_test)) "
            "or a dict with x_train, y_train, x_test, y_test."
        ) from error
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}


def _splits(name: str, arrays: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    splits = {}
    for part in ("train", "val", "test"):
        given = [key for key in (f"x_{part}", f"y_{part}") if key in arrays]
        if len(given) == 1:
            lacking = ({f"x_{part}", f"y_{part}"} - set(given)).pop()
            raise DataError(
                f"{name} has {given[0]} without {lacking}; every split needs both. Add {lacking}, "
                f"or leave {given[0]} out."
            )
        if given:
            splits[part] = (arrays[f"x_{part}"], arrays[f"y_{part}"])
    if "train" not in splits and "x" in arrays and "y" in arrays:
        splits["train"] = (arrays["x"], arrays["y"])
    if "train" not in splits:
        raise DataError(
            f"{name} holds {', '.join(sorted(arrays)) or 'nothing'}; needed are x_train, y_train, "
            "x_test and y_test (x_val, y_val if you have them), or x and y."
        )
    return splits
