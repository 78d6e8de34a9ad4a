from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_device import Record, Settings, profile_models
from edgekit_device.errors import ModelError
from edgekit_device.tensors import difference, random_input, read_sample

Copy = Callable[..., Path]
Change = Callable[..., None]
Quick = Callable[..., Settings]


def only(records: list[Record]) -> Record:
    (record,) = records
    return record


@pytest.mark.parametrize("name", ["conv_float32", "conv_int8", "two_by_two"])
def test_the_right_answers_pass(model: Copy, quick: Quick, name: str) -> None:
    record = only(profile_models([model(name)], quick()))
    assert (record.status, record.error) == ("ok", None)
    assert (record.golden.status, record.golden.samples) == ("passed", 4)
    assert record.golden.largest_error is not None
    assert record.golden.tolerance is not None
    assert record.golden.largest_error <= record.golden.tolerance


def test_without_a_manifest_the_check_is_absent_and_the_run_goes_on(
    model: Copy, quick: Quick
) -> None:
    record = only(profile_models([model(bare=True)], quick()))
    assert record.status == "ok"
    assert record.golden.status == "absent"
    assert "conv_float32.manifest.json" in str(record.golden.reason)


@pytest.mark.parametrize(
    ("name", "output", "index", "off", "tolerance"),
    [("conv_float32", 0, (2, 0, 1), 0.5, 1e-5), ("conv_int8", 0, (3, 0, 4), 9, 2)],
)
def test_a_wrong_answer_in_one_value_is_an_error(
    model: Copy,
    change_golden: Change,
    quick: Quick,
    name: str,
    output: int,
    index: tuple[int, ...],
    off: float,
    tolerance: float,
) -> None:
    def edit(arrays: dict[str, np.ndarray]) -> None:
        values = arrays[f"output_{output}"]
        values[index] = values[index] - off if values[index] > 0 else values[index] + off

    path = model(name)
    change_golden(path, edit)
    record = only(profile_models([path], quick()))
    assert record.status == "error"
    assert record.error is not None
    assert record.error.kind == "wrong-answer"
    assert f"sample {index[0]}" in record.error.message
    assert record.runtime.version in record.error.message
    assert "--runtime" in record.error.message
    assert record.golden.status == "failed"
    assert record.golden.largest_error == pytest.approx(off, rel=0.01, abs=2)
    assert record.golden.tolerance == tolerance
    assert record.latency_ms.p50.how == "unavailable"


def test_an_error_within_the_tolerance_passes(
    model: Copy, change_golden: Change, quick: Quick
) -> None:
    path = model("conv_float32")
    change_golden(path, lambda arrays: arrays["output_0"].__iadd__(np.float32(5e-6)))
    record = only(profile_models([path], quick()))
    assert record.golden.status == "passed"
    assert record.golden.largest_error == pytest.approx(5e-6, rel=0.1)


@pytest.mark.parametrize(("off", "status"), [(0, "passed"), (1, "failed")])
def test_a_tolerance_of_0_wants_the_same_bits(
    model: Copy,
    change_golden: Change,
    change_manifest: Change,
    quick: Quick,
    off: int,
    status: str,
) -> None:
    path = model("conv_int8")
    change_golden(path, lambda arrays: arrays["output_0"].__isub__(np.int8(off)))
    change_manifest(path, lambda manifest: manifest["golden"].update(tolerance=[0]))
    record = only(profile_models([path], quick()))
    assert (record.golden.status, record.golden.largest_error) == (status, off)


def test_outputs_are_matched_by_name_not_by_place(
    model: Copy, change_golden: Change, change_manifest: Change, quick: Quick
) -> None:
    def swap_arrays(arrays: dict[str, np.ndarray]) -> None:
        for kind in ("input", "output"):
            first, second = arrays[f"{kind}_0"], arrays[f"{kind}_1"]
            arrays[f"{kind}_0"], arrays[f"{kind}_1"] = second, first

    def swap_names(manifest: dict[str, Any]) -> None:
        manifest["inputs"].reverse()
        manifest["outputs"].reverse()

    path = model("two_by_two")
    change_golden(path, swap_arrays)
    change_manifest(path, swap_names)
    assert only(profile_models([path], quick())).golden.status == "passed"


