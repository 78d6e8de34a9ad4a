"""Parent models that the kit's demo, tests and benchmarks start from."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers


def digits_cnn(classes: int = 10) -> Any:
    """A small CNN for 8x8 digits in which every LCRM case occurs (1.1, 1.2, 3 and 2).

    Its batch normalisations forget faster than usual: an epoch of digits has only some 20 steps.
    """
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            *_block(32, 3, "conv1", momentum=0.9),
            *_block(64, 3, "conv2", momentum=0.9),
            *_block(96, 3, "conv3", momentum=0.9),
            layers.MaxPooling2D(2),
            *_block(96, 3, "conv4", momentum=0.9),
            *_block(64, 3, "conv5", momentum=0.9),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.2),
            layers.Dense(classes, activation="softmax"),
        ],
        name="digits_cnn",
    )


def alexnet(classes: int = 10, filters: int = 384) -> Any:
    """The LCRM paper's AlexNet at 224x224x3 (Table 4).

    Table 4's parameter counts have `filters` = 384; its heading and Table 3 say 386.
    """
    return keras.Sequential(
        [
            keras.Input((224, 224, 3)),
            *_block(64, 11, "conv1", strides=4, padding="valid"),
            layers.MaxPooling2D(3, strides=2),
            *_block(256, 5, "conv2"),
            layers.MaxPooling2D(3, strides=2),
            *_block(filters, 3, "conv3"),
            *_block(filters, 3, "conv4"),
            *_block(256, 3, "conv5"),
            layers.MaxPooling2D(3, strides=2),
            layers.Flatten(),
            layers.Dense(1024, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(1024, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(classes, activation="softmax"),
        ],
        name="alexnet",
    )


def _block(
    filters: int,
    kernel: int,
    name: str,
    strides: int = 1,
    padding: str = "same",
    momentum: float = 0.99,
) -> list[Any]:
    return [
        layers.Conv2D(filters, kernel, strides=strides, padding=padding, name=name),
        layers.BatchNormalization(momentum=momentum, name=f"{name}_bn"),
        layers.ReLU(name=f"{name}_relu"),
    ]
