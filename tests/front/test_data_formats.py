"""Published data sets from their folders, in small files of the official formats."""

import gzip
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekit.data import load_data
from edgekit.data.memory import PEAK
from edgekit.errors import DataError
from edgekit.tasks import CLASSIFICATION, ENHANCEMENT, SEGMENTATION


def idx(file: Path, array: np.ndarray) -> None:
    head = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    raw = head + array.astype(np.uint8).tobytes()
    file.write_bytes(gzip.compress(raw) if file.suffix == ".gz" else raw)


IMAGES = np.arange(20 * 28 * 28).reshape(20, 28, 28) % 251
LABELS = np.arange(20) % 4


def digits(folder: Path, prefix: str = "", end: str = "", labels: np.ndarray = LABELS) -> Path:
    for part in ("train", "test" if prefix else "t10k"):
        idx(folder / f"{prefix}{part}-images-idx3-ubyte{end}", IMAGES)
        idx(folder / f"{prefix}{part}-labels-idx1-ubyte{end}", labels)
    return folder


@pytest.mark.parametrize("end", ["", ".gz"])
def test_mnist_is_read_packed_or_not(end: str, tmp_path: Path) -> None:
    data = load_data(str(digits(tmp_path, end=end)), (28, 28, 1), pixels="byte")
    assert np.array_equal(data.test.x[..., 0], IMAGES)
    assert list(data.test.y) == list(LABELS)


@pytest.mark.parametrize(
    ("folder", "prefix"),
    [
        ("letters", "emnist-letters-"),
        ("letters", "EMNIST-Letters-"),
        ("EMNIST", ""),
        ("EMNIST", "letters-"),
    ],
)
@pytest.mark.parametrize("first", [0, 1])
def test_emnist_is_turned_upright_and_its_letters_begin_at_0(
    folder: str, prefix: str, first: int, tmp_path: Path
) -> None:
    (tmp_path / folder).mkdir()
    digits(tmp_path / folder, prefix, labels=LABELS + first)
    data = load_data(tmp_path / folder, (28, 28, 1), pixels="byte")
    assert np.array_equal(data.test.x[5, :, :, 0], IMAGES[5].T)
    assert list(data.test.y) == list(LABELS)
    assert data.classes == 4


@pytest.mark.parametrize("folder", ["mnist", "kmnist", "somemnist"])
def test_what_only_sounds_like_emnist_is_left_as_it_is(folder: str, tmp_path: Path) -> None:
    (tmp_path / folder).mkdir()
    data = load_data(digits(tmp_path / folder), (28, 28, 1), pixels="byte")
    assert np.array_equal(data.test.x[..., 0], IMAGES)


def test_two_files_of_one_split_are_not_taken_for_another(tmp_path: Path) -> None:
    for name in ("images-idx3", "labels-idx1"):
        file = digits(tmp_path) / f"t10k-{name}-ubyte"
        (tmp_path / f"test-{name}-ubyte").write_bytes(file.read_bytes())
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte and test-images-idx3.*remove one"):
        load_data(str(tmp_path), (28, 28, 1))


def test_an_archive_beside_what_was_unpacked_from_it_is_left_alone(tmp_path: Path) -> None:
    for file in list(digits(tmp_path).iterdir()):
        file.with_name(f"{file.name}.gz").write_bytes(b"not read")
    assert list(load_data(str(tmp_path), (28, 28, 1)).test.y) == list(LABELS)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda raw: raw[:-5], "has 15691 bytes; its header says 20 x 28 x 28.*15696"),
        (lambda raw: b"\x00\x00\x0d\x03" + raw[4:], "begins with the bytes 00 00 0d 03; .*08 03"),
        (lambda raw: raw[:6], "has 6 bytes; the header alone has 16"),
        (
            lambda raw: raw[:4] + struct.pack(">3I", 2**31, 2**31, 4),
            "has 16 bytes; .* have 18446744073709551632",
        ),
        (
            lambda raw: raw[:4] + struct.pack(">3I", 20, 0, 28),
            "is empty: its header says 20 x 0 x 28",
        ),
        (lambda raw: raw + b"!", "has more than 15696 bytes; its header says 20 x 28 x 28"),
        (lambda raw: b"", r"begins with the bytes \(none\)"),
    ],
    ids=["cut", "floats", "no header", "beyond 2^64", "no rows", "longer", "empty"],
)
def test_a_damaged_idx_file_is_named_with_what_stands_there(
    spoil: Callable[[bytes], bytes], why: str, tmp_path: Path
) -> None:
    file = digits(tmp_path) / "train-images-idx3-ubyte"
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(DataError, match=rf"train-images-idx3-ubyte {why}"):
        load_data(str(tmp_path), (28, 28, 1))


