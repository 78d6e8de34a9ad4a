"""Files that are no model, or that would run code: an error that names the file and the way out."""

from __future__ import annotations

import json
import shutil
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tf_keras
from converter_models import MODELS

from edgekit_converters import ModelLoadError, load_model


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one good model in every format."""
    folder = tmp_path_factory.mktemp("saved")
    model = MODELS["sequential"]()
    model.save(folder / "keras3.keras")
    model.save(folder / "keras3.h5")
    old = tf_keras.Sequential([tf_keras.Input((4,)), tf_keras.layers.Dense(3)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        old.save(folder / "keras2.keras")
        old.save(folder / "keras2.h5")
    return folder


FORMATS = ["keras3.keras", "keras3.h5", "keras2.keras", "keras2.h5"]


def refused(source: str | Path, *words: str, **options: Any) -> str:
    with pytest.raises(ModelLoadError) as refusal:
        load_model(source, **options)
    for word in (str(source), *words):
        assert word in str(refusal.value)
    return str(refusal.value)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.03, 0.3, 0.7, 0.97, 0.9999])
@pytest.mark.parametrize("name", FORMATS)
def test_a_file_cut_short_is_refused(name: str, share: float, saved: Path, tmp_path: Path) -> None:
    content = (saved / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(len(content) * share)])
    message = refused(tmp_path / name)
    assert "cut short" in message or "save it again" in message


@pytest.mark.parametrize("name", ["keras3.keras", "keras2.keras"])
def test_a_damaged_archive_is_refused(name: str, saved: Path, tmp_path: Path) -> None:
    content = bytearray((saved / name).read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, "damaged", "save it again")


def write_zip(path: Path, **members: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_json", ".json"), content)


def weights_of_h5(path: Path) -> None:
    MODELS["sequential"]().save_weights(path.with_suffix(".weights.h5"))
    shutil.move(path.with_suffix(".weights.h5"), path)


def saved_model(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tf_keras.Sequential([tf_keras.Input((4,)), tf_keras.layers.Dense(3)]).save(
            path, save_format="tf"
        )


def odd_h5(path: Path) -> None:
    with h5py.File(path, "w") as archive:
        archive.attrs["model_config"] = "{not json"


def subclassed(path: Path) -> None:
    @keras.saving.register_keras_serializable("tests")
    class Hidden(keras.Model):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.dense = keras.layers.Dense(2)

        def call(self, x: Any) -> Any:
            return self.dense(x)

    model = Hidden(name="hidden")
    model(np.ones((1, 3), np.float32))
    model.save(path)


def unbuilt(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Keras says that it is not built
        keras.Sequential([keras.layers.Dense(2)], name="bare").save(path)


CONFIG = json.dumps(
    {"module": "keras", "class_name": "Dog", "config": {}, "registered_name": "Dog"}
)
METADATA = json.dumps({"keras_version": "3.15.1"})
NO_MODELS: dict[str, tuple[str, Callable[[Path], Any], list[str]]] = {
    "text": ("m.keras", lambda p: p.write_text("hello"), ["neither", ".keras", "file.py:function"]),
    "empty": ("m.h5", lambda p: p.write_bytes(b""), ["0 bytes", "neither"]),
    "tflite": ("m.tflite", lambda p: p.write_bytes(b"\x1c\0\0\0TFL3" + bytes(64)), ["neither"]),
    "zip without model": ("m.zip", lambda p: write_zip(p, readme="x"), ["no Keras model"]),
    "config is no JSON": (
        "m.keras",
        lambda p: write_zip(p, config_json="{oops", metadata_json=METADATA),
        ["damaged"],
    ),
    "metadata is no object": (
        "m.keras",
        lambda p: write_zip(p, config_json=CONFIG, metadata_json="[]"),
        ["damaged"],
    ),
    "unknown class": (
        "m.keras",
        lambda p: write_zip(p, config_json=CONFIG, metadata_json=METADATA),
        ["Dog'", "--custom-objects"],
    ),
    "config is a list": (
        "m.keras",
        lambda p: write_zip(p, config_json="[1]", metadata_json=METADATA),
        ["cannot be loaded"],
    ),
    "weights only": ("m.h5", weights_of_h5, ["weights but no architecture", "model.save("]),
    "HDF5 with odd configuration": ("m.h5", odd_h5, ["damaged"]),
    "SavedModel": ("folder", saved_model, ["SavedModel", "model.save('model.keras')"]),
    "missing": ("m.keras", lambda p: None, ["does not exist"]),
    "subclassed": ("m.keras", subclassed, ["subclassed", "functional"]),
    "unbuilt Sequential": ("m.keras", unbuilt, ["keras.Input(shape"]),
}


@pytest.mark.parametrize("case", NO_MODELS)
def test_what_is_no_model_is_refused_with_the_way_out(case: str, tmp_path: Path) -> None:
    name, write, words = NO_MODELS[case]
    write(tmp_path / name)
    refused(tmp_path / name, *words)


def with_lambda(kit: Any, wrap: Callable[[Any, Any], Any]) -> Any:
    image = kit.Input((4, 4))
    double = kit.layers.Lambda(lambda x: x * 2, name="evil")
    return kit.Model(image, kit.layers.Dense(2)(wrap(kit, double)(image)))


WRAPS: dict[str, Callable[[Any, Any], Any]] = {
    "plain": lambda kit, layer: layer,
    "nested": lambda kit, layer: kit.Sequential([kit.Input((4, 4)), layer]),
    "time distributed": lambda kit, layer: kit.layers.TimeDistributed(layer),
}


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("name", FORMATS)
def test_a_lambda_is_refused_unless_the_user_trusts_it(
    name: str, wrap: str, tmp_path: Path
) -> None:
    model = with_lambda(tf_keras if name.startswith("keras2") else keras, WRAPS[wrap])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model.save(tmp_path / name)
    refused(tmp_path / name, "Lambda", "evil", "--unsafe", "safe=False", "layer class")
    if name.startswith("keras2") and wrap == "time distributed":
        return  # too deep for the bridge between the Kerases
    trusted = load_model(tmp_path / name, safe=False)
    ones = np.ones((1, 4, 4), np.float32)
    np.testing.assert_allclose(trusted(ones), model(ones), rtol=1e-5)


@pytest.mark.parametrize("name", ["keras2.keras", "keras3.keras"])
@pytest.mark.parametrize("place", ["model", "layer", "activation"])
def test_a_file_that_names_a_python_module_does_not_get_it_imported(
    place: str, name: str, saved: Path, tmp_path: Path
) -> None:
    (tmp_path / "trap.py").write_text(
        f"open({str(tmp_path / 'sprung')!r}, 'w').close()\ndef spring(x=None, **_): return x\n"
    )
    with zipfile.ZipFile(saved / name) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    config = json.loads(members["config.json"])
    layer = config["config"]["layers"][-1]
    trap = {"module": "trap", "class_name": "spring", "registered_name": None}
    if place == "activation":
        layer["config"]["activation"] = {**trap, "class_name": "function", "config": "spring"}
    else:
        (layer if place == "layer" else config).update(trap)
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, json.dumps(config) if member == "config.json" else content)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        refused(tmp_path / name, "'spring'", "--custom-objects")
    assert not (tmp_path / "sprung").exists()