def test_an_answer_that_is_not_a_number_fails(
    model: Copy, change_golden: Change, quick: Quick
) -> None:
    path = model("two_by_two")

    def edit(arrays: dict[str, np.ndarray]) -> None:
        extra = next(n for n in ("input_0", "input_1") if arrays[n].shape[-1] == 4)
        arrays[extra][1] = np.nan

    change_golden(path, edit)
    record = only(profile_models([path], quick()))
    assert record.golden.status == "failed"
    assert "NaN" in str(record.golden.reason)
    assert "sample 1" in str(record.golden.reason)


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("suffix", [".tflite", ".golden.npz"])
def test_a_tampered_file_is_an_error(model: Copy, quick: Quick, suffix: str) -> None:
    path = model()
    flip_a_bit(path.with_suffix(suffix))
    record = only(profile_models([path], quick()))
    assert record.error is not None
    assert record.error.kind == "golden-files"
    assert f"conv_float32{suffix} is not the file" in record.error.message
    assert record.golden.status == "absent"


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda m: m.update(schema="edgekit.manifest/7"), "schema"),
        (lambda m: m.pop("inputs"), "inputs"),
        (lambda m: m["golden"].update(tolerance=[1, 2, 3]), "one tolerance per output"),
        (lambda m: m["golden"].update(tolerance=[-1]), "not negative"),
        (lambda m: m["golden"].update(samples=0), "at least one sample"),
        (lambda m: m["golden"].update(samples=5), "sample 4 of input_0"),
        (lambda m: m["golden"].update(file="nowhere.npz"), "nowhere.npz"),
        (lambda m: m["outputs"][0].update(name="other"), "'other'"),
    ],
)
def test_a_manifest_that_does_not_fit_is_an_error(
    model: Copy, change_manifest: Change, quick: Quick, edit: Callable[[Any], None], says: str
) -> None:
    path = model()
    change_manifest(path, edit)
    record = only(profile_models([path], quick()))
    assert record.error is not None
    assert record.error.kind == "golden-files"
    assert says in record.error.message


def test_a_manifest_without_golden_file_is_absent(
    model: Copy, change_manifest: Change, quick: Quick
) -> None:
    path = model()
    change_manifest(path, lambda manifest: manifest.pop("golden"))
    record = only(profile_models([path], quick()))
    assert (record.status, record.golden.status) == ("ok", "absent")


def test_a_sample_is_read_alone_whatever_the_memory_order(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    np.savez(tmp_path / "a.npz", c=values, f=np.asfortranarray(values))
    np.savez_compressed(tmp_path / "z.npz", c=values)
    for file, array in (("a.npz", "c"), ("a.npz", "f"), ("z.npz", "c")):
        found = read_sample(tmp_path / file, array, 2)
        np.testing.assert_array_equal(found, values[2])
    with pytest.raises(ModelError, match="sample 4 of c"):
        read_sample(tmp_path / "a.npz", "c", 4)
    with pytest.raises(ModelError, match="nothing"):
        read_sample(tmp_path / "a.npz", "nothing", 0)


@pytest.mark.parametrize(
    ("actual", "golden", "largest"),
    [
        (np.array([1.0, np.inf]), np.array([1.5, np.inf]), 0.5),
        (np.array([np.nan]), np.array([np.nan]), None),
        (np.array([1.0]), np.array([np.inf]), None),
        (np.array([1.0]), np.array([np.nan]), None),
        (np.array([1.0, 2.0]), np.array([1.0]), None),
        (np.array([-128], np.int8), np.array([127], np.int8), 255),
        (np.array([1], np.int8), np.array([1], np.uint8), None),
        (np.array([True, False]), np.array([True, True]), 1),
        (np.zeros((1, 0)), np.zeros((1, 0)), 0),
    ],
)
def test_differences_by_hand(actual: np.ndarray, golden: np.ndarray, largest: float | None) -> None:
    found = difference("out", actual, golden)
    assert found.largest == largest
    assert (found.reason is None) == (largest is not None)


@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.uint8, np.int16, np.int32, np.bool_])
def test_random_inputs_repeat_and_stay_in_range(dtype: type) -> None:
    details = {"name": "x", "shape": np.array([1, 40, 40]), "dtype": dtype}
    values = random_input(details)
    assert (values.shape, values.dtype) == ((1, 40, 40), dtype)
    np.testing.assert_array_equal(values, random_input(details))
    small = np.dtype(dtype).kind in "iu" and np.dtype(dtype).itemsize <= 2
    low, high = (np.iinfo(dtype).min, np.iinfo(dtype).max) if small else (0, 1)
    assert values.min() >= low
    assert values.max() <= high
    assert len(np.unique(values)) > (1 if high == 1 and dtype is not np.float32 else 100)
