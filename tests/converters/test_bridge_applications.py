"""The families of keras.applications in tf_keras: the same outputs, and their weights back."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest

from edgekit_converters.graph import read_graph
from edgekit_converters.keras2.agreement import plain_normalisation
from edgekit_converters.keras2.bridge import to_tf_keras, weights_back

SIZES = {"InceptionResNetV2": 96, "InceptionV3": 96, "Xception": 96}
CARRIED = {
    "ConvNeXt": {"LayerNormalization", "LayerScale", "Normalization", "StochasticDepth"},
    "EfficientNet": {"Normalization", "Rescaling"},
    "InceptionResNet": {"CustomScaleLayer"},
    "MobileNetV3": {"Activation", "Rescaling"},
}
"""The layers that only Keras 3 knows, by how the models' names begin; the others have none."""
NAMES = (
    "ConvNeXtTiny", "DenseNet121", "EfficientNetB0", "EfficientNetV2B0", "InceptionResNetV2",
    "InceptionV3", "MobileNet", "MobileNetV2", "MobileNetV3Small", "NASNetMobile", "ResNet50",
    "ResNet50V2", "VGG16", "Xception",
)  # fmt: skip
"""The smallest of each family: the others differ in how often their blocks come."""
QUICK = {"MobileNet", "MobileNetV3Small"}


@pytest.fixture(autouse=True)
def _free_memory() -> Iterator[None]:
    yield
    keras.backend.clear_session()
    gc.collect()


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NAMES],
)
def test_an_application_comes_to_tf_keras_and_back(name: str) -> None:
    size = SIZES.get(name, 64)
    model = getattr(keras.applications, name)(
        weights=None,
        input_shape=(size, size, 3),
        classes=5,
        # Probabilities of random weights are 0 and 1 whatever comes before them.
        classifier_activation=None,
    )
    generator = np.random.default_rng(1)
    # Bright and dark, coarse and fine: on plain noise every channel is nearly constant.
    images = generator.uniform(0, 255, (4, 4, 4, 3)).repeat(size // 4, 1).repeat(size // 4, 2)
    images = (images * generator.uniform(0.5, 1, (4, size, size, 3))).astype("float32")
    settle(model, images)
    expected = np.asarray(model(images, training=False))
    assert np.isfinite(expected).all()
    assert expected.std(axis=0).min() > 0, "the outputs do not depend on the images"

    bridged = to_tf_keras(model)

    with plain_normalisation(bridged.model.layers):
        error = np.abs(expected - bridged.model(images, training=False)).max()
    assert error <= 1e-5 * np.abs(expected).max()
    types = {
        type(call.layer).__name__
        for call in read_graph(bridged.copy).calls
        if call.path in bridged.carried and isinstance(call.layer, keras.layers.Layer)
    }
    wanted = next((kinds for start, kinds in CARRIED.items() if name.startswith(start)), set())
    assert types <= wanted
    back = weights_back(bridged, bridged.model)
    for before, after in zip(model.weights, back.weights, strict=True):
        assert np.array_equal(before, after), before.path


def settle(model: Any, images: Any) -> None:
    """Batch normalisations as training leaves them; fresh ones let deep nets overflow."""
    generator = np.random.default_rng(0)
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in layers:
        for variable in layer.trainable_variables:
            variable.assign_add(generator.normal(0, 0.1, variable.shape))
        layer.momentum, layer.kept = 0.0, layer.momentum
    model(images, training=True)
    for layer in layers:
        layer.momentum = layer.kept
        # Channels that hardly vary, for their size or others', would enlarge rounding.
        variance = layer.moving_variance.numpy()
        least = np.maximum(0.1 * variance.mean(), 0.1 * layer.moving_mean.numpy() ** 2)
        layer.moving_variance.assign(np.maximum(variance, least))
