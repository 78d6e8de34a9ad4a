"""A folder of images by class."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekit.data import load_data
from edgekit.errors import DataError

SHADES = {"black": 0, "white": 255}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten images per class, of many sizes; black ones are label 0, white ones 1."""
    for name, shade in SHADES.items():
        fill(tmp_path / "photos" / name, shade)
    return tmp_path / "photos"


def fill(folder: Path, shade: int, count: int = 10) -> None:
    folder.mkdir(parents=True)
    for index in range(count):
        size = (5 + index, 9 - index % 3)
        Image.new("RGB", size, (shade, shade, shade)).save(folder / f"{index}.png")


@pytest.mark.parametrize("channels", [1, 3], ids=["grey", "rgb"])
def test_images_become_samples_of_the_models_size(folder: Path, channels: int) -> None:
    data = load_data(folder, (6, 4, channels))
    assert data.name == "photos"
    assert data.classes == 2
    for split in (data.train, data.validation, data.test):
        assert split.x.shape[1:] == (6, 4, channels)
        assert np.array_equal(split.x.mean(axis=(1, 2, 3)), split.y)


def test_pixels_may_stay_bytes(folder: Path) -> None:
    data = load_data(folder, (6, 4, 3), pixels="byte")
    assert set(np.unique(data.train.x)) == {0.0, 255.0}


RED = (255, 0, 0)


def grey(file: Path) -> None:
    Image.new("L", (5, 5), 128).save(file)


def palette(file: Path) -> None:
    Image.new("RGB", (5, 5), RED).convert("P", palette=Image.Palette.ADAPTIVE).save(file)


def transparent_palette(file: Path) -> None:
    image = Image.new("RGB", (5, 5), RED).convert("P", palette=Image.Palette.ADAPTIVE)
    image.save(file, transparency=bytes(range(8)))


def alpha(file: Path) -> None:
    Image.new("RGBA", (5, 5), (*RED, 10)).save(file)


def bilevel(file: Path) -> None:
    Image.new("1", (5, 5), 1).save(file)


@pytest.mark.parametrize(
    ("paint", "rgb"),
    [
        (grey, (128 / 255,) * 3),
        (palette, (1, 0, 0)),
        (transparent_palette, (1, 0, 0)),
        (alpha, (1, 0, 0)),
        (bilevel, (1, 1, 1)),
    ],
)
def test_every_kind_of_image_gives_its_colours(
    folder: Path, paint: Callable[[Path], None], rgb: tuple[float, ...]
) -> None:
    for file in (folder / "white").iterdir():
        paint(file)
    data = load_data(folder, (3, 3, 3))
    painted = data.train.x[data.train.y == 1]
    assert np.allclose(painted, np.array(rgb), atol=1e-6)


def test_the_folders_train_val_and_test_are_the_splits(tmp_path: Path) -> None:
    counts = {"train": 8, "val": 3, "test": 5}
    for part, count in counts.items():
        for name, shade in SHADES.items():
            fill(tmp_path / part / name, shade, count)
    data = load_data(tmp_path, (4, 4, 1))
    assert [len(s) for s in (data.train, data.validation, data.test)] == [16, 6, 10]
    assert np.array_equal(data.test.x.mean(axis=(1, 2, 3)), data.test.y)


def test_without_a_test_folder_a_quarter_is_held_out_of_training(tmp_path: Path) -> None:
    for name, shade in SHADES.items():
        fill(tmp_path / "train" / name, shade, 20)
    data = load_data(tmp_path, (4, 4, 1))
    assert len(data.test) == 10
    assert len(data.train) + len(data.validation) == 30


def test_hidden_folders_and_other_files_are_no_classes_and_no_images(folder: Path) -> None:
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / "white" / "notes.txt").write_text("taken in May")
    (folder / "README").write_text("photos")
    data = load_data(folder, (4, 4, 1))
    assert data.classes == 2
    assert len(data.train) + len(data.validation) + len(data.test) == 20


def broken(folder: Path) -> None:
    (folder / "white" / "3.png").write_bytes(b"no image at all")


def cut_short(folder: Path) -> None:
    file = folder / "white" / "3.png"
    Image.effect_noise((40, 40), 90).save(file)
    file.write_bytes(file.read_bytes()[:300])


def odd_header(folder: Path) -> None:
    (folder / "white" / "3.ppm").write_bytes(b"P6\n3x 3\n255\n" + bytes(27))


def huge(folder: Path) -> None:
    header = b"P6\n90000 90000\n255\n"
    (folder / "white" / "3.ppm").write_bytes(header + bytes(30))


def sixteen_bits(folder: Path) -> None:
    Image.fromarray(np.full((5, 5), 40000, np.uint16)).save(folder / "white" / "3.png")


def no_images(folder: Path) -> None:
    for file in folder.rglob("*.png"):
        file.unlink()


def empty_class(folder: Path) -> None:
    (folder / "grey").mkdir()


def one_class(folder: Path) -> None:
    for file in (folder / "white").iterdir():
        file.unlink()
    (folder / "white").rmdir()


def no_class(folder: Path) -> None:
    for file in list(folder.rglob("*.png")):
        file.rename(folder / f"{file.parent.name}{file.name}")
    for inner in [path for path in folder.iterdir() if path.is_dir()]:
        inner.rmdir()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (broken, "white/3.png is not a readable image"),
        (cut_short, "white/3.png is not a readable image"),
        (odd_header, "white/3.ppm is not a readable image"),
        (huge, "white/3.ppm is not a readable image"),
        (sixteen_bits, "white/3.png has pixels of the mode I;16; save it with 8 bits"),
        (no_images, "photos holds no images"),
        (empty_class, "photos/grey holds no images"),
        (one_class, "photos has 1 folder(s)"),
        (no_class, "photos has 0 folder(s)"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused(
    folder: Path, spoil: Callable[[Path], None], says: str
) -> None:
    spoil(folder)
    with pytest.raises(DataError, match=re.escape(says)):
        load_data(folder, (4, 4, 3))


def test_a_class_that_only_the_test_folder_has_is_named(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for name, shade in SHADES.items():
            fill(tmp_path / part / name, shade)
    fill(tmp_path / "test" / "zebra", 99)
    with pytest.raises(DataError, match="has the class 'zebra', which the training folder lacks"):
        load_data(tmp_path, (4, 4, 1))


def test_an_empty_class_of_the_train_folder_is_named(tmp_path: Path) -> None:
    for name, shade in SHADES.items():
        fill(tmp_path / "train" / name, shade)
    (tmp_path / "train" / "zebra").mkdir()
    with pytest.raises(DataError, match="train/zebra holds no images"):
        load_data(tmp_path, (4, 4, 1))


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        (None, "one input (height, width, channels) of fixed size; this one takes None"),
        ((16,), "this one takes (16,)"),
        ((None, None, 3), "this one takes (None, None, 3)"),
        ((4, 4, 2), "The model takes 2 channels; images in a folder have 1 or 3"),
    ],
    ids=["unknown", "flat", "open", "two-channels"],
)
def test_a_model_that_takes_no_images_is_told_so(
    folder: Path, shape: tuple[int | None, ...] | None, says: str
) -> None:
    with pytest.raises(DataError, match=re.escape(says)):
        load_data(folder, shape)
