"""Export: every scheme writes a file that loads, computes the same and is what it says."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from converter_models import MODELS, outputs, randomise
from keras import layers

from edgekit_converters import Exported, Lcrm, Quantize, Recipe, export_tflite
from edgekit_converters.export import note_task
from edgekit_converters.graph import functional
from edgekit_converters.parents import digits_cnn
from edgekit_converters.passes import SCHEMES

FORMS = [f"{scheme}" for scheme in SCHEMES] + ["int8-int", "int16x8-int"]


def by_dict() -> Any:
    """Inputs given by name, of one shape but unlike ranges; no order is alphabetical."""
    inputs = {name: keras.Input((5, 5, 2), name=name) for name in ("wide", "narrow")}
    x = layers.Concatenate()([inputs["wide"], inputs["narrow"]])
    x = layers.Conv2D(4, 3, activation="relu")(x)
    return keras.Model(inputs, {"z": layers.Flatten(name="z")(x), "a": layers.Dense(2)(x)})


def words() -> Any:
    text = keras.Input((6,), dtype="int32", name="text")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(30, 4)(text))
    return keras.Model(text, layers.Dense(3, activation="softmax")(x))


def bytes_in() -> Any:
    image = keras.Input((6, 6, 3), dtype="uint8", name="pixels")
    x = layers.Conv2D(4, 3, activation="relu")(layers.Rescaling(1 / 255)(image))
    return keras.Model(image, layers.Dense(2)(layers.Flatten()(x)))


MAKERS: dict[str, Callable[[], Any]] = {
    "sequential": MODELS["sequential"],
    "two_by_two": MODELS["two_by_two"],
    "nested_twice": MODELS["nested_twice"],
    "by_dict": by_dict,
    "words": words,
    "bytes_in": bytes_in,
}


CLOSE = {"float32": 1e-5, "float16": 5e-3, "dynamic": 0.02, "int8": 0.12, "int16x8": 0.05}
PAIRS = [
    (name, form)
    for name in MAKERS
    for form in FORMS
    # TensorFlow's calibrator sees no range of an integer that an Embedding reads.
    if not (name == "words" and form.startswith("int16"))
]


def representative(model: Any, count: int = 12) -> list[Any]:
    """Inputs of very different ranges: mixing them up would show in the scales."""
    rng = np.random.default_rng(4)
    found = []
    for position, tensor in enumerate(model.inputs):
        shape = (count, *tensor.shape[1:])
        if "int" in tensor.dtype:
            found.append(rng.integers(0, 30, shape).astype(tensor.dtype))
        else:
            found.append((rng.uniform(-1, 1, shape) * 10**position).astype(tensor.dtype))
    return found


def quantize(form: str) -> Quantize:
    scheme, _, ends = form.partition("-")
    return Quantize(scheme, ends or "float")  # type: ignore[arg-type]


Make = Callable[[str, str], tuple[Any, Exported]]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Exports each model in each form once."""
    models: dict[str, Any] = {}
    done: dict[tuple[str, str], Exported] = {}

    def export(name: str, form: str) -> tuple[Any, Exported]:
        if name not in models:
            keras.utils.set_random_seed(1)
            models[name] = randomise(MAKERS[name]())
        model = models[name]
        if (name, form) not in done:
            folder = tmp_path_factory.mktemp(f"{name}-{form}")
            done[name, form] = export_tflite(
                model, quantize(form), folder / "m.tflite", representative=representative(model)
            )
        return model, done[name, form]

    return export


def opened(path: Path) -> Interpreter:
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def manifest_of(exported: Exported) -> dict[str, Any]:
    return dict(json.loads(exported.manifest.read_text()))


