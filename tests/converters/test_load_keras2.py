"""Models in: files that Keras 2 wrote come back as Keras 3 models that compute the same."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from converter_models import assert_same, outputs, randomise

from edgekit_converters import ModelLoadError, load_model

tk = pytest.importorskip("tf_keras")
layers = tk.layers


def sequential() -> Any:
    return tk.Sequential(
        [
            tk.Input((8, 8, 3)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Dropout(0.3),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )


def everything() -> Any:
    """Skip, two inputs, two outputs, a shared layer, a nested Sequential called twice."""
    zebra, ant = tk.Input((8, 8, 4), name="zebra"), tk.Input((8, 8, 4), name="ant")
    twin = layers.Conv2D(4, 3, padding="same", name="twin")
    inner = tk.Sequential([tk.Input((8, 8, 4)), layers.Conv2D(4, 1), layers.ReLU()], name="inner")
    x = layers.Add()([inner(twin(zebra)), zebra])
    y = layers.Concatenate()([inner(x), twin(ant)])
    return tk.Model(
        [zebra, ant],
        [layers.Dense(2, name="right")(layers.Flatten()(y)), layers.Conv2D(1, 3, name="left")(x)],
    )


def nested_functional() -> Any:
    inside = tk.Input((8, 8, 4))
    middle = tk.Model(inside, layers.Add()([inside, layers.Conv2D(4, 3, padding="same")(inside)]))
    image = tk.Input((8, 8, 4))
    return tk.Model(image, layers.GlobalAveragePooling2D()(middle(middle(image))))


def convolutions() -> Any:
    """The layers whose configuration changed between Keras 2 and 3."""
    image = tk.Input((9, 9, 4))
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same")(image)
    x = layers.BatchNormalization()(x)
    x = layers.LeakyReLU(alpha=0.2)(x)
    x = layers.SeparableConv2D(6, 3, dilation_rate=2)(x)
    x = layers.PReLU(shared_axes=[1, 2])(x)
    x = layers.Conv2DTranspose(5, 2, strides=2, groups=1)(x)
    x = layers.ELU(alpha=0.7)(x)
    x = layers.LayerNormalization(epsilon=1e-2)(x)
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = layers.ReLU(max_value=6)(layers.Conv2D(8, 3, groups=1, activation="swish")(x))
    return tk.Model(image, layers.GlobalMaxPooling2D()(x))


def recurrent() -> Any:
    signal = tk.Input((7, 3))
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(signal)
    x = layers.TimeDistributed(layers.Dense(3))(x)
    return tk.Model(signal, layers.Dense(2)(layers.GRU(5)(x)))


def one_dimensional() -> Any:
    signal = tk.Input((12, 2))
    x = layers.Conv1D(4, 3, padding="causal", activation="tanh")(signal)
    return tk.Model(signal, layers.Dense(1)(layers.GlobalAveragePooling1D()(x)))


def operations() -> Any:
    import tensorflow as tf

    image = tk.Input((8, 8, 4))
    x = tf.nn.relu(layers.Conv2D(4, 3, padding="same")(image) * 2.0 + image)
    x = tf.sigmoid(x - 0.5) / 3.0
    return tk.Model(image, tf.nn.softmax(layers.Dense(3)(layers.Flatten()(x))))


def embedding() -> Any:
    words = tk.Input((5,), dtype="int32")
    return tk.Model(words, layers.Dense(2)(layers.Flatten()(layers.Embedding(30, 4)(words))))


def preprocessing() -> Any:
    image = tk.Input((8, 8, 3))
    x = layers.ZeroPadding2D(((0, 1), (1, 0)))(layers.Rescaling(1 / 127.5, offset=-1)(image))
    return tk.Model(image, layers.AveragePooling2D(3)(layers.Cropping2D(1)(x)))


MODELS: dict[str, Callable[[], Any]] = {
    builder.__name__: builder
    for builder in (
        sequential,
        everything,
        nested_functional,
        convolutions,
        recurrent,
        one_dimensional,
        operations,
        embedding,
        preprocessing,
    )
}


@pytest.fixture(autouse=True)
def _unregister() -> Iterator[None]:
    yield
    keras.saving.get_custom_objects().clear()


def save(model: Any, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Keras 2 calls its own .h5 legacy
        model.save(path)
    return path


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("name", MODELS)
def test_a_keras_2_file_computes_what_was_saved(name: str, suffix: str, tmp_path: Path) -> None:
    model = randomise(MODELS[name]())
    loaded = load_model(save(model, tmp_path / f"m.{suffix}"))
    assert isinstance(loaded, keras.Model)
    rng = np.random.default_rng(1)
    inputs = [
        rng.uniform(0, 20 if "int" in tensor.dtype.name else 1, (3, *tensor.shape[1:])).astype(
            tensor.dtype.name
        )
        for tensor in model.inputs
    ]
    wanted = model(inputs if len(inputs) > 1 else inputs[0], training=False)
    wanted = [np.asarray(value) for value in (wanted if isinstance(wanted, list) else [wanted])]
    assert_same(outputs(loaded, inputs), wanted, 1e-5)
    assert loaded.count_params() == model.count_params()


def test_shared_layers_stay_shared_and_inputs_keep_their_order(tmp_path: Path) -> None:
    loaded = load_model(save(everything(), tmp_path / "m.h5"))
    assert [tensor.name for tensor in loaded.inputs] == ["zebra", "ant"]
    assert [layer.name for layer in loaded.layers].count("twin") == 1


def test_frozen_layers_stay_frozen(tmp_path: Path) -> None:
    model = sequential()
    model.layers[0].trainable = False
    loaded = load_model(save(model, tmp_path / "m.h5"))
    assert len(loaded.trainable_weights) == len(model.trainable_weights) == 2


def test_a_layer_that_changed_its_meaning_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = save(convolutions(), tmp_path / "m.h5")
    monkeypatch.setattr(keras.layers.LeakyReLU, "call", lambda self, x: 1.01 * x)
    with pytest.raises(ModelLoadError, match=r"m\.h5: Keras .* computes output 0 differently"):
        load_model(file)


def test_an_operation_without_counterpart_is_named(tmp_path: Path) -> None:
    import tensorflow as tf

    image = tk.Input((4, 4, 2))
    model = tk.Model(image, layers.Flatten()(tf.image.flip_left_right(image)))
    with pytest.raises(ModelLoadError, match=r"m\.keras applies .*flip_left_right.* use a layer"):
        load_model(save(model, tmp_path / "m.keras"))


WIGGLE = "import tensorflow as tf\ndef wiggle(x):\n    return x + tf.sin(x)\n"


def as_older_keras_2_wrote_it(file: Path) -> None:
    """Up to TensorFlow 2.12 an .h5 named the function; later ones Keras 2 itself cannot read."""
    with h5py.File(file, "r+") as archive:
        config = json.loads(archive.attrs["model_config"])
        config["config"]["layers"][-1]["config"]["activation"] = "wiggle"
        archive.attrs["model_config"] = json.dumps(config)


@pytest.mark.parametrize("suffix", ["keras", "h5", "older h5"])
def test_a_custom_function_is_asked_for_and_used(suffix: str, tmp_path: Path) -> None:
    import tensorflow as tf

    def wiggle(x: Any) -> Any:
        return x + tf.sin(x)

    model = tk.Sequential([tk.Input((3,)), layers.Dense(2, activation=wiggle)])
    file = save(model, tmp_path / f"m.{suffix.split()[-1]}")
    if suffix == "older h5":
        as_older_keras_2_wrote_it(file)
    with pytest.raises(ModelLoadError, match=rf"{file.name} .*'wiggle'.*--custom-objects"):
        load_model(file)
    (tmp_path / "own.py").write_text(WIGGLE)
    if suffix == "h5":
        with pytest.raises(ModelLoadError, match=r"m\.h5 .*'wiggle'.*save the model again"):
            load_model(file, custom_objects=tmp_path / "own.py")
        return
    sample = np.ones((1, 3), np.float32)
    loaded = load_model(file, custom_objects=tmp_path / "own.py")
    assert_same(outputs(loaded, [sample]), [np.asarray(model(sample))])


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_a_missing_custom_layer_is_named(suffix: str, tmp_path: Path) -> None:
    class Doubled(layers.Layer):
        def call(self, x: Any) -> Any:
            return 2 * x

    model = tk.Sequential([tk.Input((3,)), Doubled(), layers.Dense(2)])
    with pytest.raises(ModelLoadError, match=rf"m\.{suffix} .*'Doubled'.*--custom-objects"):
        load_model(save(model, tmp_path / f"m.{suffix}"))


def test_a_subclassed_keras_2_model_is_refused(tmp_path: Path) -> None:
    class Own(tk.Model):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.dense = layers.Dense(2)

        def call(self, x: Any) -> Any:
            return self.dense(x)

    model = Own(name="hidden")
    model(np.ones((1, 3), np.float32))
    file = save(model, tmp_path / "m.keras")
    (tmp_path / "own.py").write_text(
        "import tf_keras\nclass Own(tf_keras.Model):\n    def __init__(self, **kwargs):\n"
        "        super().__init__(**kwargs)\n        self.dense = tf_keras.layers.Dense(2)\n"
        "    def call(self, x): return self.dense(x)\n"
    )
    with pytest.raises(ModelLoadError, match=r"m\.keras .*'Own'.*--custom-objects"):
        load_model(file)
    with pytest.raises(ModelLoadError, match=r"m\.keras holds Own .*subclassed.*functional"):
        load_model(file, custom_objects=tmp_path / "own.py")