def test_a_cut_archive_is_named(tmp_path: Path) -> None:
    file = digits(tmp_path, end=".gz") / "t10k-labels-idx1-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\.gz cannot be unpacked"):
        load_data(str(tmp_path), (28, 28, 1))


def test_an_archive_that_unpacks_to_more_than_its_header_says_is_not_unpacked(
    tmp_path: Path,
) -> None:
    file = digits(tmp_path, end=".gz") / "t10k-labels-idx1-ubyte.gz"
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()) + bytes(2**26)))
    tracemalloc.start()
    with pytest.raises(DataError, match=r"has more than 28 bytes unpacked; its header says 20,"):
        load_data(str(tmp_path), (28, 28, 1))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**24


def test_a_header_of_more_than_memory_holds_is_not_followed(tmp_path: Path) -> None:
    file = digits(tmp_path, end=".gz") / "t10k-images-idx3-ubyte.gz"
    file.write_bytes(gzip.compress(struct.pack(">4B3I", 0, 0, 8, 3, 2**31, 2**31, 4)))
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz take 18446744073\.7 GB"):
        load_data(str(tmp_path), (28, 28, 1))


def test_two_sets_in_one_folder_are_not_mixed(tmp_path: Path) -> None:
    digits(digits(tmp_path, "emnist-letters-"), "emnist-balanced-")
    with pytest.raises(DataError, match=r"emnist-balanced-, emnist-letters-.*folder of its own"):
        load_data(str(tmp_path), (28, 28, 1))


def picture(file: Path, shade: int, size: tuple[int, int] = (40, 24)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade, shade, shade)).save(file)


def lol(folder: Path) -> Path:
    for part, count in (("our485", 8), ("eval15", 3)):
        for number in range(count):
            picture(folder / part / "low" / f"{number}.png", number)
            picture(folder / part / "high" / f"{number}.png", 100 + number)
    return folder


def test_lol_pairs_pictures_of_one_name(tmp_path: Path) -> None:
    data = load_data(str(lol(tmp_path)), (16, 32, 3), pixels="byte")
    assert data.task is ENHANCEMENT
    assert data.test.y.shape == (3, 16, 32, 3)
    # Targets are from 0 to 1, whatever the samples are.
    assert np.allclose(data.test.y[:, 0, 0, 0] * 255, data.test.x[:, 0, 0, 0] + 100)


def test_a_picture_without_a_partner_is_named(tmp_path: Path) -> None:
    (lol(tmp_path) / "our485" / "high" / "5.png").unlink()
    with pytest.raises(DataError, match=r"low/5\.png has no partner of its name in .*our485/high"):
        load_data(str(tmp_path), (16, 32, 3))


def test_two_pictures_of_one_name_are_named(tmp_path: Path) -> None:
    picture(lol(tmp_path) / "our485" / "low" / "3.jpg", 9)
    with pytest.raises(DataError, match=r"our485/low holds 3\.jpg and 3\.png; .*rename one"):
        load_data(str(tmp_path), (16, 32, 3))


def test_two_folders_of_one_split_are_named(tmp_path: Path) -> None:
    for side in ("low", "high"):
        picture(lol(tmp_path) / "train" / side / "0.png", 9)
    with pytest.raises(DataError, match=r"our485/ and train/, both the train split"):
        load_data(str(tmp_path), (16, 32, 3))