@pytest.mark.parametrize(("name", "form"), PAIRS)
def test_the_file_loads_with_batch_1_and_the_manifest_describes_it(
    name: str, form: str, make: Make
) -> None:
    model, exported = make(name, form)
    interpreter, manifest = opened(exported.path), manifest_of(exported)
    details = interpreter.get_input_details() + interpreter.get_output_details()
    by_name = {detail["name"]: detail for detail in details}
    tensors = manifest["inputs"] + manifest["outputs"]
    assert len(tensors) == len(details) == len(model.inputs) + len(model.outputs)
    for tensor in tensors:
        detail = by_name[tensor["name"]]
        assert tensor["shape"] == [*detail["shape"]] == [*detail["shape_signature"]]
        assert tensor["shape"][0] == 1
        assert tensor["dtype"] == np.dtype(detail["dtype"]).name
        scale, zero_point = detail["quantization"]
        assert (tensor["scale"] or 0.0) == pytest.approx(scale)
        assert (tensor["zero_point"] or 0) == zero_point
        whole = {"int8-int": "int8", "int16x8-int": "int16"}.get(form)
        if whole and not (tensor in manifest["inputs"] and name in ("words", "bytes_in")):
            assert tensor["dtype"] == whole
            assert tensor["scale"] > 0
    assert [tuple(t["shape"][1:]) for t in manifest["inputs"]] == [
        tuple(tensor.shape[1:]) for tensor in model.inputs
    ]
    signature = interpreter.get_signature_list()["serving_default"]
    assert {t["key"] for t in manifest["inputs"]} == {*signature["inputs"]}
    assert {t["key"] for t in manifest["outputs"]} == {*signature["outputs"]}


@pytest.mark.parametrize(("name", "form"), PAIRS)
def test_the_file_computes_what_the_model_does(name: str, form: str, make: Make) -> None:
    model, exported = make(name, form)
    manifest, interpreter = manifest_of(exported), opened(exported.path)
    index = {d["name"]: d["index"] for d in interpreter.get_input_details()}
    index |= {d["name"]: d["index"] for d in interpreter.get_output_details()}
    allowed = CLOSE[form.partition("-")[0]]
    for row in range(3):
        inputs = [array[row : row + 1] for array in representative(model)]
        for tensor, value in zip(manifest["inputs"], inputs, strict=True):
            if tensor["scale"] is not None:
                value = np.round(value / tensor["scale"]) + tensor["zero_point"]
            interpreter.set_tensor(index[tensor["name"]], value.astype(tensor["dtype"]))
        interpreter.invoke()
        packed = keras.tree.pack_sequence_as(functional(model).input, inputs)
        wanted = keras.tree.flatten(model(packed, training=False))
        for tensor, expected in zip(manifest["outputs"], wanted, strict=True):
            got = interpreter.get_tensor(index[tensor["name"]]).astype(np.float64)
            if tensor["scale"] is not None:
                got = (got - tensor["zero_point"]) * tensor["scale"]
            scale = np.abs(np.asarray(expected)).max()
            assert np.abs(got - expected).max() <= allowed * scale, tensor["key"]


@pytest.mark.parametrize("form", ["int8", "int8-int", "int16x8"])
def test_an_integer_file_keeps_its_weights_in_bytes(form: str, make: Make) -> None:
    _, exported = make("sequential", form)
    interpreter = opened(exported.path)
    kinds = {tuple(t["shape"]): np.dtype(t["dtype"]).name for t in interpreter.get_tensor_details()}
    assert kinds[4, 3, 3, 3] == kinds[8, 3, 3, 4] == kinds[3, 288] == "int8"
    activations = {np.dtype(t["dtype"]).name for t in interpreter.get_tensor_details()}
    assert ("int16" if form == "int16x8" else "int8") in activations
    assert ("float32" in activations) == (not form.endswith("-int"))


def test_a_smaller_scheme_gives_a_smaller_file(tmp_path: Path) -> None:
    model = digits_cnn()
    done = [
        export_tflite(
            model, Quantize(scheme), tmp_path / f"{scheme}.tflite",
            representative=representative(model),
        )
        for scheme in ("float32", "float16", "dynamic", "int8")
    ]  # fmt: skip
    whole, half, dynamic, integer = (each.file_bytes for each in done)
    assert half < 0.55 * whole
    assert dynamic < 0.35 * whole
    assert integer < 0.35 * whole
    assert all(each.gzip_bytes < each.file_bytes for each in done)


