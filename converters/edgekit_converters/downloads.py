"""Published data sets that Keras downloads and keeps."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import Any

import keras

from edgekit_converters.errors import ConverterError


def download(name: str) -> Any:
    """((x_train, y_train), (x_test, y_test)) of `cifar10`, `cifar100` or `mnist`, as bytes.

    Keras checks what it fetched by its checksum, and keeps it in ~/.keras/datasets.

    Raises:
        ConverterError: it is not there yet and cannot be fetched.
    """
    try:
        with redirect_stdout(sys.stderr):  # Keras shows its progress where --json prints
            return getattr(keras.datasets, name).load_data()
    except Exception as error:  # so does Keras' get_file, whatever went wrong
        raise ConverterError(
            f"{name} is not on this machine and cannot be downloaded ({error}). Fetch its files "
            "where there is a network and give their folder: --data FOLDER."
        ) from error
