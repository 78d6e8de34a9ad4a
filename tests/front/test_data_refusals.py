"""Data that cannot be used: one sentence that names the thing, the value and the rule."""

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.data import load_data, memory
from edgekit.errors import DataError
from edgekit_converters.errors import ModelLoadError

X = np.linspace(0, 1, 40 * 16).reshape(40, 4, 4, 1)
Y = np.arange(40) % 4
SHAPE = (4, 4, 1)


def with_at(array: Any, place: int, value: Any) -> Any:
    changed = np.array(array, dtype=float)
    changed[place] = value
    return changed


def splits(**changes: Any) -> dict[str, Any]:
    own = {"x_train": X, "y_train": Y, "x_val": X, "y_val": Y, "x_test": X, "y_test": Y}
    return {**own, **changes}


def without(name: str) -> dict[str, Any]:
    return {key: array for key, array in splits().items() if key != name}


ARRAYS = {
    "nan": ({"x": with_at(X, 5, np.nan), "y": Y}, "NaN or infinite values, first in sample 5"),
    "infinite": ({"x": with_at(X, 6, np.inf), "y": Y}, "first in sample 6"),
    "too-big-for-float32": ({"x": with_at(X, 3, 1e300), "y": Y}, "first in sample 3"),
    "wrong-shape": ({"x": X[:, :3], "y": Y}, "samples of shape (3, 4, 1), but the model takes (4"),
    "flat": ({"x": X.reshape(40, 16), "y": Y}, "samples of shape (16,)"),
    "one-axis": ({"x": X[:, 0, 0, 0], "y": Y}, "x of shape (40,)"),
    "scalar": ({"x": np.float64(1), "y": Y}, "x of shape ()"),
    "complex": ({"x": X + 1j, "y": Y}, "x of type complex128; numbers are needed"),
    "empty": ({"x": X[:0], "y": Y[:0]}, "the train split is empty"),
    "no-values": ({"x": X[:, :, :0], "y": Y}, "x of shape (40, 4, 0, 1), samples without a single"),
    "no-mask-values": ({"x": X, "y": np.zeros((40, 0, 4), int)}, "(40, 0, 4), without a single"),
    "no-channels": ({"x": X, "y": np.zeros((40, 16, 16, 0))}, "(40, 16, 16, 0), without a single"),
    "empty-test": (splits(x_test=X[:0], y_test=Y[:0]), "the test split is empty"),
    "empty-val": (splits(x_val=X[:0], y_val=Y[:0]), "the val split is empty"),
    "lengths": ({"x": X, "y": Y[:39]}, "40 samples but 39 labels"),
    "negative": ({"x": X, "y": Y - 1}, "label -1; labels are class numbers from 0 on"),
    "half": ({"x": X, "y": with_at(Y, 7, 0.5)}, "not whole numbers (such as 0.5)"),
    "nan-label": ({"x": X, "y": with_at(Y, 7, np.nan)}, "not whole numbers (such as nan)"),
    "infinite-label": ({"x": X, "y": with_at(Y, 7, np.inf)}, "not whole numbers (such as inf)"),
    "names-as-labels": ({"x": X, "y": np.array(["cat", "dog"] * 20)}, "labels of type <U3"),
    "not-one-hot": ({"x": X, "y": np.ones((40, 3))}, "(40, 3) that are not one-hot"),
    "test-label-not-trained": (splits(y_test=Y + 1), "test split has label 4, but the training"),
    "val-label-not-trained": (splits(y_val=Y + 2), "val split has label 5, but the training"),
    "one-class": ({"x": X, "y": Y * 0}, "all training labels are 0"),
    "one-class-not-0": ({"x": X, "y": Y * 0 + 3}, "all training labels are 3"),
    "rare-class": ({"x": X, "y": with_at(Y * 0, 39, 5)}, "class 5 has 1 training sample(s)"),
    "no-labels": ({"x": X}, "data.npz holds x; needed are x_train"),
    "no-test-labels": (without("y_test"), "data.npz has x_test without y_test; every split needs"),
    "no-val-labels": (without("y_val"), "has x_val without y_val"),
    "no-test-samples": (
        without("x_test"),
        "y_test without x_test; every split needs both. Add x_t",
    ),
    "no-train-samples": (without("x_train"), "has y_train without x_train"),
    "nothing": ({}, "data.npz holds nothing; needed are"),
    "objects": ({"x": X, "y": np.array([None] * 40)}, "Object arrays cannot be loaded"),
}


@pytest.mark.parametrize(("arrays", "says"), ARRAYS.values(), ids=ARRAYS)
def test_arrays_that_cannot_be_trained_on_are_refused(
    tmp_path: Path, arrays: dict[str, Any], says: str
) -> None:
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(DataError, match=re.escape(says)) as error:
        load_data(tmp_path / "data.npz", SHAPE)
    text = str(error.value)
    assert "data.npz" in text
    assert "\n" not in text