@pytest.mark.parametrize("form", ["float32", "int8"])
def test_the_manifest_names_file_recipe_versions_and_task(form: str, tmp_path: Path) -> None:
    model = MODELS["sequential"]()
    exported = export_tflite(
        model, quantize(form), tmp_path / "deep" / "m.tflite",
        representative=representative(model), recipe=Recipe((Lcrm("table4"), quantize(form))),
        task={"name": "digits", "metric": "accuracy", "value": 0.9},
    )  # fmt: skip
    manifest, content = manifest_of(exported), exported.path.read_bytes()
    assert manifest["schema"] == "edgekit.manifest/1"
    assert manifest["sha256"] == exported.sha256 == hashlib.sha256(content).hexdigest()
    assert manifest["bytes"] == exported.file_bytes == len(content)
    assert manifest["file"] == "m.tflite"
    assert manifest["recipe"] == f"lcrm(style=table4)+{form}"
    assert manifest["scheme"] == form
    assert manifest["versions"]["keras"] == keras.__version__
    assert {"tensorflow", "numpy", "python", "edgekit-converters"} <= {*manifest["versions"]}
    assert manifest["task"]["value"] == 0.9
    golden = manifest["golden"]
    assert golden["file"] == exported.golden.name
    assert golden["sha256"] == hashlib.sha256(exported.golden.read_bytes()).hexdigest()
    assert sorted(path.name for path in exported.path.parent.iterdir()) == [
        "m.golden.npz", "m.manifest.json", "m.tflite",
    ]  # fmt: skip
    note_task(exported, {"value": 0.8})
    assert manifest_of(exported) == {**manifest, "task": {"value": 0.8}}


@pytest.mark.parametrize("form", ["float32", "int8-int"])
@pytest.mark.parametrize("name", ["sequential", "two_by_two"])
def test_another_batch_size_is_kept(name: str, form: str, tmp_path: Path) -> None:
    model = MAKERS[name]()
    exported = export_tflite(
        model, quantize(form), tmp_path / "m.tflite",
        representative=representative(model, 10), batch=4,
    )  # fmt: skip
    assert all(d["shape_signature"][0] == 4 for d in opened(exported.path).get_input_details())
    assert np.load(exported.golden)["input_0"].shape[:2] == (2, 4)


def test_a_batch_left_open_can_be_resized(tmp_path: Path) -> None:
    model = MODELS["sequential"]()
    exported = export_tflite(model, Quantize("float32"), tmp_path / "m.tflite", batch=None)
    interpreter = Interpreter(model_path=str(exported.path))
    (detail,) = interpreter.get_input_details()
    assert detail["shape_signature"][0] == -1
    interpreter.resize_tensor_input(detail["index"], (5, 8, 8, 3))
    interpreter.allocate_tensors()
    x = representative(model)[0][:5]
    interpreter.set_tensor(detail["index"], x)
    interpreter.invoke()
    got = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(got, outputs(model, [x])[0], atol=1e-5)


@pytest.mark.parametrize("form", ["float32", "dynamic", "int8", "int16x8"])
def test_the_same_weights_give_the_same_bytes_again(form: str, make: Make, tmp_path: Path) -> None:
    for name in ("sequential", "two_by_two"):
        model, exported = make(name, form)
        again = export_tflite(
            model, quantize(form), tmp_path / f"{name}.tflite",
            representative=representative(model),
        )  # fmt: skip
        assert again.sha256 == exported.sha256
        assert again.golden.read_bytes() == exported.golden.read_bytes()


ANOTHER_PROCESS = """
import sys, numpy as np, edgekit_converters as ec
folder, warm_up = sys.argv[1:]
for _ in range(int(warm_up)):
    import keras; keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
model = ec.load_model(folder + "/m.keras")
data = [np.load(folder + "/x.npy")]
for scheme in ("float32", "int8"):
    done = ec.export_tflite(model, ec.Quantize(scheme), f"{folder}/{warm_up}.tflite",
                            representative=data)
    print(done.sha256)
"""


def test_the_same_weights_give_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    model = MODELS["sequential"]()
    model.save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", representative(model)[0])
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", ANOTHER_PROCESS, str(tmp_path), warm_up],
            stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONHASHSEED": warm_up},
        )
        for warm_up in ("0", "3")
    ]  # fmt: skip
    printed = [run.communicate()[0].split()[-2:] for run in runs]
    assert printed[0] == printed[1]
    assert len({*printed[0]}) == 2
