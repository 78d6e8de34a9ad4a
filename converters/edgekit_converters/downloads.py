"""Published data sets that Keras downloads and keeps."""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from traceback import extract_tb
from typing import Any

import keras

from edgekit_converters.errors import ConverterError

_NAMES = {"cifar10": "cifar-10-*", "cifar100": "cifar-100-*", "mnist": "mnist.npz"}


def download(name: str) -> Any:
    """((x_train, y_train), (x_test, y_test)) of `cifar10`, `cifar100` or `mnist`, as bytes.

    Keras checks what it fetched by its checksum, and keeps it in ~/.keras/datasets.

    Raises:
        ConverterError: it is not there yet and cannot be fetched, or what is there is damaged.
    """
    try:
        with redirect_stdout(sys.stderr):  # Keras shows its progress where --json prints
            return getattr(keras.datasets, name).load_data()
    except Exception as error:  # so does Keras' get_file, whatever went wrong
        kept = _kept(name)
        # Only where the error arose tells what it was of: a damaged pickle raises of every kind.
        fetching = any(frame.name == "get_file" for frame in extract_tb(error.__traceback__))
        if kept and not fetching:
            raise ConverterError(
                f"{name} is damaged as Keras keeps it ({type(error).__name__}: {error}); delete "
                f"{kept} and it is unpacked or downloaded again."
            ) from error
        raise ConverterError(
            f"{name} is not on this machine and cannot be downloaded ({error}). Fetch its files "
            "where there is a network and give their folder: --data FOLDER."
        ) from error


def _kept(name: str) -> str:
    """The files or folders of a data set in ~/.keras/datasets; archives alone have checksums."""
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    found = sorted((home / "datasets").glob(_NAMES[name]))
    return " and ".join(str(path) for path in found if not path.name.endswith("_archive"))
