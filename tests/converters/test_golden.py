"""Golden outputs: a right runtime replays them, a wrong file does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from converter_models import MODELS, outputs, randomise, samples

from edgekit_converters import Exported, ExportError, Quantize, export_tflite
from edgekit_converters.tflite import correct, open_file, predict

FORMS = {
    "float32": Quantize("float32"),
    "float16": Quantize("float16"),
    "dynamic": Quantize("dynamic"),
    "int8": Quantize("int8"),
    "int8-int": Quantize("int8", "int"),
    "int16x8": Quantize("int16x8"),
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Exported]:
    folder, done = tmp_path_factory.mktemp("golden"), {}
    for name in ("sequential", "two_by_two"):
        model = randomise(MODELS[name]())
        for form, how in FORMS.items():
            done[name, form] = export_tflite(
                model, how, folder / f"{name}-{form}.tflite", representative=samples(model, 12)
            )
    return done


def replay(exported: Exported, content: bytes, resolver: OpResolverType) -> list[bool]:
    """For each output whether another runtime's results stay within the manifest's tolerance."""
    manifest = json.loads(exported.manifest.read_text())
    golden = np.load(exported.golden)
    interpreter = Interpreter(model_content=content, experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    index = {
        d["name"]: d["index"]
        for d in interpreter.get_input_details() + interpreter.get_output_details()
    }
    within = [True] * len(manifest["outputs"])
    for sample in range(manifest["golden"]["samples"]):
        for i, tensor in enumerate(manifest["inputs"]):
            interpreter.set_tensor(index[tensor["name"]], golden[f"input_{i}"][sample])
        interpreter.invoke()
        for j, tensor in enumerate(manifest["outputs"]):
            got = interpreter.get_tensor(index[tensor["name"]]).astype(np.float64)
            off = np.abs(got - golden[f"output_{j}"][sample]).max()
            within[j] &= bool(off <= manifest["golden"]["tolerance"][j])
    return within


RESOLVERS = {"plain": OpResolverType.BUILTIN_REF, "optimised": OpResolverType.AUTO}


@pytest.mark.parametrize("resolver", RESOLVERS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["sequential", "two_by_two"])
def test_golden_outputs_replay_within_tolerance(
    name: str, form: str, resolver: str, exported: dict[tuple[str, str], Exported]
) -> None:
    done = exported[name, form]
    assert all(replay(done, done.path.read_bytes(), RESOLVERS[resolver]))


def weights_in(exported: Exported) -> Any:
    """Where the file's largest constant lies, and its values."""
    interpreter = Interpreter(model_path=str(exported.path))
    interpreter.allocate_tensors()
    content = exported.path.read_bytes()
    found = []
    for tensor in interpreter.get_tensor_details():
        try:
            value = interpreter.get_tensor(tensor["index"])
        except ValueError:
            continue
        if value.ndim > 1 and value.nbytes > 40 and value.tobytes() in content:
            found.append((content.index(value.tobytes()), value))
    return content, max(found, key=lambda pair: pair[1].nbytes)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["sequential", "two_by_two"])
def test_changed_weights_fail_the_replay(
    name: str, form: str, exported: dict[tuple[str, str], Exported]
) -> None:
    done = exported[name, form]
    content, (start, weights) = weights_in(done)
    tampered = bytearray(content)
    changed = np.roll(weights, 1, axis=-1).tobytes()
    tampered[start : start + len(changed)] = changed
    assert not all(replay(done, bytes(tampered), OpResolverType.AUTO))


@pytest.mark.parametrize("form", FORMS)
def test_a_golden_file_holds_what_the_manifest_says(
    form: str, exported: dict[tuple[str, str], Exported]
) -> None:
    done = exported["two_by_two", form]
    manifest, golden = json.loads(done.manifest.read_text()), np.load(done.golden)
    assert sorted(golden.files) == ["input_0", "input_1", "output_0", "output_1"]
    for kind in ("input", "output"):
        for i, tensor in enumerate(manifest[f"{kind}s"]):
            array = golden[f"{kind}_{i}"]
            assert array.shape == (manifest["golden"]["samples"], *tensor["shape"])
            assert array.dtype == tensor["dtype"]
            assert array.min() < array.max()
    assert len(manifest["golden"]["tolerance"]) == len(manifest["golden"]["keras_difference"]) == 2
    limit = {"float32": 1e-5, "float16": 5e-3}.get(form, 0.06)
    assert max(manifest["golden"]["keras_difference"]) < limit
    if form == "int8-int":
        assert min(manifest["golden"]["tolerance"]) >= 2


@pytest.mark.parametrize("batch", [1, 4])
def test_the_file_is_right_where_it_finds_the_label(batch: int, tmp_path: Path) -> None:
    model = MODELS["sequential"]()
    x = samples(model, 18)[0]
    export_tflite(model, Quantize("float32"), tmp_path / "m.tflite", batch=batch)
    found = [scores for (scores,) in predict(tmp_path / "m.tflite", x)]
    np.testing.assert_allclose(found, outputs(model, [x])[0], atol=1e-5)
    labels = [int(np.argmax(scores)) for scores in found]
    wrong = [(label + 1) % 3 for label in labels]
    mixed = [*labels[:11], *wrong[11:]]
    assert correct(tmp_path / "m.tflite", x, mixed) == [True] * 11 + [False] * 7


@pytest.mark.parametrize(("from_logits", "threshold"), [(True, 0.0), (False, 0.5)])
def test_a_single_unit_decides_at_its_threshold(
    from_logits: bool, threshold: float, tmp_path: Path
) -> None:
    x = np.linspace(-1, 1.5, 11, dtype=np.float32)[:, None]
    vector = keras.Input((1,))
    model = keras.Model(vector, keras.layers.Rescaling(1.0)(vector))
    export_tflite(model, Quantize("float32"), tmp_path / "m.tflite")
    ones = correct(tmp_path / "m.tflite", x, [1] * 11, from_logits=from_logits)
    assert ones == [bool(value > threshold) for value in x[:, 0]]


def test_a_broken_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(b"no model" * 10)
    with pytest.raises(ExportError, match=r"ai-edge-litert .* cannot load m\.tflite"):
        open_file(tmp_path / "m.tflite")
