"""CIFAR's binary files, and data sets that Keras downloads."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgekit.data import load_data
from edgekit.errors import DataError


def cifar10(folder: Path) -> None:
    """Records as bytes: the label, then red, green and blue planes that tell row and column."""
    folder.mkdir()
    for name in [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]:
        with (folder / name).open("wb") as file:
            for label in range(10):
                red = np.arange(1024, dtype=np.uint16).reshape(32, 32) // 32  # the row
                green = red.T  # the column
                blue = np.full((32, 32), label)
                planes = np.stack([red, green, blue]).astype(np.uint8)
                file.write(bytes([label]) + planes.tobytes())


def test_cifar_10_has_its_labels_rows_and_colours(tmp_path: Path) -> None:
    cifar10(tmp_path / "c")
    data = load_data(str(tmp_path / "c"), (32, 32, 3), pixels="byte")
    assert (data.classes, len(data.test)) == (10, 10)
    assert len(data.train) + len(data.validation) == 50
    image, label = data.test.x[7], data.test.y[7]
    assert label == 7
    assert tuple(image[3, 20]) == (3, 20, 7)


def test_images_are_resized_to_the_model_and_turned_grey(tmp_path: Path) -> None:
    cifar10(tmp_path / "c")
    assert load_data(str(tmp_path / "c"), (16, 20, 1)).test.x.shape == (10, 16, 20, 1)


def test_cifar_100_is_read_by_its_fine_label(tmp_path: Path) -> None:
    for name in ("train.bin", "test.bin"):
        records = [bytes([i % 20, i]) + bytes(3072) for i in range(100)]
        (tmp_path / name).write_bytes(b"".join(records) * (3 if name == "train.bin" else 1))
    data = load_data(str(tmp_path), (32, 32, 3))
    assert data.classes == 100
    assert list(data.test.y) == list(range(100))


def test_a_cut_cifar_file_is_named_with_what_it_lacks(tmp_path: Path) -> None:
    cifar10(tmp_path / "c")
    file = tmp_path / "c" / "data_batch_3.bin"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"data_batch_3\.bin has 30630 bytes.*3073.*byte 27657"):
        load_data(str(tmp_path / "c"), (32, 32, 3))


def without(*names: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return spoil


def sixth(folder: Path) -> None:
    (folder / "data_batch_6.bin").write_bytes((folder / "data_batch_1.bin").read_bytes())


def of_both(folder: Path) -> None:
    (folder / "train.bin").write_bytes(bytes(3074))


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (
            without("data_batch_2.bin", "data_batch_4.bin"),
            r"10 without data_batch_2\.bin, data_batch_4\.bin; its files are data_batch_1\.bin",
        ),
        (without("test_batch.bin"), r"CIFAR-10 without test_batch\.bin"),
        (sixth, r"CIFAR-10 with data_batch_6\.bin; its files are"),
        (of_both, r"CIFAR-10 \(data_batch_1\.bin\) and of CIFAR-100 \(train\.bin\)"),
    ],
)
def test_a_folder_with_other_files_than_cifars_is_refused(
    spoil: Callable[[Path], None], why: str, tmp_path: Path
) -> None:
    cifar10(tmp_path / "c")
    spoil(tmp_path / "c")
    with pytest.raises(DataError, match=why):
        load_data(str(tmp_path / "c"), (32, 32, 3))


def test_a_copy_of_a_cifar_file_is_not_read_twice(tmp_path: Path) -> None:
    cifar10(tmp_path / "c")
    copy = tmp_path / "c" / "data_batch_1 (1).bin"
    copy.write_bytes((tmp_path / "c" / "data_batch_1.bin").read_bytes())
    data = load_data(str(tmp_path / "c"), (32, 32, 3))
    assert len(data.train) + len(data.validation) == 50


@pytest.mark.parametrize("there", ["train.bin", "test.bin"])
def test_half_of_cifar_100_is_named(there: str, tmp_path: Path) -> None:
    (tmp_path / there).write_bytes(bytes(3074))
    lacking = {"train.bin": "test", "test.bin": "train"}[there]
    with pytest.raises(DataError, match=rf"CIFAR-100 without {lacking}\.bin"):
        load_data(str(tmp_path), (32, 32, 3))


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ((20, 5), "coarse label 20 at byte 3074; .*end at 19"),
        ((5, 100), "has label 100 at byte 3075"),
    ],
)
def test_labels_that_cifar_100_lacks_are_named(
    record: tuple[int, int], why: str, tmp_path: Path
) -> None:
    for name in ("train.bin", "test.bin"):
        (tmp_path / name).write_bytes(bytes(3074) + bytes(record) + bytes(3072))
    with pytest.raises(DataError, match=why):
        load_data(str(tmp_path), (32, 32, 3))


@pytest.mark.parametrize("names", [("data_batch_1",), ("train", "test", "meta")])
def test_pickled_cifar_is_refused(names: tuple[str, ...], tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"\x80\x02}")
    with pytest.raises(DataError, match="pickle, which runs code"):
        load_data(str(tmp_path), (32, 32, 3))


def test_a_damaged_file_of_keras_is_named_and_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "datasets" / "cifar-10-batches-py-target"
    (kept / "cifar-10-batches-py").mkdir(parents=True)
    (kept / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    # In place of the archive, whose checksum is right: 170 MB.
    monkeypatch.setattr("keras.src.datasets.cifar10.get_file", lambda **_: str(kept))
    says = (
        r"cifar10 is damaged as Keras keeps it \(EOFError: .*delete .*/cifar-10-batches-py-target "
    )
    with pytest.raises(DataError, match=says):
        load_data("cifar10", (32, 32, 3))


@pytest.mark.slow
def test_without_a_network_a_data_set_of_keras_says_what_to_do(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-c", "import edgekit; edgekit.load_data('mnist', (28, 28, 1))"],
        env={**os.environ, "KERAS_HOME": str(tmp_path), "https_proxy": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        check=False,
    ).stderr
    assert "mnist is not on this machine and cannot be downloaded" in told
    assert "give their folder: --data FOLDER" in told