def test_arrays_that_memory_cannot_hold_as_float32_are_refused() -> None:
    x = np.broadcast_to(np.uint8(0), (10**6, 1000, 1000))
    with pytest.raises(DataError, match=r"arrays: 1000001000000 values take 8400\.0 GB"):
        load_data({"x": x, "y": np.zeros(10**6, int)})


def test_an_npz_that_memory_cannot_hold_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez_compressed(tmp_path / "data.npz", x=X, y=Y)
    monkeypatch.setattr(memory, "_SHARE_OF_MEMORY", 1e-8)
    with pytest.raises(DataError, match=r"The arrays of .*data\.npz take .* Give fewer"):
        load_data(tmp_path / "data.npz", SHAPE)


def cut(whole: bytes) -> bytes:
    return whole[: len(whole) // 2]


def spoil(whole: bytes) -> bytes:
    return whole[:100] + bytes(40) + whole[140:]


def lone_array(_: bytes) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, X)
    return buffer.getvalue()


def encrypted(whole: bytes) -> bytes:
    changed = bytearray(whole)
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        changed[whole.index(signature) + flags] |= 1
    return bytes(changed)


def packed_otherwise(whole: bytes) -> bytes:
    changed = bytearray(whole)
    for signature, method in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        changed[whole.index(signature) + method] = 97  # WavPack
    return bytes(changed)


def boundless(_: bytes) -> bytes:
    header, buffer = io.BytesIO(), io.BytesIO()
    shape = {"descr": "<f8", "fortran_order": False, "shape": (10**17,)}
    np.lib.format.write_array_header_1_0(header, shape)
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x.npy", header.getvalue())
    return buffer.getvalue()


@pytest.mark.parametrize(
    "damage",
    [
        encrypted,
        packed_otherwise,
        boundless,
        cut,
        spoil,
        lone_array,
        lambda _: b"",
        lambda _: b"text",
    ],
)
def test_a_damaged_npz_is_named(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    file = tmp_path / "data.npz"
    np.savez_compressed(file, x=X, y=Y)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(DataError, match=r"cannot be read as \.npz") as error:
        load_data(file, SHAPE)
    assert str(file) in str(error.value)


def test_a_missing_npz_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.npz does not exist"):
        load_data(tmp_path / "none.npz", SHAPE)


@pytest.mark.parametrize("source", ["digits", "glyphs", {"x": X, "y": Y}])
@pytest.mark.parametrize("seed", [-1, 2**32, 0.5, None])
def test_a_seed_is_a_number_that_all_generators_take(source: Any, seed: Any) -> None:
    with pytest.raises(
        DataError, match=re.escape(f"seed is {seed!r}; give a whole number between")
    ):
        load_data(source, seed=seed)


@pytest.mark.parametrize("source", ["imagenet", "no/such/folder", "data.csv", "source.py"])
def test_an_unknown_source_is_answered_with_the_known_ones(source: str) -> None:
    with pytest.raises(
        DataError, match=r"is not a data set: give digits, glyphs, .* an \.npz file"
    ) as error:
        load_data(source, SHAPE)
    assert repr(source) in str(error.value)


FUNCTIONS = {
    "none": (DataError, "gave NoneType; give ((x_train, y_train)"),
    "triple": (DataError, "gave tuple; give ((x_train, y_train)"),
    "ragged": (DataError, "samples of different shapes in x"),
    "no_labels": (DataError, "holds x; needed are"),
    "fails": (ModelLoadError, "fails with ValueError: the disk is gone"),
    "missing": (ModelLoadError, "has no function 'missing'"),
    "NOT_CALLABLE": (ModelLoadError, "has no function 'NOT_CALLABLE'"),
    "": (DataError, "give file.py:function"),
}


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda name: name or "no-name")
def test_a_function_that_gives_no_data_is_refused(tmp_path: Path, function: str) -> None:
    file = tmp_path / "source.py"
    file.write_text("""
NOT_CALLABLE = 3
def none(): return None
def triple(): return 1, 2, 3
def ragged(): return {"x": [[1, 2], [3]], "y": [0, 1]}
def no_labels(): return {"x": [[1.0] * 4] * 8}
def fails(): raise ValueError("the disk is gone")
""")
    kind, says = FUNCTIONS[function]
    with pytest.raises(kind, match=re.escape(says)) as error:
        load_data(f"{file}:{function}", SHAPE)
    assert "source.py" in str(error.value)


def test_a_missing_or_broken_python_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"none\.py does not exist"):
        load_data(f"{tmp_path}/none.py:data", SHAPE)
    (tmp_path / "broken.py").write_text("def data(:\n")
    with pytest.raises(ModelLoadError, match=r"broken\.py fails with SyntaxError"):
        load_data(f"{tmp_path}/broken.py:data", SHAPE)