def levels(folder: Path, *classes: str) -> None:
    for shade, name in enumerate(classes):
        for number in range(8):
            picture(folder / name / f"{number}.png", shade)


@pytest.mark.parametrize("parts", [("",), ("train", "test")])
def test_low_and_high_beside_other_classes_are_classes(
    parts: tuple[str, ...], tmp_path: Path
) -> None:
    for part in parts:
        levels(tmp_path / part, "low", "medium", "high")
    data = load_data(str(tmp_path), (16, 16, 3))
    assert (data.task, data.classes) == (CLASSIFICATION, 3)


def test_a_class_is_a_class_where_the_test_split_lacks_it(tmp_path: Path) -> None:
    levels(tmp_path / "train", "low", "medium", "high")
    levels(tmp_path / "test", "low", "high")
    assert load_data(str(tmp_path), (16, 16, 3)).classes == 3


def test_few_shared_names_are_no_pairs(tmp_path: Path) -> None:
    levels(tmp_path, "low", "high")
    for number in range(7):
        (tmp_path / "low" / f"{number}.png").rename(tmp_path / "low" / f"dark{number}.png")
    assert load_data(str(tmp_path), (16, 16, 3)).task is CLASSIFICATION


def test_pairs_of_which_many_are_missing_are_refused(tmp_path: Path) -> None:
    for side, count in (("low", 8), ("high", 3)):
        for index in range(count):
            picture(tmp_path / side / f"{index}.png", index)
    with pytest.raises(DataError, match=r"3 of up to 8 pictures .* For pairs add the others"):
        load_data(tmp_path, (16, 16, 3))


def test_classes_called_low_and_high_stay_classes(tmp_path: Path) -> None:
    for number in range(8):
        picture(tmp_path / "low" / f"dark{number}.png", number)
        picture(tmp_path / "high" / f"bright{number}.png", 200)
    assert load_data(str(tmp_path), (16, 16, 3)).task is CLASSIFICATION


def bowl(folder: Path) -> Path:
    """Twelve images of two nuclei each: one in the upper left quarter, one in the lower right."""
    for number in range(12):
        sample = folder / "stage1_train" / f"id{number}"
        picture(sample / "images" / f"id{number}.png", number, (32, 32))
        for place in (0, 16):
            mask = np.zeros((32, 32), np.uint8)
            mask[place : place + 16, place : place + 16] = 255
            (sample / "masks").mkdir(exist_ok=True)
            Image.fromarray(mask).save(sample / "masks" / f"{place}.png")
    return folder


def test_the_data_science_bowls_masks_are_united(tmp_path: Path) -> None:
    data = load_data(str(bowl(tmp_path)), (16, 16, 3))
    assert (data.task, data.classes, data.test_drawn_here) == (SEGMENTATION, 2, True)
    wanted = np.kron(np.eye(2, dtype=int), np.ones((8, 8), int))
    assert all(np.array_equal(mask, wanted) for mask in data.test.y)


def test_an_image_without_masks_is_named(tmp_path: Path) -> None:
    for file in (bowl(tmp_path) / "stage1_train" / "id4" / "masks").iterdir():
        file.unlink()
    with pytest.raises(DataError, match=r"id4/masks holds no mask"):
        load_data(str(tmp_path), (16, 16, 3))


def ones(file: Path) -> None:
    Image.fromarray(np.eye(32, dtype=np.uint8)).save(file)


def smaller(file: Path) -> None:
    Image.fromarray(np.eye(20, dtype=np.uint8) * 255).save(file)


def in_alpha(file: Path) -> None:
    mask = np.full((32, 32, 4), 255, np.uint8)
    mask[..., 3] *= np.eye(32, dtype=np.uint8)
    Image.fromarray(mask).save(file)


def text(file: Path) -> None:
    file.write_text("no image")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (ones, "has 1 as its largest value; masks are 0 and 255"),
        (smaller, r"has 20 x 20 pixels, but .*id4/images/id4\.png has 32 x 32"),
        (in_alpha, "is transparent in places; masks are 0 and 255 in grey"),
        (text, "is not a readable image"),
    ],
)
def test_a_mask_that_would_be_read_wrongly_is_named(
    spoil: Callable[[Path], None], why: str, tmp_path: Path
) -> None:
    spoil(bowl(tmp_path) / "stage1_train" / "id4" / "masks" / "0.png")
    with pytest.raises(DataError, match=rf"id4/masks/0\.png {why}"):
        load_data(str(tmp_path), (16, 16, 3))


