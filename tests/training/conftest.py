import os
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

MODELS = """
import os
import signal

import keras
from keras import layers


class Fragile(layers.Layer):
    # Batches of 4 need more memory than there is; with batches of 8 the system ends the process.

    def call(self, inputs):
        if inputs.shape[0] == 4:
            raise MemoryError("4 are too many")
        if inputs.shape[0] == 8:
            os.kill(os.getpid(), signal.SIGKILL)
        if inputs.shape[0] == 16:
            raise ValueError("16 are odd")
        return inputs


def tiny(fragile=False):
    keras.utils.set_random_seed(7)
    inner = [Fragile()] if fragile else []
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(8, 3, padding="same", activation="relu", name="c1"),
            layers.Conv2D(16, 3, padding="same", activation="relu", name="c2"),
            layers.Conv2D(16, 3, padding="same", activation="relu", name="c3"),
            *inner,
            layers.GlobalAveragePooling2D(name="gap"),
            layers.Dense(10, activation="softmax", name="out"),
        ],
        name="tiny",
    )


def fragile():
    return tiny(fragile=True)


def frozen():
    model = tiny()
    model.trainable = False
    return model


def two_outputs():
    inputs = keras.Input((8, 8, 1))
    flat = layers.Flatten()(inputs)
    return keras.Model(inputs, [layers.Dense(10)(flat), layers.Dense(2)(flat)], name="two_outputs")
"""


@pytest.fixture(scope="session")
def models_py(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python file whose functions build small models."""
    file = tmp_path_factory.mktemp("models") / "models.py"
    file.write_text(MODELS)
    return file
