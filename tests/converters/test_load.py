"""Models in: what Keras 3 wrote, or a function returns, comes back computing the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import pytest
from converter_models import MODELS, assert_same, outputs, randomise, samples

from edgekit_converters import ModelLoadError, load_model

OWN_LAYER = """
import keras
class Doubled(keras.layers.Layer):
    def call(self, x):
        return 2 * x
def swoosh(x):
    return x * keras.ops.sigmoid(x)
"""


@pytest.fixture(autouse=True)
def _unregister() -> Iterator[None]:
    yield
    keras.saving.get_custom_objects().clear()


def module_of(path: Path, source: str = OWN_LAYER) -> dict[str, Any]:
    """Writes the user's file and gives its names, as the user's own program would see them."""
    path.write_text(source)
    names: dict[str, Any] = {"__name__": path.stem}
    exec(compile(source, str(path), "exec"), names)
    return names


@pytest.mark.parametrize(
    ("name", "suffix"),
    # Keras 3 cannot read the operators back from its .h5: that has a test of its own.
    [*((name, "keras") for name in MODELS), *((n, "h5") for n in MODELS if n != "operators")],
)
def test_a_keras_3_file_computes_what_was_saved(name: str, suffix: str, tmp_path: Path) -> None:
    model = randomise(MODELS[name]())
    model.save(tmp_path / f"m.{suffix}")
    loaded = load_model(tmp_path / f"m.{suffix}")
    assert_same(outputs(loaded, samples(model)), outputs(model, samples(model)))
    assert [tuple(t.shape) for t in loaded.inputs] == [tuple(t.shape) for t in model.inputs]


def test_an_h5_that_keras_cannot_read_back_says_to_save_as_keras(tmp_path: Path) -> None:
    MODELS["operators"]().save(tmp_path / "m.h5")
    with pytest.raises(ModelLoadError, match=r"m\.h5 applies the bare operation .*model\.keras"):
        load_model(tmp_path / "m.h5")


def test_a_compiled_model_loads_without_its_optimizer(tmp_path: Path) -> None:
    model = MODELS["sequential"]()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.save(tmp_path / "m.keras")
    assert not load_model(tmp_path / "m.keras").compiled


def test_a_function_gives_its_model(tmp_path: Path) -> None:
    (tmp_path / "sizes.py").write_text("WIDTH = 3\n")
    (tmp_path / "parent.py").write_text(
        "import keras\nfrom sizes import WIDTH\n"
        "def make():\n"
        "    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(WIDTH)])\n"
    )
    assert load_model(f"{tmp_path}/parent.py:make").output_shape == (None, 3)


BROKEN_FUNCTIONS = {
    "file missing": ("", "absent.py:make", ["absent.py", "does not exist"]),
    "function missing": ("x = 1", "f.py:make", ["f.py", "no function 'make'", "file.py:function"]),
    "not callable": ("make = 3", "f.py:make", ["no function 'make'"]),
    "file fails": ("1 / 0", "f.py:make", ["f.py", "ZeroDivisionError"]),
    "syntax error": ("def make(:", "f.py:make", ["f.py", "SyntaxError"]),
    "function fails": ("def make(): raise KeyError('x')", "f.py:make", ["f.py:make", "KeyError"]),
    "needs arguments": ("def make(n): pass", "f.py:make", ["f.py:make", "TypeError"]),
    "exits": ("def make(): raise SystemExit(3)", "f.py:make", ["f.py:make", "SystemExit"]),
    "returns None": ("def make(): pass", "f.py:make", ["NoneType", "keras.Model"]),
    "returns a number": ("def make(): return 3", "f.py:make", ["int", "keras.Model"]),
    "returns Keras 2": (
        "import tf_keras\n"
        "def make(): return tf_keras.Sequential([tf_keras.Input((2,)), tf_keras.layers.Dense(1)])",
        "f.py:make",
        ["Keras 3", "import keras"],
    ),
    "returns no layers": (
        "import keras\ndef make():\n    x = keras.Input((2,))\n    return keras.Model(x, x)",
        "f.py:make",
        ["no layers"],
    ),
    "returns a model without input": (
        "import keras\ndef make(): return keras.Sequential([keras.layers.Dense(2)], name='bare')",
        "f.py:make",
        ["'bare'", "keras.Input"],
    ),
    "returns an empty Sequential": (
        "import keras\ndef make(): return keras.Sequential(name='bare')",
        "f.py:make",
        ["'bare'", "keras.Input"],
    ),
    "returns a subclassed model": (
        "import keras\nclass Own(keras.Model):\n    def call(self, x): return x\n"
        "def make(): return Own(name='hidden')",
        "f.py:make",
        ["'hidden'", "subclassed", "functional"],
    ),
    "returns a functional model with a call of its own": (
        "import keras\nclass Own(keras.Model):\n    def call(self, x): return -x\n"
        "def make():\n    x = keras.Input((2,))\n"
        "    return Own(x, keras.layers.Dense(1)(x), name='hidden')",
        "f.py:make",
        ["'hidden'", "subclassed"],
    ),
}


@pytest.mark.parametrize("case", BROKEN_FUNCTIONS)
def test_a_function_that_gives_no_usable_model_is_refused(case: str, tmp_path: Path) -> None:
    source, given, words = BROKEN_FUNCTIONS[case]
    if source:
        (tmp_path / "f.py").write_text(source + "\n")
    with pytest.raises(ModelLoadError) as refusal:
        load_model(f"{tmp_path}/{given}")
    for word in words:
        assert word in str(refusal.value)


def test_a_class_that_only_builds_a_functional_model_is_fine(tmp_path: Path) -> None:
    (tmp_path / "f.py").write_text(
        "import keras\nclass Own(keras.Model):\n    def __init__(self):\n"
        "        x = keras.Input((2,))\n        super().__init__(x, keras.layers.Dense(1)(x))\n"
        "def make(): return Own()\n"
    )
    assert load_model(f"{tmp_path}/f.py:make").output_shape == (None, 1)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("missing", ["Doubled", "swoosh"])
def test_custom_objects_are_asked_for_and_used(missing: str, suffix: str, tmp_path: Path) -> None:
    names = module_of(tmp_path / "own.py")
    x = keras.Input((4,))
    y = keras.layers.Dense(3, activation=names["swoosh"] if missing == "swoosh" else None)(x)
    model = keras.Model(x, names["Doubled"]()(y) if missing == "Doubled" else y)
    file = tmp_path / f"m.{suffix}"
    model.save(file)
    with pytest.raises(ModelLoadError) as refusal:
        load_model(file)
    for word in (file.name, missing, "--custom-objects"):
        assert word in str(refusal.value)
    loaded = load_model(file, custom_objects=tmp_path / "own.py")
    assert_same(outputs(loaded, samples(model)), outputs(model, samples(model)))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (None, ["does not exist"]),
        ("1 / 0", ["ZeroDivisionError"]),
        ("import os\nx = 3", ["defines no class or function"]),
    ],
    ids=["missing", "fails", "empty"],
)
def test_an_unfit_custom_objects_file_is_named(
    source: str | None, words: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "own.py"
    if source is not None:
        file.write_text(source + "\n")
    with pytest.raises(ModelLoadError) as refusal:
        load_model(tmp_path / "m.keras", custom_objects=file)
    for word in ("own.py", *words):
        assert word in str(refusal.value)


@pytest.mark.parametrize(
    "source",
    ["from parts import make", "import functools, parts\nmake = functools.partial(parts.make)"],
    ids=["imported", "partial"],
)
def test_a_file_may_take_its_function_from_elsewhere(source: str, tmp_path: Path) -> None:
    (tmp_path / "parts.py").write_text(
        "import keras\n"
        "def make(): return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])\n"
    )
    (tmp_path / "front.py").write_text(source + "\n")
    assert load_model(f"{tmp_path}/front.py:make").output_shape == (None, 2)