def opaque(mask: np.ndarray) -> Image.Image:
    return Image.fromarray(np.dstack([mask] * 3 + [np.full_like(mask, 255)]))


def palette(mask: np.ndarray) -> Image.Image:
    image = Image.fromarray(mask // 255).convert("P")
    image.putpalette([0, 0, 0, 255, 255, 255])
    return image


def bilevel(mask: np.ndarray) -> Image.Image:
    return Image.fromarray(mask).convert("1")


@pytest.mark.parametrize("kind", [opaque, palette, bilevel])
def test_masks_may_be_of_any_kind_of_image(
    kind: Callable[[np.ndarray], Image.Image], tmp_path: Path
) -> None:
    for file in bowl(tmp_path).glob("stage1_train/*/masks/*.png"):
        kind(np.asarray(Image.open(file))).save(file)
    data = load_data(str(tmp_path), (16, 16, 3))
    wanted = np.kron(np.eye(2, dtype=int), np.ones((8, 8), int))
    assert all(np.array_equal(mask, wanted) for mask in data.test.y)


def by_class(folder: Path) -> Path:
    levels(folder, "black", "grey")
    return folder


@pytest.mark.parametrize(
    ("make", "count"),
    [(digits, 40), (bowl, 12), (lol, 11), (by_class, 16)],
    ids=["idx", "masks", "pairs", "classes"],
)
def test_more_images_than_memory_holds_are_refused_before_they_are_read(
    make: Callable[[Path], Path], count: int, tmp_path: Path
) -> None:
    says = rf"{count} images of 200000 x 200000 x 1 take .* GB .*memory.*Give fewer \(a folder"
    with pytest.raises(DataError, match=says):
        load_data(str(make(tmp_path)), (200_000, 200_000, 1))


@pytest.mark.parametrize("make", [digits, bowl, lol, by_class], ids=lambda make: make.__name__)
def test_reading_takes_no_more_memory_than_is_asked_for(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    make(tmp_path)
    load_data(str(tmp_path), (16, 16, 1))  # what is imported meanwhile is not counted
    tracemalloc.start()
    data = load_data(str(tmp_path), (256, 256, 1))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    splits = (data.train, data.validation, data.test)
    assert peak < PEAK * sum(split.x.nbytes + split.y.nbytes for split in splits)


@pytest.mark.parametrize("shape", [(28, 28), (784,)])
def test_mnist_fits_a_model_that_takes_its_values_without_channels(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    data = load_data(str(digits(tmp_path)), shape, pixels="byte")
    assert np.array_equal(data.test.x, IMAGES.reshape(20, *shape))


@pytest.mark.parametrize("shape", [(28, 27), (783,), (None, 28)])
def test_other_shapes_without_channels_are_refused(
    shape: tuple[int | None, ...], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="need a model with one input"):
        load_data(str(digits(tmp_path)), shape)


@pytest.mark.parametrize("source", ["mnist", Path("mnist"), Path("./mnist"), Path("digits")])
def test_a_folder_called_like_a_data_set_is_read(
    source: str | Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(source).mkdir()
    digits(Path(source))
    assert np.array_equal(load_data(source, (28, 28, 1), pixels="byte").test.x[..., 0], IMAGES)


@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_a_path_is_no_name_of_a_data_set(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=f"no folder '{name}' here; .* give the name as text"):
        load_data(Path(name))


def test_a_run_folder_called_like_a_data_set_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "kept.npz"
    np.savez(kept, x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:4], y_test=LABELS[:4])
    monkeypatch.setattr("keras.src.datasets.mnist.get_file", lambda **_: str(kept))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist" / "stages").mkdir(parents=True)
    assert len(load_data("mnist", (28, 28, 1)).test) == 4
