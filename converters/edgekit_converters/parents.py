"""Parent models: the LCRM paper's four, full and small, and the one of the kit's demo.

The paper gives AlexNet layer by layer (Table 4) and the others by their parameters alone; their
layers are those of its authors' notebooks (github.com/hana-an/LCRM) and of Retinex-Net (Wei et al.,
BMVC 2018). docs/parents.md counts them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
            *_head(1024, classes),
        ],
        name="alexnet",
    )


def alexnet_small(classes: int = 36, size: int = 24, channels: int = 1) -> Any:
    """AlexNet's five convolutions with a sixth of the channels, for small images such as glyphs.

    Every LCRM case occurs where it does in AlexNet.
    """
    return keras.Sequential(
        [
            keras.Input((size, size, channels)),
            *_block(16, 5, "conv1", momentum=0.9),
            layers.MaxPooling2D(2),
            *_block(48, 5, "conv2", momentum=0.9),
            layers.MaxPooling2D(2),
            *_block(64, 3, "conv3", momentum=0.9),
            *_block(64, 3, "conv4", momentum=0.9),
            *_block(48, 3, "conv5", momentum=0.9),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            *_head(128, classes, dropout=0.3),
        ],
        name="alexnet_small",
    )


def vgg9(classes: int = 62) -> Any:
    """The LCRM paper's VGG-9 for EMNIST (Table 11): 224x224x1, 62 classes.

    Six convolutions and three dense layers; the first convolution is AlexNet's.
    """
    return keras.Sequential(
        [
            keras.Input((224, 224, 1)),
            *_block(64, 11, "conv1", strides=4, padding="valid"),
            layers.MaxPooling2D(3, strides=2),
            *_block(128, 5, "conv2"),
            layers.MaxPooling2D(3, strides=2),
            *_block(256, 3, "conv3"),
            *_block(256, 3, "conv4"),
            *_block(512, 3, "conv5"),
            layers.MaxPooling2D(3, strides=2),
            *_block(512, 3, "conv6"),
            layers.MaxPooling2D(3, strides=2),
            layers.Flatten(),
            *_head(1024, classes),
        ],
        name="vgg9",
    )


def vgg9_small(classes: int = 36, size: int = 24, channels: int = 1) -> Any:
    """VGG-9's six convolutions with an eighth of the channels, for small images such as glyphs."""
    return keras.Sequential(
        [
            keras.Input((size, size, channels)),
            *_block(16, 3, "conv1", momentum=0.9),
            *_block(32, 3, "conv2", momentum=0.9),
            layers.MaxPooling2D(2),
            *_block(64, 3, "conv3", momentum=0.9),
            *_block(64, 3, "conv4", momentum=0.9),
            layers.MaxPooling2D(2),
            *_block(96, 3, "conv5", momentum=0.9),
            *_block(96, 3, "conv6", momentum=0.9),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            *_head(128, classes, dropout=0.3),
        ],
        name="vgg9_small",
    )


def unet(size: int = 128, channels: int = 3, classes: int = 1) -> Any:
    """The LCRM paper's U-Net for nuclei (Table 10): 16 to 256 filters, 128x128x3.

    Its expanding path is transposed convolutions and concatenations alone; the U-Net of
    Ronneberger et al. (2015) has two more convolutions at each level.
    """
    return _unet("unet", (16, 32, 64, 128, 256), size, channels, classes)


def unet_small(size: int = 64, channels: int = 1, classes: int = 1) -> Any:
    """The same with 16, 32 and 64 filters at three levels, which trains in minutes on nuclei."""
    return _unet("unet_small", (16, 32, 64), size, channels, classes, momentum=0.9)


def decom_net(size: int = 96, illumination: bool = True) -> Any:
    """Retinex-Net's decomposition network: a picture's reflectance and, after it, its illumination.

    Of 3 colours and their maximum, through 64 channels. The first kernel is 3x3, as the paper's
    parameter count has it (Table 9); Retinex-Net's is 9x9. `illumination` = False leaves the
    reflectance alone, which is what the paper rates as the enhanced picture (Figure 8), and what
    pairs of pictures can train.
    """
    return _decom_net("decom_net", size, 64, 5, illumination)


def decom_net_small(size: int = 48, illumination: bool = False) -> Any:
    """The same with 24 channels and three layers between the first and the last."""
    return _decom_net("decom_net_small", size, 24, 3, illumination)


PARENTS: dict[str, Callable[[], Any]] = {
    "alexnet": alexnet,
    "alexnet_small": alexnet_small,
    "decom_net": decom_net,
    "decom_net_small": decom_net_small,
    "digits_cnn": digits_cnn,
    "unet": unet,
    "unet_small": unet_small,
    "vgg9": vgg9,
    "vgg9_small": vgg9_small,
}
"""What `parent:NAME` stands for where a model is asked for; their weights are untrained."""


def _unet(
    name: str,
    filters: Sequence[int],
    size: int,
    channels: int,
    classes: int,
    momentum: float = 0.99,
) -> Any:
    inputs = keras.Input((size, size, channels))
    tensor, skips = inputs, []
    for level, width in enumerate(filters, start=1):
        for half in ("a", "b"):
            for layer in _block(width, 3, f"down{level}{half}", momentum=momentum):
                tensor = layer(tensor)
        if level < len(filters):
            skips.append(tensor)
            tensor = layers.MaxPooling2D(2, name=f"pool{level}")(tensor)
    for level in range(len(filters) - 1, 0, -1):
        up = layers.Conv2DTranspose(filters[level - 1], 2, strides=2, name=f"up{level}")
        tensor = layers.Concatenate(name=f"skip{level}")([up(tensor), skips.pop()])
        tensor = layers.BatchNormalization(momentum=momentum, name=f"up{level}_bn")(tensor)
        tensor = layers.ReLU(name=f"up{level}_relu")(tensor)
    last = "sigmoid" if classes == 1 else "softmax"
    mask = layers.Conv2D(classes, 1, activation=last, name="mask")(tensor)
    return keras.Model(inputs, mask, name=name)


def _decom_net(name: str, size: int, channels: int, between: int, illumination: bool) -> Any:
    inputs = keras.Input((size, size, 3))
    # The maximum over the channels, in layers that every converter knows.
    tensor = layers.Reshape((size * size, 3, 1), name="channels")(inputs)
    tensor = layers.MaxPooling2D((1, 3), name="brightest")(tensor)
    tensor = layers.Reshape((size, size, 1), name="brightness")(tensor)
    tensor = layers.Concatenate(name="picture")([inputs, tensor])
    tensor = layers.Conv2D(channels, 3, padding="same", name="shallow")(tensor)
    for number in range(1, between + 1):
        layer = layers.Conv2D(channels, 3, padding="same", activation="relu", name=f"conv{number}")
        tensor = layer(tensor)
    last = layers.Conv2D(
        3 + illumination, 3, padding="same", activation="sigmoid", name="decomposition"
    )
    return keras.Model(inputs, last(tensor), name=name)


def _head(units: int, classes: int, dropout: float = 0.5) -> list[Any]:
    return [
        layers.Dense(units, activation="relu"),
        layers.Dropout(dropout),
        layers.Dense(units, activation="relu"),
        layers.Dropout(dropout),
        layers.Dense(classes, activation="softmax"),
    ]


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
